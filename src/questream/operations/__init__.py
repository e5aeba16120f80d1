"""Operations on clusters from outside the stream: look up a question, decide, merge, undo."""

from __future__ import annotations

from questream.operations.binding import KnownQuestion
from questream.operations.decisions import By, Decisions, history, merge_clusters
from questream.operations.live import live_cluster
from questream.operations.lookup import Answer, Candidate, ask, ask_mirror
from questream.operations.merging import keep_namings

__all__ = [
    "Answer",
    "By",
    "Candidate",
    "Decisions",
    "KnownQuestion",
    "ask",
    "ask_mirror",
    "history",
    "keep_namings",
    "live_cluster",
    "merge_clusters",
]
