"""The encoder on small random models of many architectures, each held to sentence-transformers' own vectors.

What is compared is the arithmetic, for which random weights do: they are large enough to tell texts apart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

from questream.encoder import Encoder, load_encoder
from questream.encoder.library import LibraryForward
from questream.encoder.packed import PackedForward
from questream.settings import ModelSettings

WORDS = [f"w{number}" for number in range(60)]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
SIZES: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    # The usual .02 would make all texts alike.
    "initializer_range": 0.4,
    "pad_token_id": 1,
}
ARCHITECTURES: dict[str, Callable[[], PretrainedConfig]] = {
    "bert": lambda: BertConfig(**SIZES),
    "roberta": lambda: RobertaConfig(**SIZES, type_vocab_size=1),
    "xlm-roberta": lambda: XLMRobertaConfig(**SIZES, hidden_act="relu"),
    "mpnet": lambda: MPNetConfig(**SIZES),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=64, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=66, initializer_range=0.4
    ),
}
RANDOM = np.random.default_rng(3)
TEXTS = [" ".join(RANDOM.choice(WORDS, size=length)) for length in (1, 2, 3, 3, 3, 7, 12, 12, 30, 61, 62, 63, 90)]
# A text may spell special tokens out; in RoBERTa and MPNet the padding token then has no position.
TEXTS += ["w1 <pad> w2", "<s> <pad> <pad>", "words that nobody knows"]


def build_model(folder: Path, config: PretrainedConfig, **pooling: object) -> SentenceTransformer:
    """A random model of this architecture with a tokenizer of one token a word, as a library model."""
    torch.manual_seed(5)
    AutoModel.from_config(config).save_pretrained(folder)  # type: ignore[no-untyped-call]  # untyped in transformers
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(SPECIAL + WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)  # type: ignore[no-untyped-call]  # as above
    fast.save_pretrained(folder)
    transformer = Transformer(str(folder), max_seq_length=64)
    width = transformer.get_embedding_dimension()
    return SentenceTransformer(modules=[transformer, Pooling(width, **pooling)], device="cpu")


def loaded(library: SentenceTransformer, folder: Path, dtype: str = "float32") -> Encoder:
    """The encoder on what the library saves of its model."""
    library.save(str(folder))
    return load_encoder(ModelSettings.model_validate({"name": str(folder), "device": "cpu", "dtype": dtype}))


def assert_same_vectors(encoder: Encoder, library: SentenceTransformer, cosine: float = 0.999999) -> None:
    expected = library.eval().encode(TEXTS, normalize_embeddings=True)
    alike = expected @ expected.T
    assert np.median(alike[np.triu_indices(len(TEXTS), 1)]) < 0.95, "the model must tell texts apart"
    assert (encoder.encode(TEXTS) * expected).sum(axis=1).min() >= cosine


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_gives_the_librarys_vectors(architecture: str, tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture]())
    encoder = loaded(library, tmp_path / "saved")
    expected = LibraryForward if architecture == "distilbert" else PackedForward
    assert isinstance(encoder.forward, expected)
    assert_same_vectors(encoder, library)


@pytest.mark.parametrize("architecture", ["bert", "mpnet"])
def test_bfloat16_keeps_the_vectors_of_the_architectures_it_is_used_for(architecture: str, tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture]())
    encoder = loaded(library, tmp_path / "saved", dtype="bfloat16")
    assert encoder.dtype == "bfloat16"
    assert_same_vectors(encoder, library, cosine=0.999)


@pytest.mark.parametrize("mode", ["cls", "max", "lasttoken", "weightedmean", ("mean", "max")])
def test_every_pooling_gives_the_librarys_vectors(mode: str | tuple[str, ...], tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES["bert"](), pooling_mode=mode)
    assert_same_vectors(loaded(library, tmp_path / "saved"), library)


def test_modules_after_the_pooling_are_the_models_own(tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES["mpnet"]())
    library.append(Dense(32, 8))
    library.append(Normalize())
    encoder = loaded(library, tmp_path / "saved")
    assert encoder.dimension == 8
    assert_same_vectors(encoder, library)


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("architecture", ["roberta", "distilbert"])
def test_a_models_default_prompt_goes_before_every_text(
    architecture: str, include_prompt: bool, tmp_path: Path
) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture](), include_prompt=include_prompt)
    library.prompts, library.default_prompt_name = {"cluster": "w7 w8 w9 "}, "cluster"
    encoder = loaded(library, tmp_path / "saved")
    assert len(encoder.tokenise(["w1"])[0]) == 6
    assert_same_vectors(encoder, library)


def test_an_architecture_that_packing_gets_wrong_runs_as_the_library_runs_it(tmp_path: Path) -> None:
    config = BertConfig(**SIZES, is_decoder=True)  # each token then sees only those before it
    library = build_model(tmp_path / "built", config)
    encoder = loaded(library, tmp_path / "saved", dtype="bfloat16")
    assert isinstance(encoder.forward, LibraryForward)
    assert encoder.dtype == "float32"
    assert_same_vectors(encoder, library)


def test_a_row_that_is_not_finite_leaves_the_others_alone(tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES["mpnet"]())
    with torch.no_grad():
        library.transformers_model.embeddings.word_embeddings.weight[4] = float("nan")
    encoder = loaded(library, tmp_path / "saved")
    vectors = encoder.encode(["w1 w2", "w0 w2", "w3"])
    assert np.isfinite(vectors).all(axis=1).tolist() == [True, False, True]
    np.testing.assert_allclose(vectors[[0, 2]], encoder.encode(["w1 w2", "w3"]), atol=1e-6)


def test_a_model_in_a_folder_is_told_by_its_weights(tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES["bert"]())
    here, there = loaded(library, tmp_path / "a" / "mine"), loaded(library, tmp_path / "b" / "mine")
    assert (here.name, here.revision) == (there.name, there.revision)
    with torch.no_grad():
        library.transformers_model.embeddings.word_embeddings.weight[9] += 1.0
    assert loaded(library, tmp_path / "c" / "mine").revision != here.revision
