"""Fixtures that hand out real servers, topics and the model. What is missing skips on a laptop and fails in CI."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import hypothesis
import pytest

from tests.kit import costs
from tests.kit.servers import (
    KafkaServer,
    MissingServer,
    RedisCluster,
    RedisSentinel,
    RedisServer,
    SecuredKafka,
    SecuredRedis,
    Topics,
    create_topics,
    shared,
)

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

    from questream.encoder import Encoder

Built = TypeVar("Built")

# On a loaded machine examples are drawn slowly; that says nothing about the code.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")

# Fixture to marker, so that no test has to say twice what it needs.
MARKERS = {
    "kafka": "kafka",
    "kafka_factory": "kafka",
    "breakable_kafka": "kafka",
    "secured_kafka": "kafka",
    "redis_server": "redis",
    "redis_factory": "redis",
    "secured_redis": "redis",
    "redis_sentinel": "redis",
    "redis_cluster": "redis",
    "minilm": "model",
    "mpnet": "mpnet",
}


# The files that take longest, longest first. A parallel run begins them in this order, then the rest folder by folder:
# those that mostly wait for servers before those that compute, and none so late that a run has to wait for it alone.
# Its first process goes through them from the end (tests/kit/together.py).
LONGEST = (
    "integration/test_serve.py",
    "integration/test_operations_of_kafka.py",
    "fault/test_record_identity.py",
    "fault/test_store_damage.py",
    "fault/test_planted_bugs.py",
    "integration/test_worker.py",
    "fault/test_migration.py",
    "fault/test_crash.py",
    "integration/test_cli_kafka.py",
    "integration/test_cli_run.py",
    "integration/test_events_run.py",
    "integration/test_webhooks.py",
    "unit/test_commit_protocol.py",
    "integration/test_encoder_minilm.py",
    "integration/test_least_privilege.py",
    "contract/test_publisher.py",
    "integration/test_demo.py",
    "integration/test_encoder_architectures.py",
    "integration/test_image.py",
    "integration/test_hostile_records.py",
    "integration/test_cli_produce.py",
    "integration/test_servers.py",
    "integration/test_doctor.py",
    "unit/test_serve_operations.py",
    "unit/test_serve_conditions.py",
    "unit/test_serve_levels.py",
)
IMPORTED_TO_COLLECT = pytest.StashKey[frozenset[str]]()
FOLDERS = ("fault", "integration", "contract", "unit")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--costs`: what each test file costs."""
    parser.addoption("--costs", action="store_true", help="end with the processor time by kind and by file")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--costs"):
        config.pluginmanager.register(costs)


# Without the plugin for parallel runs nobody knows this hook.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """A parallel run by files gives some of them to one process."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.kit.together import FilesTogether

    return FilesTogether(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What is imported and collected stays to the end: the garbage collector has nothing to look for in it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        # What tests import later is a million objects, which it would look through again and again.
        gc.set_threshold(20_000)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test by the servers its fixtures start; in a parallel run, begin the longest files first."""
    for item in items:
        for name in {MARKERS[name] for name in getattr(item, "fixturenames", ()) if name in MARKERS}:
            item.add_marker(name)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: turn_of(item.path))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note what the test files import at their top, which each process of a parallel run pays for."""
    session.config.stash[IMPORTED_TO_COLLECT] = frozenset(sys.modules)


def turn_of(file: Path) -> int:
    """Where a file stands in the order of a parallel run; files of one folder may have the same turn."""
    name = file.relative_to(Path(__file__).parent)
    if name.as_posix() in LONGEST:
        return LONGEST.index(name.as_posix())
    return len(LONGEST) + FOLDERS.index(name.parts[0])


def built(build: Callable[[], Built]) -> Built:
    """What `build` returns; what is missing for it skips the test, or fails it where CI is set."""
    try:
        return build()
    except MissingServer as missing:
        if os.environ.get("CI"):
            pytest.fail(f"missing in CI: {missing}")
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> KafkaServer:
    """The Apache Kafka that all tests of a run share; never stop it, take `kafka_factory` for that."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(pytestconfig, "workerinput"):
        # Above it is what the processes of a parallel run have in common.
        folder = folder.parent
    sharing = ExitStack()
    # Not with the last test, whose time limit must not run while other processes go on with theirs.
    pytestconfig.add_cleanup(sharing.close)
    return built(lambda: sharing.enter_context(shared(folder / "kafka", KafkaServer)))


@pytest.fixture
def kafka_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., KafkaServer]]:
    """Starts a Kafka of the test's own; takes what KafkaServer takes after the folder."""
    with ExitStack() as started:

        def start(**options: Any) -> KafkaServer:
            folder = tmp_path_factory.mktemp("own-kafka")
            return started.enter_context(built(lambda: KafkaServer(folder, **options)))

        yield start


@pytest.fixture(scope="module")
def breakable_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The Apache Kafka that the tests of a file stop and kill; each leaves it running."""
    with built(lambda: KafkaServer(tmp_path_factory.mktemp("breakable-kafka"))) as server:
        yield server


@pytest.fixture(scope="module")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """The Apache Kafka with TLS, logins and ACLs that tests of security share; never stop it."""
    with built(lambda: SecuredKafka(tmp_path_factory.mktemp("secured-kafka"))) as server:
        yield server


@pytest.fixture(scope="module")
def secured_redis(tmp_path_factory: pytest.TempPathFactory, secured_kafka: SecuredKafka) -> Iterator[SecuredRedis]:
    """The Redis with TLS that they share, with a certificate of the same authority; never stop it."""
    folder = tmp_path_factory.mktemp("secured-redis")
    with built(lambda: SecuredRedis(folder, secured_kafka.authority)) as server:
        yield server


@pytest.fixture
def topics(kafka: KafkaServer) -> Callable[..., Topics]:
    """`topics(partitions=1)` creates one stream's topics on the shared Kafka, under fresh names."""

    def create(partitions: int = 1) -> Topics:
        return create_topics(kafka.bootstrap_servers, partitions)

    return create


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The Redis that tests share; never stop it, take `redis_factory` for that."""
    with built(lambda: RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of an empty database of the shared Redis that no other test uses."""
    return redis_server.new_database()


@pytest.fixture
def redis_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisServer]]:
    """Starts a Redis of the test's own; takes what RedisServer takes after the folder."""
    with ExitStack() as started:

        def start(**options: Any) -> RedisServer:
            folder = tmp_path_factory.mktemp("own-redis")
            return started.enter_context(built(lambda: RedisServer(folder, **options)))

        yield start


@pytest.fixture
def redis_sentinel(tmp_path: Path) -> Iterator[RedisSentinel]:
    """A master, a replica and a sentinel of the test's own."""
    with built(lambda: RedisSentinel(tmp_path / "sentinel")) as servers:
        yield servers


@pytest.fixture
def redis_cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """A Redis Cluster of three masters of the test's own."""
    with built(lambda: RedisCluster(tmp_path / "cluster")) as servers:
        yield servers


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of all-MiniLM-L6-v2 (384-d)."""
    from questream.embedded import bundled_model

    return bundled_model()


@pytest.fixture(scope="session")
def mpnet() -> Path:
    """Folder of all-mpnet-base-v2 (768-d); skips without, also in CI, for no package carries it."""
    folder = os.environ.get("QUESTREAM_TEST_MPNET")
    if not folder:
        pytest.skip("QUESTREAM_TEST_MPNET names no folder with all-mpnet-base-v2")
    return Path(folder)


@pytest.fixture(scope="session")
def encoder(minilm: Path) -> Encoder:
    """The encoder that the worker would load for MiniLM on this machine."""
    # Not at the top: the import takes seconds, and most tests need no model.
    from questream.encoder import load_encoder
    from questream.settings import ModelSettings

    return load_encoder(ModelSettings(name=str(minilm)))
