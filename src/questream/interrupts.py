"""Ctrl-C that takes effect also where a KeyboardInterrupt is lost on its way.

Python raises it between any two instructions of the main thread. It is lost where those are of a callback whose errors
C code clears (a destructor, a weak reference, an attribute that is looked for), and where a library keeps it as the
outcome of a task. So it is remembered, and raised again until the command ends or goes on knowingly. It is raised in
the command alone: the code around that, which ends the process, could not catch every further one.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

INTERRUPTED = 130
_AGAIN_SECONDS = 0.2
# A command that loses it for so long is ended, and one that takes so long to clean up.
_LONGEST_LOST_SECONDS = 10.0
_LONGEST_END_SECONDS = 60.0


class Interrupts:
    """The handler of SIGINT, and of the alarm that raises it again; both run in the main thread.

    They raise it within calls of the code `command`.
    """

    def __init__(self, command: CodeType) -> None:
        self._command = command
        # When the first one came that is not settled.
        self._since: float | None = None

    def install(self) -> None:
        """Handle the signals from here on, SIGINT also where it was inherited ignored."""
        signal.signal(signal.SIGALRM, self._raise_again)
        signal.signal(signal.SIGINT, self._raise)

    def settle(self) -> bool:
        """Raise none again; true where one had come."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        had_come, self._since = self._since is not None, None
        return had_come

    def _raise(self, _number: int, frame: FrameType | None) -> None:
        if self._since is None:
            self._since = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS, _AGAIN_SECONDS)
        if _is_within(self._command, frame):
            raise KeyboardInterrupt

    def _raise_again(self, _number: int, frame: FrameType | None) -> None:
        if self._since is None:
            return
        if signal.getsignal(signal.SIGINT) != self._raise:
            # By now it means something else, such as to finish what is in hand.
            self.settle()
            signal.raise_signal(signal.SIGINT)
            return
        is_on_its_way = _is_on_its_way(sys.exc_info()[1])
        if time.monotonic() > self._since + (_LONGEST_END_SECONDS if is_on_its_way else _LONGEST_LOST_SECONDS):
            os._exit(INTERRUPTED)
        if _is_within(self._command, frame) and not is_on_its_way:
            raise KeyboardInterrupt


def _is_within(code: CodeType, frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def _is_on_its_way(handled: BaseException | None) -> bool:
    """True where the error that is handled now, or one that it came from, ends the command."""
    while handled is not None:
        if isinstance(handled, KeyboardInterrupt | SystemExit):
            return True
        handled = handled.__context__
    return False


def call_apart(call: Callable[[], None]) -> None:
    """For handlers of signals: make a call that takes locks, in a thread of its own.

    A handler runs between any two instructions of the main thread. That may hold the lock of the very Event which the
    call sets, as it does for a moment whenever it waits for it, and would wait for itself without end.
    """
    _thread.start_new_thread(call, ())


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Processes that are started meanwhile get no SIGINT: Ctrl-C reaches all of a terminal, and their parent decides.

    They ignore it themselves once they have imported what they run; before that it would end them with a traceback.
    """
    from multiprocessing import resource_tracker

    # The first process starts it, which unblocks the signal again.
    resource_tracker.ensure_running()
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def settle_interrupt() -> None:
    """For code that catches a KeyboardInterrupt and goes on: it is not raised again."""
    handler = signal.getsignal(signal.SIGINT)
    interrupts = getattr(handler, "__self__", None)
    if isinstance(interrupts, Interrupts):
        interrupts.settle()
