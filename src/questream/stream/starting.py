"""Checks before a worker loads its model: its port, the logins, the topics that the guarantees rest on."""

from __future__ import annotations

import logging
from contextlib import suppress

from prometheus_client import CollectorRegistry

from questream.broker.connect import open_admin
from questream.broker.port import FoundTopic
from questream.broker.topics import COMPACTION_LAG_MS, Role, problems_of, require_room
from questream.errors import KafkaRefused, Problem, QuestreamError, SettingsError, StoreUnavailable, recourse_of
from questream.settings import MetricsSettings, Settings
from questream.store.redis.store import open_store
from questream.stream.health import HealthServer

logger = logging.getLogger(__name__)

_REMEDY = "create it with: questream topics create"
_WITHOUT: dict[Role, str] = {
    "operation": "the operation topic does not exist: operations are kept in Redis alone",
    "correction": "the correction topic does not exist: operations that move questions wait, and those behind them",
}


def open_port(metrics: MetricsSettings) -> HealthServer:
    """Answer the probes from now on. Raises SettingsError where the port cannot be had."""
    try:
        return HealthServer(
            metrics.host, metrics.port, CollectorRegistry(), lambda: None, lambda: "the model is not loaded yet"
        )
    except OSError as error:
        raise SettingsError(
            f"metrics.host and metrics.port cannot be listened on: {error.strerror}",
            "metrics.port = auto takes a free one",
        ) from error


def try_servers(settings: Settings) -> None:
    """Log in to Kafka and Redis and look at the topics; a server that does not answer is waited for later.

    Raises KafkaRefused or StoreRefused, with the remedy.
    """
    with suppress(StoreUnavailable):
        open_store(settings.redis, settings.clusters.log_entries).namespaces()
    try:
        check_topics(settings)
    except QuestreamError as error:
        if not recourse_of(error).may_pass:
            raise
        logger.warning("the topics could not be looked at yet", extra={"reason": str(error)})


def check_topics(settings: Settings) -> None:
    """Look at what the guarantees rest on: the topics exist, and the cluster topic is compacted.

    Without the operation topic, as before the release that brought it, operations wait in Redis; those that move
    questions, without the correction topic.

    What else is amiss is logged. Raises KafkaRefused with the remedy, KafkaUnavailable where no broker answers.
    """
    kafka = settings.kafka
    roles: dict[Role, str] = {
        "input": kafka.input_topic,
        "output": kafka.output_topic,
        "cluster": kafka.cluster_topic,
        "dead-letter": kafka.dead_letter_topic,
    }
    with open_admin(settings) as admin:
        found = admin.find_topics([*roles.values(), kafka.operation_topic, kafka.correction_topic])
    missing = [name for name in roles.values() if name not in found]
    if missing:
        raise KafkaRefused(f"topic {', '.join(missing)} does not exist", _REMEDY)
    require_room(topic for name, topic in found.items() if name != kafka.input_topic)
    policy = found[kafka.cluster_topic].configs.get("cleanup.policy")
    if policy is not None and policy != "compact":
        raise KafkaRefused(
            f"cleanup.policy of the cluster topic {kafka.cluster_topic} is {policy}, so that Kafka would delete the"
            " states of clusters with time",
            f"set it to compact and min.compaction.lag.ms to {COMPACTION_LAG_MS}, or"
            " delete the topic if it holds nothing yet and let questream topics create make it",
        )
    for role, name in roles.items():
        _warn(role, found[name], found[kafka.input_topic])
    optional: dict[Role, str] = {"operation": kafka.operation_topic, "correction": kafka.correction_topic}
    for role, name in optional.items():
        if name in found:
            _warn(role, found[name], found[kafka.input_topic])
        else:
            logger.warning(_WITHOUT[role], extra={"topic": name, "remedy": _REMEDY})


def _warn(role: Role, topic: FoundTopic, found_input: FoundTopic) -> None:
    problems = problems_of(role, topic, found_input)
    lag_ms = int(topic.configs.get("min.compaction.lag.ms", COMPACTION_LAG_MS))
    if role == "cluster" and lag_ms < COMPACTION_LAG_MS:
        problems.append(
            Problem(
                f"min.compaction.lag.ms is {lag_ms}",
                f"set it to {COMPACTION_LAG_MS}, or a Redis that is lost is restored from less than was published",
            )
        )
    for problem in problems:
        logger.warning("a topic is not as it must be", extra={"topic": topic.name, "problem": str(problem)})
