"""What lists of clusters are sorted by; apart from `listing`, which a command imports only when it is run."""

from __future__ import annotations

from enum import StrEnum


class Sort(StrEnum):
    """What comes first: the largest, the newest, those seen last, those that grew fastest, the largest unlabelled."""

    SIZE = "size"
    NEW = "new"
    SEEN = "seen"
    GROWTH = "growth"
    UNLABELLED = "unlabelled"


class Level(StrEnum):
    """What clusters are shown by."""

    INTENT = "intent"
    TOPIC = "topic"
