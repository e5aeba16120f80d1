"""Ctrl-C, also where the KeyboardInterrupt is lost in a library: each command as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_cli_streams import COMMAND, clean, socket_that_never_answers

# In the middle of a call: as CPython clears an error in a callback of C, and an event loop keeps it for itself.
LOSING = """
import signal
def losing(call):
    def lost(*args, **kwargs):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            pass
        return call(*args, **kwargs)
    return lost
"""
CLIENTS = {
    "kafka-python": """
from kafka.net.manager import KafkaConnectionManager
KafkaConnectionManager.bootstrap = losing(KafkaConnectionManager.bootstrap)
""",
    "confluent": """
from questream.broker.confluent import connect
connect._has_answer = losing(connect._has_answer)
""",
}


@pytest.fixture
def silent_broker() -> Iterator[str]:
    with socket_that_never_answers() as silent:
        yield f"127.0.0.1:{silent.getsockname()[1]}"


def ended(script: str, *arguments: str, seconds: float = 30.0) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a Python program."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=clean(),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("command", ["tail", "produce", "topics create"])
def test_an_interrupt_that_a_client_loses_ends_the_command(
    silent_broker: str, tmp_path: Path, client: str, command: str
) -> None:
    questions = tmp_path / "questions.txt"
    questions.write_text("Where is my card?\n")
    arguments = [*command.split(), *([str(questions)] if command == "produce" else [])]
    settings = [f"--kafka.bootstrap_servers={silent_broker}", f"--kafka.client={client}"]
    code, _, err = ended(f"{LOSING}{CLIENTS[client]}from questream.cli import main\nmain()", *arguments, *settings)
    assert code == 130, err
    assert "Traceback" not in err
    # Not at the end of its wait for the broker.
    assert "no broker answered" not in err


INSTALLED = f"""{LOSING}
import sys, time, questream.interrupts as interrupts
handler = interrupts.Interrupts(sys._getframe().f_code)
handler.install()
"""


def test_an_interrupt_that_is_lost_every_time_ends_the_process() -> None:
    losing_all = """
interrupts._LONGEST_LOST_SECONDS = 1.0
losing(int)()
while True:
    try:
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        pass
"""
    assert ended(INSTALLED + losing_all)[0] == 130


@pytest.mark.parametrize(("longest", "out"), [(60.0, "cleaned\n"), (1.0, "")])
def test_a_command_has_longer_to_clean_up_than_to_lose_an_interrupt(longest: float, out: str) -> None:
    """As a benchmark, which deletes its topics once its workers have ended."""
    cleaning = f"""
interrupts._LONGEST_LOST_SECONDS = 0.5
interrupts._LONGEST_END_SECONDS = {longest}
try:
    signal.raise_signal(signal.SIGINT)
finally:
    time.sleep(2)
    print("cleaned", flush=True)
    handler.settle()
    import os; os._exit(130)
"""
    assert ended(INSTALLED + cleaning)[:2] == (130, out)


def test_an_end_that_is_on_its_way_is_not_interrupted_again() -> None:
    """As `finally`, and as `with`, where other errors come and go meanwhile."""
    cleaning = """
import contextlib
@contextlib.contextmanager
def closing():
    try:
        yield
    finally:
        time.sleep(0.5)
        with contextlib.suppress(ValueError):
            raise ValueError
        time.sleep(0.5)
        print("closed")
try:
    with closing():
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("ended", handler.settle())
time.sleep(0.5)
"""
    assert ended(INSTALLED + cleaning)[:2] == (0, "closed\nended True\n")


def test_a_command_that_goes_on_knowingly_is_not_interrupted_again() -> None:
    asking = """
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    interrupts.settle_interrupt()
time.sleep(0.5)
print("answered", handler.settle())
"""
    assert ended(INSTALLED + asking)[:2] == (0, "answered False\n")


def test_an_interrupt_that_was_lost_goes_to_who_handles_it_by_now() -> None:
    handed_over = """
losing(int)()
signal.signal(signal.SIGINT, lambda *_: print("stopping"))
time.sleep(1)
print("stopped")
"""
    assert ended(INSTALLED + handed_over)[:2] == (0, "stopping\nstopped\n")


@pytest.mark.parametrize(("end", "code"), [("return 4", 4), ("raise KeyboardInterrupt", 130)])
def test_a_command_ends_also_where_a_thread_that_it_left_does_not(end: str, code: int) -> None:
    leaving = f"""
import threading, time
import questream.cli.process as process, questream.cli.app as app
def run_command(arguments):
    threading.Thread(target=time.sleep, args=(60,)).start()
    print("done")
    {end}
process._LONGEST_END_SECONDS, app.run_command = 1, run_command
process.main()
"""
    assert ended(leaving)[:2] == (code, "done\n")


@pytest.mark.parametrize("end", ["return 0", "raise KeyboardInterrupt"])
def test_interrupts_that_come_as_the_command_has_ended_leave_no_traceback(end: str) -> None:
    """As those of somebody who holds Ctrl-C: at each line that runs behind the command in the main thread."""
    holding = f"""
import signal, sys
import questream.cli.process as process, questream.cli.app as app
behind = process._run_process.__code__
def interrupt(frame, event, _):
    if frame.f_back.f_code is behind or frame.f_code is behind:
        signal.raise_signal(signal.SIGINT)
        return interrupt
def run_command(arguments):
    sys._getframe(2).f_trace = interrupt
    sys.settrace(interrupt)
    {end}
app.run_command = run_command
process.main()
"""
    assert ended(holding) == (130, "", "")


def test_a_signal_stops_a_worker_at_whatever_instruction_the_main_thread_is() -> None:
    """As here, where `Event.wait` has the lock of the event that a stop sets."""
    waiting = """
import signal, threading
from questream.cli.run import Stopper
class Worker:
    def __init__(self):
        self.stopping = threading.Event()
    def stop(self):
        self.stopping.set()
worker = Worker()
Stopper().stop_on_signal(worker)
with worker.stopping._cond:
    signal.raise_signal(signal.SIGTERM)
print(worker.stopping.wait(20))
"""
    assert ended(waiting)[:2] == (0, "True\n")


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_server_that_is_told_to_stop_while_it_begins_to_serve_stops(silent_broker: str, number: str) -> None:
    """Between the first line of its log and its loop of events."""
    script = f"""
import signal, uvicorn
run = uvicorn.Server.run
def told(server, **options):
    signal.raise_signal(signal.{number})
    run(server, **options)
uvicorn.Server.run = told
from questream.cli import main
main()
"""
    settings = [f"--kafka.bootstrap_servers={silent_broker}", "--redis.url=redis://127.0.0.1:1/0", "--serve.port=auto"]
    code, _, err = ended(script, "serve", *settings, seconds=60)
    assert code == 0, err
    assert "Traceback" not in err


def test_ctrl_c_ends_the_tools_of_a_language_model_while_they_wait_for_a_line(silent_broker: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "mcp", f"--kafka.bootstrap_servers={silent_broker}", "--redis.url=redis://127.0.0.1:1/0"],
        env=clean(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 130
        finally:
            process.kill()


def test_ctrl_c_ends_no_worker_process_that_has_only_begun(tmp_path: Path) -> None:
    """The terminal sends it to the children too, which import for a second before they can ignore it."""
    program = tmp_path / "program.py"
    program.write_text("""
import os, signal, time
from questream.cli.processes import _work
from questream.settings import Settings
from questream.stream.processes import WorkerProcesses
if __name__ == "__main__":
    settings = Settings(metrics={"port": 0}, model={"processes": 2})
    workers = WorkerProcesses(settings, _work)
    for _ in range(10):
        time.sleep(0.1)
        for child in workers._children:
            os.kill(child.process.pid, signal.SIGINT)
    print(workers.listen())
    workers.kill()
""")
    done = subprocess.run(
        [sys.executable, str(program)], env=clean(), capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.stdout == "True\n"


def test_ctrl_c_leaves_the_process_of_a_method_to_the_benchmark(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("""
import contextlib, functools, multiprocessing, os, signal, threading, time
from questream.lab.bench.quality.runs import runs_of
def interrupt():
    for _ in range(8):
        time.sleep(0.1)
        for child in multiprocessing.active_children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGINT)
if __name__ == "__main__":
    threading.Thread(target=interrupt, daemon=True).start()
    print(runs_of(functools.partial(os._exit, 0), [], 30.0))
""")
    done = subprocess.run(
        [sys.executable, str(program)], env=clean(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("([], 'its process died')\n", "")
