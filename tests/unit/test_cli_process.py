"""How the process of a command ends."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import pytest

ENDS = ["worked off", "at exit", "taken apart"]
PROGRAM = """
import atexit, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from questream.cli import process

run, ran = process._run, threading.Event()
process._run = lambda arguments: (run(arguments), ran.set())[0]

class TakenApart:
    def __del__(self, write=os.write): write(1, b"taken apart\\n")

kept = TakenApart()
atexit.register(print, "at exit", flush=True)
threading.Thread(target=time.sleep, args=(120,), daemon={daemon}).start() if {thread} else None
pool = ThreadPoolExecutor(1)
pool.submit(lambda: (ran.wait(60), time.sleep(0.2), print("worked off", flush=True)))
sys.argv = ["questream", *{arguments}]
process.main()
"""


def ended(thread: bool, arguments: list[str]) -> tuple[int, list[str]]:
    """Exit code and last lines of a process in which a thread goes on, or none does."""
    program = PROGRAM.format(daemon=True, thread=thread, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, [line for line in done.stdout.splitlines() if line in ENDS]


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["no-such-command"], 2)], ids=["right", "wrong"])
def test_threads_end_and_python_is_not_taken_apart(arguments: list[str], code: Literal[0, 2]) -> None:
    for thread in (True, False):
        assert ended(thread, arguments) == (code, ENDS[:2])
