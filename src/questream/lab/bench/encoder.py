"""The speed of the encoder against sentence-transformers itself, and a comparison of the vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from questream.encoder import Encoder

MICRO_BATCH_TEXTS = 256


class EncoderFigures(TypedDict):
    """The figures of `bench_encoder`; `cosine_*` compare the two vectors of each text.

    `speedup` is the median over the micro-batches, which a machine busy with other things moves less than the rates.
    """

    model: str
    revision: str
    device: str
    dtype: str
    texts: int
    tokens: int
    texts_per_second: float
    tokens_per_second: float
    library_texts_per_second: float
    speedup: float
    cosine_min: float
    cosine_mean: float


def bench_encoder(encoder: Encoder, texts: Sequence[str]) -> EncoderFigures:
    """Embed `texts` with the encoder and with `SentenceTransformer.encode` as it comes (float32, 32 to a batch).

    The two take turns on every micro-batch of 256 texts, so that whatever else the machine does slows both; the first
    micro-batch runs once beforehand, untimed. Raises ValueError if there are no texts.
    """
    if not texts:
        raise ValueError("texts is empty")
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(encoder.folder), device=encoder.device, local_files_only=True)
    # The same cut for both: sentence-transformers would otherwise read more of a long text.
    library.max_seq_length = encoder.max_tokens
    batches = [list(texts[start : start + MICRO_BATCH_TEXTS]) for start in range(0, len(texts), MICRO_BATCH_TEXTS)]
    encoder.encode(batches[0])
    library.encode(batches[0])
    seconds, library_seconds, cosines = [], [], []
    for batch in batches:
        started = time.perf_counter()
        vectors = encoder.encode(batch)
        turned = time.perf_counter()
        library_vectors = library.encode(batch, normalize_embeddings=True)
        library_seconds.append(time.perf_counter() - turned)
        seconds.append(turned - started)
        cosines.append((vectors * library_vectors).sum(axis=1))
    cosine = np.concatenate(cosines)
    tokens = sum(map(len, encoder.tokenise(texts)))
    return EncoderFigures(
        model=encoder.name,
        revision=encoder.revision,
        device=encoder.device,
        dtype=encoder.dtype,
        texts=len(texts),
        tokens=tokens,
        texts_per_second=len(texts) / sum(seconds),
        tokens_per_second=tokens / sum(seconds),
        library_texts_per_second=len(texts) / sum(library_seconds),
        speedup=float(np.median(np.divide(library_seconds, seconds))),
        cosine_min=float(cosine.min()),
        cosine_mean=float(cosine.mean()),
    )
