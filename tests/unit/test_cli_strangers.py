"""What a stranger types and has: wrong arguments, files and places of every kind end in words, never in a traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from questream.errors import ExitCode
from tests.kit.command import Outcome, questream

NOWHERE = ["--kafka.bootstrap_servers=127.0.0.1:1", "--kafka.options.bootstrap_timeout_ms=20"]
NOWHERE += ["--redis.url=redis://127.0.0.1:1", "--redis.timeout_seconds=0.1", "--model.name=/nowhere/model"]
EXCEPTION = re.compile(r"\b[A-Z]\w+(Error|Exception|Warning)\b|Errno|Traceback|fault of its own")
FILES = [
    "folder",
    "missing.csv",
    "random.csv",
    "random",
    "empty.csv",
    "deep.json",
    "/dev/null",
    "a" * 5000,
    "/dev/full",
]
FILES += ["/proc/self/mem", "/nonexistent/x.csv", "ok.csv/x", "", "\x1b[31m.csv", "ok.csv", "/dev/zero"]
READING = [
    "produce",
    "evaluate",
    "calibrate",
    "calibrate --pairs",
    "train out --groups",
    "train out --pairs",
    "config -c",
]
WRITING = ["export", "clusters export -o", "evaluate ok.csv --report"]
VALUES = [
    "nan",
    "inf",
    "-1",
    "0",
    "1e400",
    "9" * 30,
    "x",
    "",
    "c0",
    "c" + "9" * 30,
    "[::1",
    "nohost.invalid:1",
    "a=b",
    "\u200b",
]
TAKING = ["produce ok.csv --rate", "tail --max", "clusters list --limit", "clusters show", "clusters merge c1", "ask"]
TAKING += ["ask q --namespace", "export --min-questions", "topics create --partitions", "dead-letters replay --reason"]
TAKING += [
    "migrate --to",
    "config --set",
    "config --log.level",
    "tail --kafka.bootstrap_servers",
    "clusters list --redis.url",
    "clusters list --sort",
    "clusters list --since",
    "clusters list --page",
    "clusters list --search",
]
TAKING += [
    "produce ok.csv --text-column",
    "produce ok.csv --field",
    "produce ok.csv --format",
    "produce ok.csv --namespace",
]


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("QUESTREAM_")]:
        monkeypatch.delenv(name)
    (tmp_path / "folder").mkdir()
    for name in ("random.csv", "random"):
        (tmp_path / name).write_bytes(b"text,gold\n" + bytes(range(256)) * 40)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "ok.csv").write_text("text,gold\nwhere is my card,a\nmy card is where,a\nclose it,b\n")


def assert_told(outcome: Outcome, command: object) -> None:
    assert outcome.code in set(ExitCode), (command, outcome)
    # The process may hold a client of another test, which logs that its broker is gone.
    own = "\n".join(line for line in outcome.err.splitlines() if '"logger": "kafka.' not in line)
    assert not EXCEPTION.search(own), (command, own)
    assert "\x1b" not in outcome.err, command


def commanded(command: str, value: str) -> list[str]:
    arguments = [*command.split(), value]
    given = {argument.partition("=")[0] for argument in arguments}
    return arguments + [flag for flag in NOWHERE if flag.partition("=")[0] not in given]


@pytest.mark.parametrize("command", [*READING, *WRITING])
def test_a_file_that_cannot_be_read_or_written_is_told_in_words(command: str) -> None:
    for file in FILES:
        assert_told(questream(*commanded(command, file)), (command, file))


@pytest.mark.parametrize("command", TAKING)
def test_a_value_that_makes_no_sense_is_told_in_words(command: str) -> None:
    for value in VALUES:
        assert_told(questream(*commanded(command, value)), (command, value))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=st.sampled_from(["config", "clusters show", "produce", "topics create", "tail"]),
    arguments=st.lists(
        st.sampled_from(["--json", "--set", "--config", "--max", "--", "-", "--clusters.threshold", "--help"])
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
        max_size=4,
    ),
)
def test_no_line_of_arguments_is_a_fault(command: str, arguments: list[str]) -> None:
    # `-` would read the terminal of whoever runs this.
    line = [*command.split(), *(argument for argument in arguments if argument != "-"), *NOWHERE]
    outcome = questream(*line)
    assert outcome.code in set(ExitCode), line
    assert not EXCEPTION.search(outcome.err), (line, outcome.err)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ("ulimit -n 4", "ulimit -n"),
        ("mkdir gone; cd gone; rmdir ../gone", "No such file or directory"),
        ("export TMPDIR=/nonexistent HOME=/nonexistent", "no broker answered"),
    ],
)
def test_a_world_that_gives_little_is_told_in_words(limits: str, told: str, tmp_path: Path) -> None:
    script = f'{limits}; exec "$0" -m questream produce ok.csv {" ".join(NOWHERE)}'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode in set(ExitCode), done
    # With so few files Python itself may not start.
    assert told in done.stderr or (limits.startswith("ulimit") and "Too many open files" in done.stderr), done
