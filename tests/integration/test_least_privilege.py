"""The rights that docs/security.md lists: with exactly these all runs, and without one of them it says which."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import TopicAuthorizationFailedError

from questream.broker.connect import open_producer, open_reader
from questream.broker.kafka_python.clients import consumer_config
from questream.broker.kafka_python.consumer import RecordConsumer
from questream.deciding.batch import NamespaceBatch
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import namespace_config
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import Source
from questream.encoder import Encoder
from questream.errors import ExitCode, KafkaRefused, RecoveryNeeded, StoreRefused, StoreUnavailable
from questream.operations import By, Decisions
from questream.settings import RedisSettings, Settings, WebhookSettings
from questream.settings.tree import DEFAULT_PREFIX
from questream.store.protocol import MadeName, Restored
from questream.store.redis.client import connect_redis
from questream.store.redis.keys import Keys
from questream.store.redis.store import RedisStore
from questream.store.retention import Retention
from questream.stream.worker import Worker
from questream.tools.namespaces import list_namespaces
from questream.watch.delivery import Delivery
from questream.watch.watcher import Watcher
from tests.kit.command import Outcome, questream
from tests.kit.servers import RedisCluster, SecuredKafka, SecuredRedis, Topics
from tests.kit.servers.kafka.secured import PASSWORD, USER, scram_options
from tests.kit.store_calls import confirm_one
from tests.kit.stream import (
    Stream,
    assert_one_decision_each,
    question,
    real_questions,
    running_worker,
    send,
    wait_until,
)
from tests.kit.vectors import DIMENSION, hash_encoder, hash_vector
from tests.kit.watching import decided
from tests.unit.test_events import MINUTE_MS, after, steady

DOCS = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
ROW = re.compile(r"^\| ([a-z -]+) \| ([A-Z_]+) \| ([a-z-]+) \| `([^`]+)` \|", re.MULTILINE)
KEYS = Keys(DEFAULT_PREFIX)
REDIS_PASSWORD = "redis-pw-0815-of-the-user"
OWN_TOPICS = Topics(
    *("questions", "question-clusters", "clusters", "questions-dead-letters", "cluster-events", "cluster-operations"),
    correction_topic="question-corrections",
)


class Right(NamedTuple):
    """A row of the table."""

    who: str
    operation: str
    kind: str
    name: str

    def acl(self) -> ACL:
        kind = ResourceType[self.kind.replace("-", "_").upper()]
        how = ACLResourcePatternType.PREFIXED if self.kind == "transactional-id" else ACLResourcePatternType.LITERAL
        pattern = ResourcePattern(kind, self.name, how)
        return ACL(f"User:{USER}", "*", ACLOperation[self.operation], ACLPermissionType.ALLOW, pattern)

    def of_read(self) -> Right:
        """The same right in the stream of the fixture `read`."""
        own = f"{self.name}.read" if self.kind == "topic" else self.name.replace("questream", "questream.read")
        return self._replace(name=own)

    def words(self) -> re.Pattern[str]:
        """What an error says that is about this very right."""
        if self.kind == "transactional-id":
            return re.compile("the right to WRITE transactional ids that begin with kafka.group_id is missing")
        operation = "(READ|DESCRIBE)" if self.operation == "DESCRIBE" else self.operation
        return re.compile(rf"the right to {operation} {self.kind} {re.escape(self.name)} is missing")


RIGHTS = [Right(*row) for row in ROW.findall(DOCS)]
REDIS_USERS = {line.split()[2]: line.split()[3:] for line in re.findall(r"^ACL SETUSER .*$", DOCS, re.MULTILINE)}


def rights_of(who: str) -> list[Right]:
    return [right for right in RIGHTS if right.who == who]


def commands_of(user: str) -> list[str]:
    return [rule for rule in REDIS_USERS[user] if rule.startswith("+")]


class Grants:
    """What `USER` may do on the broker."""

    def __init__(self, kafka: SecuredKafka) -> None:
        self._admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)

    def become(self, rights: list[Right]) -> None:
        """Exactly these rights and no others, from the return on."""
        every = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        mine = ACLFilter(f"User:{USER}", None, ACLOperation.ANY, ACLPermissionType.ANY, every)
        self._admin.delete_acls([mine])
        if rights:
            self._admin.create_acls([right.acl() for right in rights])
        wait_until(lambda: len(self._admin.describe_acls(mine)[0]) == len(rights), "the broker has the rights")

    def close(self) -> None:
        self._admin.close()


@pytest.fixture(scope="module")
def grants(secured_kafka: SecuredKafka) -> Iterator[Grants]:
    granted = Grants(secured_kafka)
    yield granted
    granted.become([])
    granted.close()


@pytest.fixture(scope="module")
def stream(secured_kafka: SecuredKafka, secured_redis: SecuredRedis) -> Stream:
    """The topics and the group that the documentation names, and an empty Redis."""
    with secured_redis.client() as client:
        client.flushdb()
    with KafkaAdminClient(bootstrap_servers=secured_kafka.bootstrap_servers) as admin:
        admin.create_topics(
            {
                name: {"num_partitions": 2, "configs": {"cleanup.policy": "compact"} if name == "clusters" else {}}
                for name in OWN_TOPICS.settings().values()
            }
        )
    return Stream(secured_kafka.bootstrap_servers, OWN_TOPICS, secured_redis.url, group_id="questream")


def become(secured_redis: SecuredRedis, user: str, *more: str) -> str:
    """Give the user the documented rules, then `more`; returns its URL."""
    with secured_redis.client() as client:
        rules = [rule.replace("PASSWORD", REDIS_PASSWORD) for rule in REDIS_USERS[user]]
        client.execute_command("ACL", "SETUSER", user, *rules, *more)
    return secured_redis.tls_url(user, REDIS_PASSWORD)


def secured(stream: Stream, kafka: SecuredKafka, redis: SecuredRedis, redis_url: str) -> Settings:
    more: dict[str, Any] = {
        **scram_options(kafka),
        "kafka.sasl_plain_password": PASSWORD,
        "redis.url": redis_url,
        "redis.options.ssl_ca_certs": str(kafka.authority.certificate),
    }
    return stream.settings(**{name.replace(".", "__"): value for name, value in more.items()})


def test_the_documentation_lists_rights_of_every_part() -> None:
    assert {right.who for right in RIGHTS} == {
        "worker", "produce", "tail", "dead-letters list", "dead-letters replay", "topics create", "events run",
        "events deliver", *READERS,
    }  # fmt: skip
    assert set(REDIS_USERS) == {"questream-worker", "questream-reader"}


def test_a_worker_runs_exactly_once_with_the_listed_rights_alone(
    stream: Stream, grants: Grants, secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    settings = secured(stream, secured_kafka, secured_redis, become(secured_redis, "questream-worker"))
    grants.become(rights_of("worker"))
    # Alike, and a third that joins both, so that there is a merge; and one that is dead-lettered.
    texts = ["my card is lost", "my card is lost", "where is the bank", "open the bank on monday", ""]
    stream.send([question(number, text) for number, text in enumerate(texts)])
    with running_worker(settings, hash_encoder()), stream.decisions() as decisions, stream.dead_letters() as letters:
        assert_one_decision_each(decisions.values(4), [f"q{number}" for number in range(4)])
        assert len(letters.until(1)) == 1
        wait_until(lambda: sum(stream.committed().values()) == len(texts), "the offsets are committed")
    # A store that forgot everything is filled from the cluster topic, which takes no further right.
    with secured_redis.client() as client:
        client.flushdb()
    stream.send([question("again", "my card is lost")])
    with running_worker(settings, hash_encoder()), stream.decisions() as decisions:
        again = next(d for d in decisions.values(5) if d["question_id"] == "qagain")
        assert again["outcome"] == "joined"


# Without a right to these topics operations wait, and questions are decided.
_WAITED_FOR = ("cluster-operations", "question-corrections")
NEEDED = [right for right in rights_of("worker") if right.name not in _WAITED_FOR]


@pytest.mark.parametrize("missing", NEEDED, ids=lambda right: f"{right.operation}-{right.name}")
def test_a_worker_without_one_of_them_ends_and_names_it(
    missing: Right, stream: Stream, grants: Grants, secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    settings = secured(stream, secured_kafka, secured_redis, become(secured_redis, "questream-worker"))
    grants.become([right for right in rights_of("worker") if right != missing])
    if missing.name == "clusters" and missing.operation == "READ":
        # It is read when the store has to be compared with it.
        with secured_redis.client() as client:
            client.flushdb()
    stream.send([question(f"-{missing.name}-{n}", text) for n, text in enumerate(["a new question", ""])])
    with pytest.raises(KafkaRefused, match=missing.words()):
        run_until_it_ends(Worker(settings, hash_encoder()))


def test_a_topic_that_may_not_be_seen_has_no_identity(
    stream: Stream, grants: Grants, secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    grants.become([right for right in rights_of("worker") if right.name != OWN_TOPICS.input_topic])
    config = consumer_config(secured(stream, secured_kafka, secured_redis, secured_redis.url), "unseen")
    with closing(RecordConsumer(**config)) as consumer:
        with pytest.raises(TopicAuthorizationFailedError):
            consumer.stream_identity(OWN_TOPICS.input_topic)
        consumer.subscribe([OWN_TOPICS.input_topic])
        # It raises at once, or goes on with no partition, as its requests fall.
        with suppress(TopicAuthorizationFailedError):
            consumer.poll(5000)
        with pytest.raises(TopicAuthorizationFailedError):
            consumer.stream_identity(OWN_TOPICS.input_topic)


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_topic_that_may_not_be_seen_is_not_taken_for_one_that_is_missing(
    client: str, stream: Stream, grants: Grants, secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    grants.become([right for right in rights_of("worker") if right.name != OWN_TOPICS.input_topic])
    settings = secured(stream, secured_kafka, secured_redis, secured_redis.url)
    settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"client": client})})
    of_topic = f"topic {OWN_TOPICS.input_topic} is missing"
    with open_producer(settings) as producer, pytest.raises(KafkaRefused, match=f"the right to WRITE {of_topic}"):
        producer.require_topic(OWN_TOPICS.input_topic)
    with open_reader(settings) as reader, pytest.raises(KafkaRefused, match=f"the right to READ {of_topic}"):
        reader.stream_identity(OWN_TOPICS.input_topic)


@pytest.mark.parametrize("missing", [None, *rights_of("events run")], ids=str)
def test_who_tells_events_does_with_the_listed_rights_and_without_one_of_them_names_it(
    missing: Right | None, stream: Stream, grants: Grants, secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    watcher = Watcher(secured(stream, secured_kafka, secured_redis, become(secured_redis, "questream-reader")))
    past = steady()
    send(stream.bootstrap_servers, OWN_TOPICS.output_topic, decided(past))
    grants.become([right for right in rights_of("events run") if right != missing])

    def ask() -> None:
        # One that stands by is ready too; what comes before it has the turn is past to it.
        wait_until(lambda: watcher.metrics.publishing._value.get() or ended.is_set(), "it publishes, or has ended")
        burst = after(past, f"c{99 + len(past)}", 6, MINUTE_MS)
        send(stream.bootstrap_servers, OWN_TOPICS.output_topic, decided(burst, key="burst"))
        wait_until(lambda: watcher.metrics.events.labels("emerging", "")._value.get() > 0 or ended.is_set(), "an event")
        watcher.stop()

    ended = threading.Event()
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        if missing is None:
            watcher.run()
        else:
            # A topic that may not even be seen is missed first by those who look whether it is there.
            seen = missing._replace(operation="DESCRIBE") if missing.operation == "READ" else missing
            with pytest.raises(KafkaRefused, match=seen.words()):
                watcher.run()
    finally:
        ended.set()
        asking.join()


@pytest.mark.parametrize("missing", [None, *rights_of("events deliver")], ids=str)
def test_who_delivers_events_does_with_the_listed_rights_and_without_one_of_them_names_it(
    missing: Right | None, stream: Stream, grants: Grants, secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    options = {"url": "http://127.0.0.1:1", "name": "default"}
    settings = secured(stream, secured_kafka, secured_redis, secured_redis.url)
    delivery = Delivery(settings.model_copy(update={"webhooks": WebhookSettings.model_validate(options)}))
    grants.become([right for right in rights_of("events deliver") if right != missing])
    timer = threading.Timer(30, delivery.stop)
    timer.start()
    try:
        if missing is None:
            threading.Thread(target=stop_once_ready, args=(delivery,)).start()
            delivery.run()
            assert delivery.condition.ready() is None
        else:
            with pytest.raises(KafkaRefused, match=missing.words()):
                delivery.run()
    finally:
        timer.cancel()


def stop_once_ready(delivery: Delivery) -> None:
    """Stop it as soon as it delivers."""
    wait_until(lambda: delivery.condition.ready() is None, "it delivers")
    delivery.stop()


def run_until_it_ends(worker: Worker) -> None:
    """Raises what the worker ends with; stops one that does not end by itself."""
    timer = threading.Timer(40, worker.stop)
    timer.start()
    try:
        worker.run()
    finally:
        timer.cancel()


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "produce": lambda file: ["produce", str(file)],
    "tail": lambda _: ["tail", "--from-beginning", "--max", "1"],
    "dead-letters list": lambda _: ["dead-letters", "list"],
    "dead-letters replay": lambda _: ["dead-letters", "replay"],
    "topics create": lambda _: ["topics", "create", "--partitions", "1", "--dry-run"],
}


@pytest.mark.parametrize("who", COMMANDS)
def test_a_command_runs_with_the_listed_rights_and_without_one_of_them_names_it(
    who: str, stream: Stream, grants: Grants, secured_kafka: SecuredKafka, tmp_path: Path
) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("Where is my card?\n")
    flags = [f"--{name}={value}" for name, value in scram_options(secured_kafka).items()]
    if who == "topics create":
        # Whether there is a right to create shows only where there is something to create.
        flags += [f"--kafka.{role}={name}.new" for role, name in OWN_TOPICS.settings().items()]
    arguments = [*COMMANDS[who](file), *flags, f"--kafka.sasl_plain_password={PASSWORD}"]
    listed = rights_of(who)
    if who == "topics create":
        listed = [right._replace(name=f"{right.name}.new") for right in listed]
    for missing in listed:
        grants.become([right for right in listed if right != missing])
        denied = questream(*arguments)
        assert denied.code == ExitCode.REFUSED, (missing, denied)
        assert missing.words().search(denied.err), (missing, denied.err)
    grants.become(listed)
    done = questream(*arguments)
    assert done.code == 0, done.err


# Each line needs every right of its row; all name a cluster, or a question of it.
READERS = {
    "clusters members": ["clusters members CLUSTER"],
    "clusters members --decisions": [
        "clusters members CLUSTER --decisions 100",
        "clusters members CLUSTER --search card",
        "clusters members CLUSTER --all",
    ],
    "clusters reject": [
        "clusters reject QUESTION --dry-run",
        "clusters move QUESTION OTHER --dry-run",
        "clusters split CLUSTER QUESTION --dry-run",
        "clusters represent CLUSTER QUESTION --dry-run",
    ],
    "suggestions list --kind split": ["suggestions list --kind split"],
    "calibrate --from-topic": ["calibrate --from-topic"],
    "tail --text": ["tail --text --from-beginning --max 1"],
    "export": ["export FILE --min-questions 1"],
}


class Decided(NamedTuple):
    """A stream that a worker has decided, under names of its own, and the words that stand for it in `READERS`."""

    flags: list[str]
    words: dict[str, str]

    def run(self, line: str) -> Outcome:
        return questream(*(self.words.get(word, word) for word in line.split()), *self.flags)


@pytest.fixture(scope="module")
def read(
    secured_kafka: SecuredKafka,
    secured_redis: SecuredRedis,
    minilm: Path,
    encoder: Encoder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Decided:
    topics = Topics(**{role: f"{name}.read" for role, name in OWN_TOPICS.settings().items()})
    with KafkaAdminClient(bootstrap_servers=secured_kafka.bootstrap_servers) as admin:
        admin.create_topics({name: {"num_partitions": 1} for name in topics.settings().values()})
    options = {"model.name": str(minilm), "redis.prefix": "read"}
    stream = Stream(secured_kafka.bootstrap_servers, topics, secured_redis.url, options, group_id="questream.read")
    with running_worker(stream.settings(), encoder), stream.decisions() as decisions:
        # One cluster is large enough to be looked at for a split, and all are enough for a sample.
        ends = ("", ".", "!", " again", " now", " today", " please", " sorry", " already")
        texts = [*(f"I have lost my card{end}" for end in ends), *real_questions(100)]
        stream.send([question(number, text) for number, text in enumerate(texts)])
        first, *_, last = sorted(decisions.values(len(texts)), key=lambda one: one["source"]["offset"])
    flags = {**stream.overrides(), **scram_options(secured_kafka), "kafka.sasl_plain_password": PASSWORD}
    file = tmp_path_factory.mktemp("read") / "groups.jsonl"
    words = {
        "CLUSTER": first["cluster_id"],
        "QUESTION": first["question_id"],
        "OTHER": last["cluster_id"],
        "FILE": str(file),
    }
    return Decided([f"--{name}={value}" for name, value in flags.items()], words)


@pytest.mark.parametrize(("who", "line"), [(who, line) for who, lines in READERS.items() for line in lines])
def test_a_command_that_reads_questions_does_with_the_listed_rights_and_without_one_of_them_names_it(
    who: str, line: str, read: Decided, grants: Grants
) -> None:
    listed = [right.of_read() for right in rights_of(who)]
    for missing in listed:
        grants.become([right for right in listed if right != missing])
        denied = read.run(line)
        assert denied.code == ExitCode.REFUSED, (missing, denied)
        assert missing.words().search(denied.err), (missing, denied.err)
    grants.become(listed)
    done = read.run(line)
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("line", "reads_decisions"), [("verify", True), ("restore", False), ("namespaces delete default --yes", False)]
)
def test_a_command_does_with_the_rights_of_a_worker(
    line: str, reads_decisions: bool, read: Decided, grants: Grants
) -> None:
    worker = [right.of_read() for right in rights_of("worker")]
    decisions = rights_of("tail")[0].of_read()
    if reads_decisions:
        grants.become(worker)
        denied = read.run(line)
        assert denied.code == ExitCode.REFUSED
        assert decisions.words().search(denied.err), denied.err
    grants.become([*worker, *([decisions] if reads_decisions else [])])
    done = read.run(line)
    assert done.code == 0, done


def as_a_worker(authority: Path, url: str) -> None:
    ask_all_of(store_at(url, authority))


def ask_all_of(store: RedisStore) -> None:
    """Everything that a worker asks of its store, in a namespace of its own."""
    store.ping()
    config = namespace_config(Settings(), hash_encoder())
    namespaces = Namespaces(store, config, recover=lambda ns: recover(store, ns))
    clusterer = Clusterer(store, namespaces)
    namespace = "least-privilege"
    ledger = namespaces.recorded(namespace, "t", 0)
    texts = ["my card is lost", "where is the bank"]
    arrivals = [Arrival(Source("t", 0, offset, 1), text) for offset, text in enumerate(texts, ledger.head + 1)]
    vectors = np.stack([hash_vector(text) for text in texts])
    batch = NamespaceBatch(namespace, ledger.store_epoch, arrivals, vectors)
    clusterer.decide([batch], {})
    clusterer.mirrors.catch_up(namespace)
    told = [(state.cluster_id, state.revision) for state in batch.decided().states]
    confirm_one(store, namespace, told, {}, store.outbox_position(namespace))
    for cluster_id in store.unpublished(namespace, 0.0, 10):
        store.cluster(namespace, cluster_id)
    store.namespace_state(namespace)
    store.namespaces()
    store.heads(namespace, [("t", 0)])
    store.retire(namespace, Retention(idle_seconds=3600.0), 10)
    store.revisions(namespace, [1, 2])
    store.trim_logs(dict.fromkeys(store.log_lengths([namespace]), 1))
    store.require_recovery(namespace)


def recover(store: RedisStore, namespace: str) -> None:
    """Nothing was published that could be put back."""
    store.recover(namespace, store.begin_recovery(namespace), None, {})


def as_a_reader(authority: Path, url: str) -> None:
    """What `ask` and the commands of `clusters` and `namespaces` that only look do."""
    store = store_at(url, authority)
    store.ping()
    (namespace,) = [name for name in store.namespaces() if name == "least-privilege"]
    assert store.namespace_state(namespace) is not None
    assert store.load(namespace).store_epoch
    assert [store.cluster(namespace, state.cluster_id) is not None for state in store.clusters(namespace)] == [True] * 2
    assert [found.sizes.clusters for found in list_namespaces(store)] == [2]


def store_at(url: str, authority: Path) -> RedisStore:
    settings = RedisSettings(url=url, options={"ssl_ca_certs": str(authority)})  # type: ignore[arg-type]  # pydantic makes it a secret
    return RedisStore(connect_redis(settings))


def test_names_are_made_with_the_rights_of_a_worker(secured_kafka: SecuredKafka, secured_redis: SecuredRedis) -> None:
    with secured_redis.client() as client:
        client.flushdb()
    store = store_at(become(secured_redis, "questream-worker"), secured_kafka.authority.certificate)
    ask_all_of(store)
    recover(store, "least-privilege")
    name = MadeName("Lost card", "model", 1, 3, "place")
    store_epoch = store.store_epoch("least-privilege") or ""
    store.write_names("least-privilege", store_epoch, {1: name})
    assert store.made_names("least-privilege") == {1: name}
    store.write_names("least-privilege", store_epoch, {1: None})
    assert store.made_names("least-privilege") == {}


@pytest.mark.parametrize(("user", "uses"), [("questream-worker", as_a_worker), ("questream-reader", as_a_reader)])
def test_a_redis_user_needs_each_of_the_listed_commands_and_is_told_which_is_missing(
    user: str, uses: Callable[..., None], secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    authority = secured_kafka.authority.certificate
    with secured_redis.client() as client:
        client.flushdb()
        as_a_worker(authority, become(secured_redis, "questream-worker"))
        recover(store_at(become(secured_redis, "questream-worker"), authority), "least-privilege")
        uses(authority, become(secured_redis, user))
        for rule in commands_of(user):
            command = rule.removeprefix("+")
            if command == "script|load":
                # Asked only where the server does not know the script yet.
                client.script_flush()
            url = become(secured_redis, user, f"-{command}")
            with pytest.raises(StoreRefused, match=rf"\+{re.escape(command)}( |$)"):
                uses(authority, url)
        with pytest.raises(StoreRefused, match=r"grant ~questream:\*"):
            uses(authority, become(secured_redis, user, "resetkeys", "~other:*"))


def test_operations_that_wait_to_be_published_outlive_a_recovery_with_the_listed_rights(
    secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    with secured_redis.client() as client:
        client.flushdb()
    store = store_at(become(secured_redis, "questream-worker"), secured_kafka.authority.certificate)
    ask_all_of(store)
    recover(store, "least-privilege")
    decisions = Decisions(store, "least-privilege", By("ann"))
    published, waiting = (decisions.commit(decisions.mark(kind, 1)) for kind in ("pin", "mute"))
    store.require_recovery("least-privilege")
    token = store.begin_recovery("least-privilege")
    store.restore_operations("least-privilege", token, [published], published.number)
    store.recover("least-privilege", token, None, {})
    assert store.operations("least-privilege", 10) == [waiting, published]


def test_a_cluster_takes_the_two_rights_more_that_are_listed(redis_cluster: RedisCluster) -> None:
    rules = [rule.replace("PASSWORD", REDIS_PASSWORD) for rule in REDIS_USERS["questream-worker"]]
    (more,) = re.findall(r'mode = "cluster"` also needs `([^`]+)`', DOCS)
    url = redis_cluster.url.replace("redis://", f"redis://questream-worker:{REDIS_PASSWORD}@")
    settings = RedisSettings.model_validate({"url": url, "mode": "cluster"})

    def grant(*extra: str) -> None:
        for node in redis_cluster.nodes:
            with node.client() as client:
                client.execute_command("ACL", "SETUSER", "questream-worker", *rules, *extra)

    for missing in more.split():
        grant(*(rule for rule in more.split() if rule != missing))
        with pytest.raises((StoreRefused, StoreUnavailable)):
            ask_all_of(RedisStore(connect_redis(settings)))
    grant(*more.split())
    ask_all_of(RedisStore(connect_redis(settings)))


def test_a_right_that_is_missing_leaves_nothing_half_done(
    secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    """XTRIM is the last command of a commit: without it everything before would stay."""
    authority = secured_kafka.authority.certificate
    with secured_redis.client() as client:
        client.flushdb()
        url = become(secured_redis, "questream-worker", "-xtrim")
        with pytest.raises(StoreRefused, match="XTRIM"):
            as_a_worker(authority, url)
        assert client.keys("*") == []


def test_rights_that_are_taken_away_while_it_runs_delete_nothing(
    secured_kafka: SecuredKafka, secured_redis: SecuredRedis
) -> None:
    name = "least-privilege"
    with secured_redis.client() as client:
        client.flushdb()
        store = store_at(become(secured_redis, "questream-worker"), secured_kafka.authority.certificate)
        ask_all_of(store)
        recover(store, name)
        decisions = Decisions(store, name, By("ann"))
        pinned = decisions.commit(decisions.mark("pin", 1))
        states, before = store.states(name, [1, 2]), set(client.keys("*"))
        assert {KEYS.of(name, key) for key in ("operations", "operation_ids", "idle", "outbox")} <= before
        for rule in commands_of("questream-worker"):
            become(secured_redis, "questream-worker")
            store.require_recovery(name)
            token = store.begin_recovery(name)
            become(secured_redis, "questream-worker", f"-{rule.removeprefix('+')}")
            for call in (
                partial(store.mend, name, token, [1, 2], DIMENSION),
                partial(store.restore, name, token, list(map(Restored, states))),
                partial(store.restore_operations, name, token, [pinned], 1),
                partial(store.recover, name, token, None, {("t", 0): 1}),
                partial(decisions.commit, decisions.mark("mute", 2)),
            ):
                with suppress(StoreRefused, RecoveryNeeded):
                    call()
            assert set(client.keys("*")) >= before, rule
