"""The tutorial way: kafka-python, `SentenceTransformer.encode`, numpy; each batch sent, then committed.

https://www.sbert.net/docs/sentence_transformer/usage/usage.html
https://kafka-python.readthedocs.io/en/master/usage.html
"""

from __future__ import annotations

import kafka
from sentence_transformers import SentenceTransformer

from questream.lab.bench.peers.centroids import Centroids
from questream.lab.bench.peers.consumer import subscribed
from questream.lab.bench.peers.job import Job, answer, question_of, read_job

_POLL_MILLISECONDS = 100


def run(job: Job) -> None:
    """Answer questions for ever."""
    model = SentenceTransformer(job.model)
    centroids = Centroids(job.threshold)
    producer = kafka.KafkaProducer(bootstrap_servers=job.bootstrap_servers, linger_ms=5)
    consumer = subscribed(job)
    while True:
        polled = consumer.poll(timeout_ms=_POLL_MILLISECONDS)
        questions = [question_of(record.value) for records in polled.values() for record in records]
        if not questions:
            continue
        vectors = model.encode([text for _, text in questions], normalize_embeddings=True, batch_size=64)
        for (question_id, _), cluster_id in zip(questions, centroids.assign(vectors), strict=True):
            producer.send(job.output_topic, key=question_id.encode(), value=answer(cluster_id))
        producer.flush()
        consumer.commit()


if __name__ == "__main__":
    run(read_job())
