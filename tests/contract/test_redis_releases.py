"""Two releases whose scripts take other arguments, side by side on one Redis: each calls those of its own package."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import redis

import questream.store.redis.scripts
from questream.errors import QuestreamError
from questream.lab.bench.questions import in_letters
from questream.store.protocol import Committed, MadeName
from questream.store.redis.store import RedisStore
from tests.contract.on_redis import KEYS, client, namespace, store
from tests.contract.test_store import asked_turn, batch, commit, create_two, creation, join, proposal, row, vector
from tests.kit.servers import RedisServer

__all__ = ["client", "namespace", "store"]

# What stands before every script of the other release: its arguments begin one later.
_SHIFTED = "table.remove(ARGV, 1)\n"


class OtherRelease(redis.Redis):
    """A client of the other release: what its scripts are called with has one argument more, before the others."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        send: Any = super().execute_command
        return send(*shifted(args), **options)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        pipeline: Any = super().pipeline(transaction, shard_hint)
        execute = pipeline.execute_command
        pipeline.execute_command = lambda *args, **options: execute(*shifted(args), **options)
        return pipeline


def shifted(command: tuple[Any, ...]) -> tuple[Any, ...]:
    """The command as the other release sends it."""
    if command[0] != "EVALSHA":
        return command
    arguments_at = 3 + int(command[2])
    return (*command[:arguments_at], "an argument more", *command[arguments_at:])


@pytest.fixture
def server_url(redis_server: RedisServer) -> str:
    """The Redis of the fixture `client`."""
    return redis_server.url


@pytest.fixture
def lua(tmp_path: Path) -> Path:
    """The scripts of a package of the other release, from which a store takes them as it takes its own."""
    with resources.as_file(resources.files("questream.store.redis")) as own:
        shutil.copytree(own / "lua", tmp_path / "redis" / "lua")
    for name in ("prelude", "rights"):
        script = tmp_path / "redis" / "lua" / f"{name}.lua"
        script.write_text(_SHIFTED + script.read_text())
    return tmp_path / "redis"


@pytest.fixture
def other(lua: Path, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStore]:
    """The store of the other release on the same Redis."""
    with OtherRelease.from_url(server_url) as client:
        with monkeypatch.context() as package:
            package.setattr(questream.store.redis.scripts, "_FOLDER", lua / "lua")
            package.setattr(resources, "files", lambda _: lua)
            store = RedisStore(client)
        yield store


def test_two_releases_side_by_side_call_each_its_own_scripts(
    store: RedisStore, other: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    releases = (store, other, other, store, other, store)
    for turn, release in enumerate(releases):
        # A script is sent again where Redis has forgotten it: then, too, it is the caller's own.
        if turn % 3 == 2:
            client.script_flush()
        release.require_rights(namespace)
        release.ledger(namespace, "questions", 0)
        seq, members = release.load(namespace).seq, 2 + turn
        joined = join(1, members, vector(members + 1, 0, 0, 0))
        reply = commit(release, namespace, proposal(joined, rows=batch(row(3 + turn, 1)), seq=seq))
        assert isinstance(reply, Committed), turn
    for release in (store, other):
        state = release.cluster(namespace, 1)
        assert state is not None
        assert state.size == 2 + len(releases)
        assert set(release.ledger(namespace, "questions", 0).decisions) == set(range(3 + len(releases)))


def test_two_releases_write_names_in_turn_and_read_each_others(
    store: RedisStore, other: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    written: dict[int, MadeName] = {}
    changes = [0]
    for turn, release in enumerate((store, other, other, store, other, store)):
        if turn % 3 == 2:
            client.script_flush()
        taken: dict[int, MadeName | None] = dict.fromkeys(list(written)[:-1])
        made = MadeName(f"Name {in_letters(turn)}", "model", turn, 3, "place")
        release.write_names(namespace, release.store_epoch(namespace) or "", {**taken, 1 + turn % 2: made})
        written = {**{one: name for one, name in written.items() if one not in taken}, 1 + turn % 2: made}
        for reader in (store, other):
            assert reader.made_names(namespace) == written
            assert reader.name_changes(namespace) > changes[-1]
        changes.append(store.name_changes(namespace))


def test_scripts_that_another_release_sent_would_be_misread(
    store: RedisStore, other: RedisStore, namespace: str
) -> None:
    """What the digest prevents: were scripts found by name, a caller's arguments would reach the other's script."""
    create_two(store, namespace)
    own = store._scripts["commit"]
    assert own.sha != other._scripts["commit"].sha
    other._scripts._scripts["commit"] = own
    joined = join(1, 2, vector(3, 0, 0, 0))
    with pytest.raises((QuestreamError, redis.exceptions.ResponseError)):
        commit(other, namespace, proposal(joined, rows=batch(row(3, 1)), seq=store.load(namespace).seq))


def test_scripts_are_called_by_digest_alone(store: RedisStore, client: Any, namespace: str) -> None:
    """A function of Redis is called by its name, which all releases share: there must be none."""
    client.config_resetstat()
    create_two(store, namespace)
    called = {name.decode() if isinstance(name, bytes) else name for name in client.info("commandstats")}
    assert "cmdstat_evalsha" in called
    assert not {
        name for name in called if "fcall" in name or "function" in name or name.endswith(("_eval", "_eval_ro"))
    }


def test_turns_neither_hold_up_workers_of_the_release_before_nor_wait_for_theirs(
    store: RedisStore, namespace: str, client: Any
) -> None:
    meta, seq = KEYS.of(namespace, "meta"), create_two(store, namespace).seq
    assert asked_turn(store, namespace, seq, "ada").whose == "own"
    # There a worker that lost twice stood in this field, and all were refused but the first of it.
    assert not client.hexists(meta, "turns")
    client.hset(meta, "turns", f"before {int(client.time()[0]) * 1000 + 30_000}*;")
    opening = proposal(creation(3, vector(0, 0, 0, 1)), rows=batch(row(3, 3, created=True)), seq=seq)
    assert isinstance(commit(store, namespace, replace(opening, turn="ada")), Committed)
