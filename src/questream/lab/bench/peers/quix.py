"""Quix Streams around the same model and the same clusters.

One by one with its exactly-once guarantee, or in batches by a sink of one's own, which that guarantee does not cover.
https://quix.io/docs/quix-streams/configuration.html#processing-guarantees
https://quix.io/docs/quix-streams/connectors/sinks/custom-sinks.html
"""

from __future__ import annotations

import sys
from typing import Any

from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch
from sentence_transformers import SentenceTransformer

from questream.lab.bench.peers.centroids import Centroids
from questream.lab.bench.peers.job import Job, answer, question_of, read_job

BATCHED = "batched"
_COMMIT_SECONDS = 0.1


class _Clusters:
    def __init__(self, job: Job) -> None:
        self._model = SentenceTransformer(job.model)
        self._centroids = Centroids(job.threshold)

    def answers(self, questions: list[tuple[str, str]]) -> list[bytes]:
        vectors = self._model.encode([text for _, text in questions], normalize_embeddings=True, batch_size=64)
        return [answer(cluster_id) for cluster_id in self._centroids.assign(vectors)]


class _Sink(BatchingSink):  # type: ignore[misc]  # its package has an environment of its own
    def __init__(self, job: Job, clusters: _Clusters, producer: Any) -> None:
        super().__init__()
        self._job = job
        self._clusters = clusters
        self._producer = producer

    def write(self, batch: SinkBatch) -> None:
        for chunk in batch.iter_chunks(self._job.batch_questions):
            questions = [question_of(item.value) for item in chunk]
            for (question_id, _), value in zip(questions, self._clusters.answers(questions), strict=True):
                self._producer.produce(self._job.output_topic, value=value, key=question_id.encode())
        self._producer.flush()


def run(job: Job, is_batched: bool) -> None:
    """Answer questions for ever."""
    app = Application(
        broker_address=job.bootstrap_servers,
        consumer_group=job.group_id,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        consumer_extra_config={"session.timeout.ms": int(job.session_seconds * 1000)},
        commit_interval=_COMMIT_SECONDS,
        commit_every=job.batch_questions,
        processing_guarantee="at-least-once" if is_batched else "exactly-once",
        loglevel="ERROR",
    )
    clusters = _Clusters(job)
    stream = app.dataframe(app.topic(job.input_topic, value_deserializer="bytes", key_deserializer="bytes"))
    if is_batched:
        stream.sink(_Sink(job, clusters, app.get_producer().__enter__()))
    else:
        stream = stream.apply(lambda value: clusters.answers([question_of(value)])[0])
        stream.to_topic(app.topic(job.output_topic, value_serializer="bytes", key_serializer="bytes"))
    app.run()


if __name__ == "__main__":
    run(read_job(), sys.argv[1:] == [BATCHED])
