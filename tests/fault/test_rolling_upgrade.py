"""A rolling upgrade from the release before to this one, and back: both versions work side by side in one group."""

from __future__ import annotations

import json
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import pytest
import redis
from redis.commands.core import Script

from questream.clustering.constraints import pack_vector
from questream.clustering.levels import Levels
from questream.deciding.level_runs import is_due
from questream.domain import Exemplar, Ruling
from questream.errors import RecoveryNeeded
from questream.operations import By, Decisions
from questream.operations.binding import new_names
from questream.recovery.cluster_topic import ClusterTopic, Published
from questream.recovery.home import Home, Homes
from questream.settings import Settings
from questream.settings.tree import DEFAULT_PREFIX
from questream.store.protocol import OpenedCluster
from questream.store.redis.keys import Keys
from questream.store.redis.store import RedisStore
from questream.tools.recovery import _publish_homes, restore
from tests.contract.test_store import IDENTITY
from tests.fault.test_planted_bugs import at_rest
from tests.kit.checker import Rules, check
from tests.kit.stream import Stream, WorkerProcess, members, question, wait_until
from tests.kit.vectors import hash_vector, spelled

ROOT = Path(__file__).parents[2]
# The last commit whose formats an upgrade must be able to start from.
RELEASE_BEFORE = "716ef79db545"
THRESHOLD = 0.55
WAVE = 400
ADDED_FIELDS = frozenset(
    {
        *("schema_version", "unknown_share", "prepared_by", "checked_by", "reason", "path"),
        *("confidence", "suggested_route"),
    }
)
PARTITIONS = 4
OPTIONS = {
    "clusters.threshold": THRESHOLD,
    # The release before may open a twin while the stream's mean still moves.
    "clusters.similarity": "cosine",
    "batch_questions": 48,
}
STRICT = Ruling(
    "card arrival",
    "cards",
    exemplars=(Exemplar(new_names(1)[0], "must", pack_vector(hash_vector("card card card arrival"))),),
    threshold=0.95,
)


@pytest.fixture(scope="session")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the source of the release before; skips where there is no history (a tarball, a shallow clone)."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", RELEASE_BEFORE, "src", "tests"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the history has no {RELEASE_BEFORE}")
    folder = tmp_path_factory.mktemp("release-before")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as source:
        source.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_workers_of_two_releases_share_a_group_through_an_upgrade_and_back(
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
    release_before: Path,
    delivery: Literal["exactly-once", "at-least-once"],
) -> None:
    stream = make_stream(PARTITIONS, **OPTIONS, delivery=delivery)
    sent = 0

    def under_load(share: float) -> None:
        """Send another wave, and return once `share` of it is committed: what follows happens under load."""
        nonlocal sent
        before, sent = sent, sent + WAVE
        stream.send(question(i, _text(i), partition=i % PARTITIONS) for i in range(before, sent))
        wait_until(lambda: sum(stream.committed().values()) >= before + share * WAVE, "the wave is being decided", 90)

    before = start_worker(stream, release=release_before, text_seconds=0.002)
    under_load(0.3)
    after = start_worker(stream, text_seconds=0.002)
    wait_until(lambda: len(members(stream)) == 2, "both releases share the partitions")
    under_load(0.5)
    before.kill()
    under_load(0.5)

    # And back, this time as an operator does it.
    before = start_worker(stream, release=release_before, text_seconds=0.002)
    wait_until(lambda: len(members(stream)) == 2, "both releases share the partitions")
    under_load(0.5)
    after.signal(signal.SIGTERM)
    assert after.wait() == 0
    under_load(0.5)

    start_worker(stream, text_seconds=0.002)
    before.kill()
    evidence = at_rest(stream, sent)
    # On the plain cosine the release before learns no mean.
    rules = Rules(
        THRESHOLD,
        hash_vector,
        similarity="cosine",
        delivery=delivery,
        added_fields=ADDED_FIELDS,
        mean_of_some=True,
    )
    violations = check(evidence, rules)
    assert not violations, "\n".join(map(str, violations[:20]))
    # Else nothing was put to the test.
    assert {b"schema_version" in (entry.value or b"") for entry in evidence.output} == {False, True}


def _text(number: int) -> str:
    """Subjects that go on coming: some are joined, some opened, and at times two become one."""
    subject = (number * number) % (40 + number // 20)
    parts = [f"what{subject}", f"how{subject}", f"why{subject}"]
    return " ".join(parts[: 2 + number % 2] if number % 5 else parts[1:])


def test_what_people_said_stands_through_an_upgrade_and_back(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], release_before: Path
) -> None:
    """An intent's own threshold, and the question that stands for a cluster: the release before knows neither."""
    stream = make_stream(PARTITIONS, **OPTIONS)
    store, sent = stream.store(), 0

    def ask(*texts: str) -> list[dict[str, Any]]:
        """Ask these in each partition, so that both releases decide; returns the decisions of the last."""
        nonlocal sent
        for text in texts:
            stream.send([question(sent + at, text, partition=at) for at in range(PARTITIONS)])
            sent += PARTITIONS
        wait_until(lambda: sum(stream.committed().values()) >= sent, "all of it is decided", 90)
        with stream.decisions() as reader:
            return [
                one for one in reader.values(sent) if one["question_id"] in {f"q{sent - at - 1}" for at in range(4)}
            ]

    def stands() -> tuple[float | None, str | None, str | None]:
        one, other = (store.cluster("default", number) for number in (strict, asked))
        assert one is not None
        assert other is not None
        return one.ruling.threshold, one.label, other.representative

    after = start_worker(stream)
    asked = int(ask("loan loan rate")[0]["cluster_id"][1:])
    decisions = Decisions(store, "default", By("ann"))
    decisions.commit(decisions.open_intents([(STRICT, opened_with("card card card arrival"))], {}))
    strict = next(state.cluster_id for state in store.summaries("default") if state.label == STRICT.label)
    decisions.commit(decisions.represent(asked, "What is the rate of a loan?"))
    assert {one["outcome"] for one in ask("card card late")} == {"created", "joined"}
    assert stands() == (0.95, "card arrival", "What is the rate of a loan?")

    before = start_worker(stream, release=release_before)
    wait_until(lambda: len(members(stream)) == 2, "both releases share the partitions")
    both = ask("pin pin change", "loan loan rate", "card card card arrival")
    # Else nothing was put to the test.
    assert {"schema_version" in one for one in both} == {False, True}
    assert {int(one["cluster_id"][1:]) for one in both} == {strict}
    after.kill()
    ask("loan loan rate", "card card card arrival", "loan loan fee")
    after = start_worker(stream)
    wait_until(lambda: len(members(stream)) == 2, "both releases share the partitions")
    before.kill()
    ask("loan loan rate", "card card card arrival")
    assert stands() == (0.95, "card arrival", "What is the rate of a loan?")
    # What the release before left in the topic is not all that is known.
    wait_until(lambda: not store.unpublished("default", 0.0, 10), "the outbox is published")
    with stream.redis() as client:
        client.flushall()
    near = ask("card card flown")
    assert strict not in {int(one["cluster_id"][1:]) for one in near}
    assert stands() == (0.95, "card arrival", "What is the rate of a loan?")
    assert [one.kind for one in store.operations("default", 10)] == ["represent", "intents"]


def opened_with(text: str) -> OpenedCluster:
    """What an example opens."""
    return OpenedCluster(1, hash_vector(text), 1_800_000_000_000, b"", text)


@pytest.fixture
def of_release_before(release_before: Path, make_stream: Callable[..., Stream]) -> Iterator[Scripts]:
    """Its scripts of a recovery, on the Redis of a stream."""
    folder = release_before / "src" / "questream" / "store" / "lua"
    stream = make_stream(1)
    with stream.redis() as client:

        def registered(name: str) -> Script:
            text = "".join((folder / f"{one}.lua").read_text() for one in ("incarnation", name))
            script: Script = client.register_script(text)
            return script

        yield Scripts(stream.settings(), stream.store(), client, registered("begin_settling"), registered("settle"))


@dataclass(frozen=True)
class Scripts:
    """The store of this release, and what the release before calls on the same Redis to recover the namespace."""

    settings: Settings
    store: RedisStore
    client: redis.Redis
    _begin: Script
    _settle: Script
    _meta = Keys(DEFAULT_PREFIX).of("default", "meta")

    def begin(self) -> str | None:
        """The token of its recovery; None while it waits."""
        token = self._begin([self._meta], ["nonce-of-before"])
        return None if token is None else str(token.decode())

    def recover(self, token: str) -> bool:
        """True if it has begun a store epoch."""
        keys = [Keys(DEFAULT_PREFIX).of("default", name) for name in ("meta", "log", "outbox")]
        return bool(
            self._settle(keys, [json.dumps({"token": token, "nonce": "one", "whole": False, "heads": []}), b""])
        )

    def let_time_pass(self) -> None:
        """The time is over for which a recovery is reserved."""
        self.client.hset(self._meta, "held_until", "1")

    def reserved_until(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.client.hget(self._meta, "held_until") or 0)


def found_lost(store: RedisStore) -> None:
    """As a run of levels finds them missing after a recovery by the release before."""
    with pytest.raises(RecoveryNeeded):
        store.lease_levels("default", "worker", 60.0)


@pytest.mark.parametrize("ends", [found_lost, lambda store: store.require_recovery("default")])
def test_the_release_before_leaves_a_recovery_to_this_one(
    of_release_before: Scripts, ends: Callable[[RedisStore], None]
) -> None:
    """It restores no levels and no operations: this release would end its store epoch again, for their sake."""
    before, store = of_release_before, of_release_before.store
    store.open("default", IDENTITY)
    token = before.begin()
    assert token is not None
    assert before.recover(token)
    late = before.begin()
    assert late is not None
    ends(store)
    assert before.begin() is None
    assert not before.recover(late), "nor does it end one that it has begun"

    # All workers of this release have one token.
    token = store.begin_recovery("default")
    assert token == store.begin_recovery("default")
    before.let_time_pass()
    assert store.lease_recovery("default", token, "worker", 60.0)
    assert before.begin() is None, "a recovery that takes long goes on"
    store.recover("default", token, None, {})
    assert store.store_epoch("default") is not None
    assert store.lease_levels("default", "worker", 60.0)
    assert before.begin() is not None


def test_the_release_before_takes_over_where_no_worker_of_this_one_recovers(of_release_before: Scripts) -> None:
    before, store = of_release_before, of_release_before.store
    store.open("default", IDENTITY)
    store.recover("default", store.begin_recovery("default"), None, {})
    store.require_recovery("default")
    late = store.begin_recovery("default")
    assert before.begin() is None
    before.let_time_pass()
    token = before.begin()
    assert token is not None
    assert not store.lease_recovery("default", late, "worker", 60.0)
    assert before.recover(token)


def test_the_release_before_leaves_a_long_restore_to_the_command(
    of_release_before: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, store = of_release_before, of_release_before.store
    store.open("default", IDENTITY)
    store.recover("default", store.begin_recovery("default"), None, {})
    Homes(store, "here").take("default", None)
    _publish_homes(before.settings, store, ["default"])
    tokens, read = [], ClusterTopic.published

    def read_long(topic: ClusterTopic) -> dict[str, Published]:
        if store.store_epoch("default") is None:
            before.let_time_pass()
            wait_until(lambda: before.reserved_until() > 1, "the command goes on", 10)
            tokens.append(before.begin())
        return read(topic)

    monkeypatch.setattr(ClusterTopic, "published", read_long)
    assert restore(before.settings, give_up=True) == {"default": 0}
    assert tokens == [None]
    assert store.store_epoch("default") is not None


def test_a_redis_that_the_release_before_filled_again_stays_the_home(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], release_before: Path
) -> None:
    """It knows no homes: a home that does not follow the published one would be another store's, and refused."""
    stream, sent = make_stream(PARTITIONS, **OPTIONS), 0

    def ask() -> Home:
        """Ask one in each partition; returns the home that the topic names then."""
        nonlocal sent
        stream.send([question(sent + at, _text(sent + at), partition=at) for at in range(PARTITIONS)])
        sent += PARTITIONS
        wait_until(lambda: sum(stream.committed().values()) >= sent, "all of it is decided", 90)
        with closing(ClusterTopic(stream.settings(), stream.store().stream)) as topic:
            home = topic.homes()["default"]
        assert home is not None
        return home

    def of_next_worker(release: Path | None = None) -> Home:
        worker = start_worker(stream, release=release)
        home = ask()
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
        return home

    first = of_next_worker()
    with stream.redis() as client:
        client.flushall()
    assert of_next_worker(release_before) == first
    second = of_next_worker()
    assert (second.epoch, second.former) == (first.epoch + 1, first.store)
    assert of_next_worker() == second


def test_ids_of_intents_outlive_a_recovery_by_the_release_before(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], release_before: Path
) -> None:
    """It puts clusters back and knows no levels: found from nothing, an intent would get the number of another."""
    stream = make_stream(2, **(OPTIONS | {"clusters.threshold": 0.9}))
    store, sent = stream.store(), 0

    def ask(*texts: str) -> None:
        nonlocal sent
        stream.send(question(sent + at, text, partition=at % 2) for at, text in enumerate(texts))
        sent += len(texts)
        wait_until(lambda: sum(stream.committed().values()) >= sent, "all of it is decided", 90)

    def calm_levels() -> Levels:
        def is_calm() -> bool:
            mark = store.levels_marks(["default"])["default"]
            return mark.version == mark.published > 0 and not is_due(mark)

        wait_until(is_calm, "levels are found and published", 90)
        return store.levels("default").levels

    after = start_worker(stream)
    # The first cluster stands alone at first, so that the intent which it is in later is not the first.
    ask(_aspect("matter", 0))
    ask(*(_aspect(f"subject{spelled(n % 4)}", 1 + n) for n in range(24)))
    calm_levels()
    ask(*(_aspect(("matter", "other")[n % 2], 25 + n) for n in range(10)))
    known = calm_levels()
    other = start_worker(stream, release=release_before)
    wait_until(lambda: len(members(stream)) == 2, "both releases share the partitions")
    after.signal(signal.SIGSTOP)
    with stream.redis() as client:
        client.flushall()
    before = sum(stream.committed().values())
    stream.send(question(sent + at, _aspect("matter", 0), partition=at) for at in range(2))
    sent += 2
    wait_until(lambda: sum(stream.committed().values()) > before, "the release before has put the clusters back", 90)
    after.signal(signal.SIGCONT)
    ask(*(_aspect(("more", "again")[n % 2], 40 + n) for n in range(12)))
    found = calm_levels()
    intents, intents_after = ([str(levels.path(number)[1]) for number in range(1, 36)] for levels in (known, found))
    assert intents == intents_after
    # Else nothing was put to the test.
    assert intents[0] not in {"c1", "i1"}, intents
    # Once, and once more where it has found the store epoch ended before this release did.
    assert 1 <= other.log.read_text().count('"questream.recovery.settling"') <= 2


def _aspect(subject: str, number: int) -> str:
    """Two questions of a subject have a cosine of .8: other questions, and one intent."""
    return f"{subject} {subject} aspect{spelled(number)}"
