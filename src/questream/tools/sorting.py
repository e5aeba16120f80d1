"""The sort keys of lists of clusters; apart from `listing`, which a command imports only when it is run."""

from __future__ import annotations

from enum import StrEnum


class Sort(StrEnum):
    """The first in a list: the largest, newest, seen last, fastest growing, largest unlabelled, or most doubtful.

    Doubtful is a cluster that took a question at a low similarity, as far as it keeps a reference to that.
    """

    SIZE = "size"
    NEW = "new"
    SEEN = "seen"
    GROWTH = "growth"
    UNLABELLED = "unlabelled"
    DOUBTFUL = "doubtful"


SORTED_BY = "First: the largest, newest, seen last, fastest growing, largest unlabelled, or most doubtful."


class Level(StrEnum):
    """The levels above clusters that lists can show."""

    INTENT = "intent"
    TOPIC = "topic"
