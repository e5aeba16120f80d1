"""The encoder's benchmark, on MiniLM: what it reports, not how fast the machine is."""

from __future__ import annotations

import numpy as np
import pytest

from questream.encoder import Encoder
from questream.lab.bench.encoder import bench_encoder


def test_the_benchmark_compares_the_same_texts(encoder: Encoder) -> None:
    figures = bench_encoder(encoder, [f"Where is my order number {number}?" for number in range(40)])
    assert figures["texts"] == 40
    assert figures["cosine_min"] >= 0.9999
    assert figures["speedup"] == pytest.approx(figures["texts_per_second"] / figures["library_texts_per_second"])
    assert np.isfinite(figures["tokens_per_second"])


def test_the_benchmark_needs_texts(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="empty"):
        bench_encoder(encoder, [])
