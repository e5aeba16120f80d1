"""Streams that are closed, full, broken or not UTF-8, each with the public command as a process."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from questream.cli.failures import report
from questream.cli.streams import open_streams, writable

COMMAND = [sys.executable, "-m", "questream"]
# A table with characters that no code page has together, as a cluster's representative may have.
TABLE = (
    "from questream.cli.streams import open_streams; open_streams()\n"
    "from questream.cli.output import print_table, print_json, print_line\n"
    "print_table(['cluster', 'question', 'size#'], [['c1', '我的卡在哪里', '1'], ['c2', 'Caf\\u00e9 😀', '22']])\n"
    "print_json({'text': 'Caf\\u00e9 我 😀'})\n"
    "print_line('Caf\\u00e9 我 😀')\n"
)


def shell(script: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", script, sys.executable], env=clean(**env), capture_output=True, timeout=60, check=False
    )


def clean(**env: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("QUESTREAM_", "PYTHONIO"))}
    return kept | env


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "ascii", "cp932"])
def test_a_table_keeps_its_columns_and_json_its_meaning_in_every_encoding(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TABLE],
        env=clean(PYTHONIOENCODING=encoding),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.splitlines()
    table = [line.decode(encoding) for line in lines[:3]]
    # Wide characters take two columns of a terminal; those of an encoding without them are escaped, and take six.
    if encoding in ("ascii", "latin-1", "cp1252"):
        assert len({len(line) for line in table}) == 1, table
        assert "\\u6211" in table[1]
    json_line = lines[3].decode("utf-8" if encoding == "utf-8" else "ascii")
    assert json.loads(json_line) == {"text": "Café 我 😀"}


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LANG": "C"}])
@pytest.mark.parametrize("arguments", ["--help", "run --help", "config", "config --markdown", "config --json", "nix"])
def test_every_page_of_text_is_printed_in_the_plainest_locale(arguments: str, locale: dict[str, str]) -> None:
    done = shell(f'"$0" -m questream {arguments}', **locale)
    assert done.returncode == (2 if arguments == "nix" else 0), done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_lead_nowhere(closed: str, tmp_path: Path) -> None:
    assert shell(f'cd {tmp_path}; "$0" -m questream config {closed}').returncode == 0
    assert shell(f'cd {tmp_path}; "$0" -m questream nix {closed}').returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_full_stdout_is_told_in_one_line() -> None:
    for arguments in ("config", "config --markdown", "--help"):
        done = shell(f'"$0" -m questream {arguments} > /dev/full')
        assert (done.returncode, done.stderr) == (1, b"questream: stdout cannot be written: No space left on device\n")


def test_a_reader_that_has_had_enough_hears_no_complaint() -> None:
    done = shell('"$0" -m questream config --markdown | head -n 1; exit ${PIPESTATUS[0]}')
    assert (done.returncode in (0, 1), done.stderr) == (True, b"")


@pytest.mark.parametrize("broken", ["2>/dev/full", "2> >(exit 0)"])
def test_a_stderr_that_cannot_be_written_changes_no_exit_code(broken: str) -> None:
    assert shell(f'"$0" -m questream config -c nowhere.toml {broken}').returncode == 2
    assert shell(f'"$0" -m questream nix {broken}').returncode == 2
    assert shell(f'"$0" -m questream config {broken}').returncode == 0


@pytest.mark.parametrize("broken", ["", "2>&-", "2>/dev/full", "2> >(exit 0)"])
def test_what_is_logged_on_a_broken_stderr_ends_nothing(broken: str) -> None:
    script = (
        "from questream.cli.streams import open_streams; open_streams(); import logging, sys\n"
        "from questream.logs import configure_logging, Redactor; from questream.settings import LogSettings\n"
        "configure_logging(LogSettings(), Redactor())\n"
        "for at in range(5000): logging.getLogger('questream').warning('a line \\ud83d 我')\n"
        "print('done')\n"
    )
    done = shell(f"\"$0\" -c '{script.replace(chr(39), chr(34))}' {broken}", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stdout) == (0, b"done\n"), done.stderr[-300:]


def test_an_argument_that_is_no_text_is_refused_by_its_place() -> None:
    done = shell(r'"$0" -m questream ask $' "'\\xff'")
    assert done.returncode == 2
    assert done.stderr == b"questream: argument 2 holds bytes that are not UTF-8; write it in that encoding\n"


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("after_seconds", [0.15, 0.4, 1.0])
def test_ctrl_c_ends_a_command_with_130_and_no_traceback(after_seconds: float, ignored: bool) -> None:
    silent = socket_that_never_answers()
    port = silent.getsockname()[1]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else None
    try:
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", *COMMAND[1:], "tail", f"--kafka.bootstrap_servers=127.0.0.1:{port}"],
            env=clean(),
            stderr=subprocess.PIPE,
        )
    finally:
        if ignored:
            signal.signal(signal.SIGINT, before)
    # The command is caught wherever it is; only Python's own start, which no program hears through, is left out.
    wait_for_command(process)
    time.sleep(after_seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b"Traceback" not in err


def wait_for_command(process: subprocess.Popen[bytes]) -> None:
    """Until the command has begun: Python tells of each import once it is done."""
    assert process.stderr is not None
    assert any(line.split()[-1] == b"questream.cli" for line in process.stderr)
    deadline = time.monotonic() + 20
    while not signal_is_heard(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def signal_is_heard(pid: int) -> bool:
    """True if SIGINT is caught by a handler: Python's own, or the command's."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1)


def socket_that_never_answers() -> Any:
    import socket

    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen()
    return silent


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "x.txt"), "raise the limit with: ulimit -n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device; make room"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x.txt"), "x.txt: Permission denied"),
        (IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "x"), "x: Is a directory"),
        (MemoryError(), "there is not enough memory"),
        (ImportError("no", name="matplotlib"), "make setup EXTRAS="),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_the_world_did_is_told_in_words(error: Exception, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(error) == 1
    said = capsys.readouterr().err
    assert told in said
    assert "fault of its own" not in said
    assert type(error).__name__ not in said


def test_no_temporary_folder_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nonexistent"])
    with pytest.raises(FileNotFoundError) as failed:
        tempfile.gettempdir()
    report(failed.value)
    assert "name another with TMPDIR" in capsys.readouterr().err


def test_the_escapes_of_a_text_are_those_of_json() -> None:
    open_streams()
    assert writable("我") == "我"
    assert json.loads('"' + "😀".encode("ascii", "questream-escape").decode() + '"') == "😀"
