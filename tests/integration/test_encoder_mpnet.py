"""The default model, all-mpnet-base-v2, where its folder is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from questream.encoder import load_encoder
from questream.settings import ModelSettings

TEXTS = (
    "What?",
    "How do I reset my password?",
    "<pad> is not <mask>",
    "Wo ist mein Geld geblieben? " * 20,
    "so " * 500,
)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_mpnet_vectors_are_those_of_sentence_transformers(dtype: str, mpnet: Path) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = load_encoder(ModelSettings.model_validate({"name": str(mpnet), "device": "cpu", "dtype": dtype}))
    expected = SentenceTransformer(str(mpnet), device="cpu", local_files_only=True).encode(list(TEXTS))
    assert (encoder.encode(TEXTS) * expected).sum(axis=1).min() >= 0.9999
    assert (encoder.name, encoder.max_tokens, encoder.dimension) == (ModelSettings().name, 384, 768)
    assert [tokens.truncated for tokens in encoder.tokenise(TEXTS)] == [False, False, False, False, True]
