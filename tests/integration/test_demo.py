"""The demo as a user runs it: on a terminal and without one, with its own questions and with mistakes in them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

DEMO = [sys.executable, "-m", "questream", "demo"]
LOAD_SECONDS = 180.0


def environment() -> dict[str, str]:
    # Settings of the user's own servers: a demo that followed them would wait for a broker that is not there.
    own = {"QUESTREAM_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "QUESTREAM_REDIS__URL": "redis://127.0.0.1:1/0"}
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | own


def sample_of(count: int) -> list[dict[str, str]]:
    lines = (files("questream.lab.demo") / "banking77.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:count]]


def listening(addresses: list[str]) -> list[str]:
    return [address for address in addresses if listens(int(address.rpartition(":")[2]))]


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Terminal:
    """The demo on a pseudo-terminal of 80 columns and 24 lines; to be read by its text."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._written = b""
        self._master = master

    @property
    def output(self) -> str:
        """All that was written, without colours and cursor movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._written.decode(errors="replace"))

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, pattern: str, seconds: float = LOAD_SECONDS) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.output, re.DOTALL)) is None:
            assert time.monotonic() < deadline, f"{pattern} did not appear in: {self.output[-3000:]}"
            assert self._read() or self.process.poll() is None, f"ended: {self.output[-3000:]}"
        return found

    def wait_for_its_end(self, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still runs: {self.output[-3000:]}"
            self._read()
        return self.process.wait()

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 0.1)[0]:
            return False
        try:
            written = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self._written += written
        return bool(written)


@contextmanager
def demo_on_a_terminal(*arguments: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [*DEMO, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment() | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_without_a_terminal_it_prints_lines_and_leaves_nothing_behind(tmp_path: Path) -> None:
    questions = tmp_path / "mine.jsonl"
    rows = [*sample_of(150), {"id": "empty", "text": "", "gold": "none"}]
    questions.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    demo = subprocess.run(
        [*DEMO, "--questions", str(questions)],
        capture_output=True,
        text=True,
        timeout=LOAD_SECONDS,
        # Build machines set it; the log file is no terminal for that.
        env=environment() | {"FORCE_COLOR": "1"},
        stdin=subprocess.DEVNULL,
    )
    assert demo.returncode == 0, demo.stderr
    assert "\x1b" not in demo.stdout
    result = re.search(r"Result: 150 questions in (\d+) clusters; 1 refused", demo.stdout)
    assert result is not None, demo.stdout
    assert 1 < int(result[1]) < 150
    agreement = re.search(r"BCubed F1 / ARI: clusters (0\.\d+) / (0\.\d+), intents (0\.\d+) / (0\.\d+)", demo.stdout)
    assert agreement is not None, demo.stdout
    # Far from chance, which gives an ARI of 0: the clusters and intents shown are those of the questions sent.
    assert float(agreement[1]) > 0.4
    assert float(agreement[4]) > 0.2
    assert "Biggest intents, and their biggest clusters:" in demo.stdout
    addresses = re.findall(r"127\.0\.0\.1:\d+", demo.stdout)
    assert len(set(addresses)) == 3  # broker, store, metrics page
    assert listening(addresses) == []


def test_on_a_terminal_it_draws_and_then_answers_questions(tmp_path: Path) -> None:
    questions = tmp_path / "mine.txt"
    questions.write_text("\n".join(row["text"] for row in sample_of(60)), encoding="utf-8")
    with demo_on_a_terminal("--questions", str(questions)) as terminal:
        terminal.wait_for(r"Servers +broker 127\.0\.0\.1:\d+")
        terminal.wait_for(r"60 questions in \d+ clusters")
        addresses = re.findall(r"127\.0\.0\.1:\d+", terminal.output)
        page = terminal.wait_for(r"http://127\.0\.0\.1:(\d+)/metrics")
        assert listens(int(page[1]))
        terminal.wait_for(r"\? $", 10)
        text = sample_of(1)[0]["text"]
        terminal.type(text + "\n")
        # The very question is in the stream already, so it joins its cluster, and there is another one next to it.
        terminal.wait_for(r"joined +\d\.\d{3} c\d+ .*runner-up +-?\d\.\d{3} c\d+ .*threshold +0\.725", 30)
        # What is typed before the next prompt is there may be thrown away with the change of the terminal's mode.
        terminal.wait_for(r"threshold +0\.725\s+\? $", 10)
        terminal.type("\x04")
        assert terminal.wait_for_its_end(60) == 0
        assert listening(addresses) == []


@pytest.mark.parametrize("moment", [r"Worker", r"questions/s"])
def test_ctrl_c_ends_everything(moment: str) -> None:
    with demo_on_a_terminal() as terminal:
        terminal.wait_for(r"broker 127\.0\.0\.1:\d+, store 127\.0\.0\.1:\d+")
        terminal.wait_for(moment)
        addresses = re.findall(r"127\.0\.0\.1:\d+", terminal.output)
        # What the terminal's Ctrl-C does: the signal goes to its foreground process group.
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.wait_for_its_end(20) != 0
        assert "Traceback" not in terminal.output
        assert listening(addresses) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.csv", "id,question\n1,why was my card stolen\n", "line 1"),
        ("q.jsonl", '{"text": "fine"}\n{"text": "why was my card stolen"\n', "line 2"),
        ("q.txt", "\n\n", "holds no question"),
    ],
)
def test_a_mistake_in_the_file_is_named_before_anything_starts(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    demo = subprocess.run(
        [*DEMO, "--questions", str(tmp_path / name)], capture_output=True, text=True, timeout=60, env=environment()
    )
    assert demo.returncode != 0
    assert message in demo.stderr
    assert "Traceback" not in demo.stderr
    assert "stolen" not in demo.stdout + demo.stderr
    assert "Servers" not in demo.stdout


def test_a_worker_that_cannot_start_is_told_with_its_reason() -> None:
    demo = subprocess.run(
        [*DEMO, "--granularity", "nonsense"], capture_output=True, text=True, timeout=60, env=environment()
    )
    assert demo.returncode != 0
    assert "the worker ended with code" in demo.stderr
    assert "clusters.granularity" in demo.stderr
    assert listening(re.findall(r"127\.0\.0\.1:\d+", demo.stdout)) == []
