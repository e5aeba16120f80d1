"""Embed: the tokens of a batch become vectors on the device."""

from __future__ import annotations

import time

from questream.encoder import Encoder, Tokens
from questream.metrics import Metrics
from questream.stream.backlog import Batch
from questream.stream.question import Embedded, Pending, Queued, Ready


def embed(batch: Batch[Queued], metrics: Metrics) -> Batch[Ready]:
    """The batch with a vector for each pending question, each by its own model."""
    started = time.perf_counter()
    metrics.stage_seconds.labels("queue").observe(started - batch.oldest_put_at)
    tokens: dict[Encoder, list[Tokens]] = {}
    for item in batch.items:
        if isinstance(item, Pending):
            tokens.setdefault(item.encoder, []).append(item.tokens)
    vectors = {encoder: iter(encoder.encode_tokens(its_tokens)) for encoder, its_tokens in tokens.items()}
    ready = batch.of(
        [Embedded(item, next(vectors[item.encoder])) if isinstance(item, Pending) else item for item in batch.items]
    )
    if tokens:
        seconds = time.perf_counter() - started
        metrics.stage_seconds.labels("embed").observe(seconds)
        metrics.device_busy_seconds.inc(seconds)
        metrics.batch_questions.observe(len(batch.items))
        metrics.batch_tokens.observe(sum(len(one) for its_tokens in tokens.values() for one in its_tokens))
    return ready
