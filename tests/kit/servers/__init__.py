"""Real servers for tests: Apache Kafka, Redis, Sentinel and Redis Cluster, on free ports of 127.0.0.1.

Each is a class to use as a context manager, with `start`, `stop`, `kill`, `restart`, `pause` and `resume`; it keeps its
port and its data between them, and never outlives the process that started it. A `Link` is a path to one of them, to
be cut, slowed down or left half open; `KafkaServer(folder, links=[...])` advertises it.
"""

from __future__ import annotations

from tests.kit.servers.kafka import KafkaServer
from tests.kit.servers.kafka.cluster import KafkaCluster
from tests.kit.servers.kafka.secured import SecuredKafka
from tests.kit.servers.network import Link, Way
from tests.kit.servers.process import MissingServer, Server
from tests.kit.servers.redis import RedisCluster, RedisSentinel, RedisServer, SecuredRedis
from tests.kit.servers.shared import shared
from tests.kit.servers.topics import Topics, create_topics

__all__ = [
    "KafkaCluster",
    "KafkaServer",
    "Link",
    "MissingServer",
    "RedisCluster",
    "RedisSentinel",
    "RedisServer",
    "SecuredKafka",
    "SecuredRedis",
    "Server",
    "Topics",
    "Way",
    "create_topics",
    "shared",
]
