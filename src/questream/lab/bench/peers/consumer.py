"""The consumer of the tutorial way: kafka-python's own, without the patches of questream's adapter."""

from __future__ import annotations

import time

from kafka import KafkaConsumer

from questream.lab.bench.peers.job import Job

_LOOK_AGAIN_SECONDS = 0.1


def subscribed(job: Job) -> KafkaConsumer:
    """A member of the job's group, once it knows the partitions of the input topic.

    One that joins before is given none and has to join again. kafka-python 3.0.12 forgets that second join where a poll
    ends between its two requests, as on a loaded machine, and then waits for questions for ever.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=job.bootstrap_servers,
        group_id=job.group_id,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=int(job.session_seconds * 1000),
        max_poll_records=job.batch_questions,
    )
    while not consumer.partitions_for_topic(job.input_topic):
        time.sleep(_LOOK_AGAIN_SECONDS)
    consumer.subscribe([job.input_topic])
    return consumer
