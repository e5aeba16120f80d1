"""A forked process of ours: what it is given, how it ends, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.kit.child import own_environment
from tests.kit.forked import FORKS, Forked, fork
from tests.kit.stream import wait_until

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not FORKS, reason="a nursery takes Linux")


@pytest.fixture
def sleeping(tmp_path: Path) -> Forked:
    """A process that waits for a connection that never comes."""
    with (tmp_path / "sleeping").open("wb") as output:
        return fork("http.server", ["--bind=127.0.0.1", "0"], own_environment(), output)


def command(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the forked command `questream`."""
    with (tmp_path / "out").open("wb") as stdout, (tmp_path / "err").open("wb") as stderr:
        process = fork("questream", arguments, own_environment() | environment, stdout, stderr)
    code = process.wait(60)
    return code, (tmp_path / "out").read_text(), (tmp_path / "err").read_text()


def test_its_arguments_environment_folder_and_streams_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text('[kafka]\ngroup_id = "from-the-file"\n')
    monkeypatch.chdir(tmp_path)
    code, out, err = command(tmp_path, "config", "--config=mine.toml", QUESTREAM_KAFKA__INPUT_TOPIC="from-the-variable")
    kafka = tomllib.loads(out)["kafka"]
    assert (code, err) == (0, "")
    assert (kafka["group_id"], kafka["input_topic"]) == ("from-the-file", "from-the-variable")


def test_it_ends_with_the_code_of_its_program(tmp_path: Path) -> None:
    code, out, err = command(tmp_path, "no-such-command")
    assert (code, out) == (2, "")
    assert "no-such-command" in err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_it_and_is_its_code(sleeping: Forked, number: signal.Signals) -> None:
    assert sleeping.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        sleeping.wait(0)
    sleeping.send_signal(number)
    assert sleeping.wait(30) == -number == sleeping.poll()
    sleeping.kill()


def test_it_dies_when_its_stdin_is_closed(sleeping: Forked) -> None:
    process = Path(f"/proc/{sleeping.pid}")
    assert process.exists()
    sleeping.stdin.close()
    wait_until(lambda: not process.exists(), "the process is gone")


def test_it_is_of_the_tree_that_its_parent_is_of(tmp_path: Path) -> None:
    """A tree goes before the installed package: a mutant in it is in its forked processes, too."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "questream").symlink_to(ROOT / "src" / "questream")
    program = tmp_path / "program.py"
    program.write_text("""
import sys
from tests.kit.child import own_environment
from tests.kit.forked import fork
with open(sys.argv[1], "wb") as output:
    fork("inspect", ["--details", "questream"], own_environment(), output).wait(60)
""")
    environment = own_environment() | {"PYTHONPATH": f"{tmp_path / 'src'}{os.pathsep}{ROOT}"}
    subprocess.run([sys.executable, program, tmp_path / "out"], env=environment, timeout=120, check=True)
    assert f"Origin: {tmp_path / 'src'}" in (tmp_path / "out").read_text()
