"""Bytewax around the same model and the same clusters, in batches as its Kafka source reads them.

Without a recovery store, which is a disk of its own, it begins at the group's offsets, which it never commits;
so it reads the topic from its beginning again. https://docs.bytewax.io/stable/api/bytewax/bytewax.connectors.kafka.html
"""

from __future__ import annotations

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from sentence_transformers import SentenceTransformer

from questream.lab.bench.peers.centroids import Centroids
from questream.lab.bench.peers.job import Job, answer, question_of, read_job


def run(job: Job) -> None:
    """Answer questions for ever."""
    model = SentenceTransformer(job.model)
    centroids = Centroids(job.threshold)

    def answers(messages: list[KafkaSourceMessage[bytes, bytes]]) -> list[KafkaSinkMessage[bytes, bytes]]:
        questions = [question_of(message.value) for message in messages]
        if not questions:
            return []
        vectors = model.encode([text for _, text in questions], normalize_embeddings=True, batch_size=64)
        return [
            KafkaSinkMessage(question_id.encode(), answer(cluster_id))
            for (question_id, _), cluster_id in zip(questions, centroids.assign(vectors), strict=True)
        ]

    flow = Dataflow("questions")
    source = KafkaSource([job.bootstrap_servers], [job.input_topic], batch_size=job.batch_questions)
    stream = op.input("questions", flow, source)
    op.output(
        "clusters", op.flat_map_batch("assign", stream, answers), KafkaSink([job.bootstrap_servers], job.output_topic)
    )
    run_main(flow)


if __name__ == "__main__":
    run(read_job())
