"""What an operation would do, as far as that can be told now."""

from __future__ import annotations

from collections.abc import Callable

from questream.errors import QuestreamError
from questream.server.api.history import Committed
from questream.server.problems import Refused

# Of the last decisions: some seconds.
_LOOKED_AT = 1000


def previewed(ask: Callable[[int], Committed]) -> tuple[Committed, str | None]:
    """An operation that is tried on so many decisions, on none where that fails: then why stands beside it.

    Raises what `ask` raises for an operation that cannot be.
    """
    try:
        return ask(_LOOKED_AT), None
    except (Refused, QuestreamError) as error:
        # What is refused for itself is refused again.
        return ask(0), str(error)
