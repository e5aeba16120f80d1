"""One store serves a namespace: a worker on another Redis refuses, and moving to another is a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from questream.errors import ExitCode
from tests.fault.test_crash import text
from tests.kit.command import Outcome, questream
from tests.kit.servers import RedisServer
from tests.kit.stream import Stream, WorkerProcess, assert_one_decision_each, question

OPTIONS = {"batch_questions": 32, "kafka.transaction_timeout_seconds": 5, "kafka.session_timeout_seconds": 6}


def _run(stream: Stream, *command: str) -> Outcome:
    return questream(*command, *(f"--{key}={value}" for key, value in stream.overrides().items()))


def _ids(stream: Stream, count: int) -> dict[str, str]:
    with stream.decisions() as reader:
        decisions = reader.values(count)
    assert_one_decision_each(decisions, (f"q{i}" for i in range(count)))
    return {d["question_id"]: d["cluster_id"] for d in decisions}


@pytest.mark.parametrize("is_old", [False, True], ids=["empty", "of another stream"])
def test_a_worker_of_another_redis_refuses_and_the_namespace_moves_by_a_command(
    is_old: bool,
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
    redis_factory: Callable[..., RedisServer],
    tmp_path: Path,
) -> None:
    stream = make_stream(2, **OPTIONS)
    other = Stream(stream.bootstrap_servers, stream.topics, redis_factory().url, OPTIONS, stream.group_id)
    if is_old:
        former = make_stream(1, **OPTIONS)
        foreign = Stream(former.bootstrap_servers, former.topics, other.redis_url, OPTIONS)
        foreign.send(question(i, text(i)) for i in range(24))
        with_it = start_worker(foreign)
        _ids(foreign, 24)
        with_it.kill()
    stream.send(question(i, text(i)) for i in range(100))
    first = start_worker(stream)
    before = _ids(stream, 100)

    # A rolling change under load: the second worker has another redis.url.
    stream.send(question(i, text(i).replace("topic", "matter")) for i in range(100, 200))
    second = start_worker(other)
    assert second.wait(60) != 0
    # Where another stream feeds the namespace there, that is told first.
    assert ("clusters.shared" if is_old else "restore --adopt") in second.log.read_text()
    meanwhile = _ids(stream, 200)
    assert first.running
    assert {name: meanwhile[name] for name in before} == before

    (tmp_path / "former.toml").write_text(f'[redis]\nurl = "{stream.redis_url}"\n')
    if is_old:
        refused = _run(other, "restore", "--adopt", "--former-is-gone")
        assert refused.code == ExitCode.REFUSED
        assert "of its own" in refused.err
        other.redis().flushdb()
    assert _run(other, "restore", "--adopt").code == ExitCode.USAGE
    adopted = _run(other, "restore", "--adopt", "--former-config", str(tmp_path / "former.toml"))
    assert adopted.code == ExitCode.OK, adopted.err
    stream.send(question(i, text(i)) for i in range(200, 260))
    assert first.wait(60) != 0
    assert "was moved to another Redis" in first.log.read_text()
    start_worker(other)
    after = _ids(stream, 260)
    assert {name: after[name] for name in meanwhile} == meanwhile
    assert all(after[f"q{i}"] == before[f"q{i % 12}"] for i in range(200, 260))
