"""What one module logs, whatever else logs meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest


def logged_by(by: Callable[..., object], caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the module of this class or function logged in this step of the test, oldest first.

    To be counted: clients of the servers that tests share log from threads of their own.
    """
    return [record for record in caplog.records if record.name == by.__module__]
