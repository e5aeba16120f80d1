"""Errors that a thread in the background meets, kept for those who ask."""

from __future__ import annotations

import logging
from typing import TypeVar

from questream.errors import QuestreamError

logger = logging.getLogger(__name__)

E = TypeVar("E", bound=QuestreamError)


def met(error: Exception, what: str) -> QuestreamError:
    """An error to keep, met while `what` was found out.

    One that is none of questream's own is not quoted: a client's may quote what it read.
    """
    if isinstance(error, QuestreamError):
        return again(error)
    logger.warning("something could not be found out", extra={"what": what, "error": type(error).__name__})
    return QuestreamError(f"{what} cannot be read now")


def again(error: E) -> E:
    """The same error without traceback and cause, to be kept, and each time that it is raised.

    These hold the frames that it went through, with all that was in hand there: half a table, or each request that was
    told of it.
    """
    fresh = type(error).__new__(type(error), *error.args)
    vars(fresh).update(vars(error))
    return fresh
