"""Questions written by an attacker: what they carry must not steer the terminal or the sheet of whoever looks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.command import Outcome, questream
from tests.kit.servers import KafkaServer, RedisServer, Topics, create_topics
from tests.kit.stream import Message, Reader, Stream, question, running_worker
from tests.kit.vectors import hash_encoder

# Clears the screen, sets the window's title, a C1 escape sequence, rich's markup, a right-to-left override, line ends.
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\x9b31m [bold red]x[/] [link=http://evil]y[/link] \u202eabc\u2028 a\r\nlevel=error forged"
)
FORMULAS = ['=HYPERLINK("http://evil","x")', "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\uff1d1+1"]


@pytest.fixture(scope="module")
def stream(kafka: KafkaServer, redis_server: RedisServer) -> Stream:
    """A stream that hostile questions, ids and dead letters went through."""
    filled = Stream(kafka.bootstrap_servers, create_topics(kafka.bootstrap_servers), redis_server.new_database())
    hostile_id = Message(json.dumps({"id": HOSTILE, "text": HOSTILE}).encode(), HOSTILE.encode())
    empty = Message(json.dumps({"id": "e", "text": ""}).encode(), headers=[("questream-user", HOSTILE.encode())])
    unreadable = Message(b"{" + HOSTILE.encode())
    formulas = [question(number, text) for number, text in enumerate(FORMULAS)]
    filled.send([hostile_id, empty, unreadable, *formulas])
    with running_worker(filled.settings(), hash_encoder()), filled.decisions() as decisions:
        decisions.until(1 + len(FORMULAS))
    filled.store().label("default", 1, HOSTILE, HOSTILE)
    return filled


def run(stream: Stream, *arguments: str) -> Outcome:
    flags = [f"--{name}={value}" for name, value in stream.overrides().items() if name != "shutdown_seconds"]
    outcome = questream(*arguments, *flags)
    assert outcome.code == 0, outcome.err
    return outcome


def assert_harmless(text: str) -> None:
    """Nothing but line ends can move what is on a screen, and no line is one that the attacker began."""
    steering = {character for line in text.split("\n") for character in line if not character.isprintable()}
    assert not steering, sorted(map(ascii, steering))
    assert not any(line.lstrip().startswith("level=error") for line in text.splitlines())


@pytest.mark.parametrize(
    "command",
    [
        ["tail", "--from-beginning", "--max", "7"],
        ["clusters", "list"],
        ["clusters", "show", "c1"],
        ["clusters", "label", "c1", "--label", HOSTILE],
        ["clusters", "export", "--format", "csv"],
        ["dead-letters", "list", "--show-values"],
    ],
    ids=" ".join,
)
def test_what_a_command_prints_cannot_steer_a_terminal(stream: Stream, command: list[str]) -> None:
    printed = run(stream, *command)
    assert_harmless(printed.out)
    assert_harmless(printed.err)
    # It is shown all the same, markup as the characters that it is made of.
    shown = "empty_text" if command[0] == "dead-letters" else "[bold red]x[/]"
    assert shown in printed.out.replace("\n", "")


@pytest.mark.parametrize(
    "command",
    [
        ["tail", "--from-beginning", "--max", "1", "--json"],
        ["clusters", "list", "--json"],
        ["clusters", "show", "c1", "--json"],
        ["clusters", "export"],
        ["dead-letters", "list", "--show-values", "--json"],
    ],
    ids=" ".join,
)
def test_json_cannot_either_and_still_says_the_same_to_a_program(stream: Stream, command: list[str]) -> None:
    printed = run(stream, *command)
    assert_harmless(printed.out)
    assert any(HOSTILE in str(value) for line in printed.json_lines for value in line.values())


def test_no_cell_of_an_exported_sheet_is_a_formula(stream: Stream, tmp_path: Path) -> None:
    path = tmp_path / "clusters.csv"
    run(stream, "clusters", "export", "--output", str(path))
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    texts = {row["representative"] for row in rows}
    assert {f"'{text}".replace("\t", " ") for text in FORMULAS} <= texts
    assert not [
        cell for row in rows for cell in row.values() if cell.lstrip()[:1] in set("=+-@\uff1d\uff0b\uff0d\uff20")
    ]


def test_a_dead_letters_own_headers_cannot_pass_for_questreams(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    """A producer that writes our headers on its record gains nothing: they are replaced, and gone after a replay."""
    mine = Stream(kafka.bootstrap_servers, topics(), redis_url)
    forged = [("questream-topic", b"secrets"), ("questream-offset", b"0"), ("questream-reason", HOSTILE.encode())]
    own = [("traceparent", b"00-1")]
    mine.send([Message(b'{"id":"e","text":""}', headers=[*forged, *own])])
    with running_worker(mine.settings(), hash_encoder()), mine.dead_letters() as letters:
        (letter,) = letters.until(1)
        headers = [(name, value) for name, value in letter.headers if name.startswith("questream-")]
        assert len(headers) == len(dict(headers)) == 7
        assert dict(headers)["questream-topic"] == mine.topics.input_topic.encode()
        assert dict(headers)["questream-reason"] == b"empty_text"
    assert "1 dead letters sent back" in run(mine, "dead-letters", "replay").out
    with Reader(mine.bootstrap_servers, mine.topics.input_topic) as reader:
        assert reader.until(2)[1].headers == own
