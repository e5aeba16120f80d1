"""The state of the demo at one moment, for a screen, for plain lines and for a picture alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from questream.lab.evaluation.agreement import Agreement


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the demo; `done_share` in [0, 1] where it is known how far it is, `seconds` since it began."""

    name: str
    detail: str
    seconds: float
    finished: bool
    done_share: float | None = None


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster by its last state in the cluster topic, with a typical question of it."""

    id: str
    size: int
    question: str


@dataclass(frozen=True, slots=True)
class IntentView:
    """Clusters of one intent, the largest first; `more` of them are not named. A cluster in no intent is its own."""

    id: str
    size: int
    clusters: tuple[ClusterView, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """The stream as a reader of the output topics sees it.

    Latencies in milliseconds, from an input record's timestamp to the moment its decision was read; None before the
    first. `questions_per_second` is that of the last seconds while the stream runs, of the whole stream once it ended.
    """

    decided: int = 0
    dead_lettered: int = 0
    joined: int = 0
    created: int = 0
    merged: int = 0
    clusters: int = 0
    questions_per_second: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    intents: int = 0
    topics: int = 0
    biggest: tuple[IntentView, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything on the screen."""

    title: str
    stages: tuple[Stage, ...]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary at the end of the stream; `first_cluster_seconds` since the demo was started.

    `agreement` is that of clusters, intents and topics, by name, with the gold groups; empty where there are none.
    """

    figures: Figures
    stream_seconds: float
    in_flight: int
    first_cluster_seconds: float
    agreement: Mapping[str, Agreement]
    metrics_url: str
    attribution: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision about a typed question; `question` and `runner_up_question` are those nearest in words.

    Each is a question of the cluster beside it. `intent` is its cluster's; None
    where that is in none.
    """

    outcome: str
    cluster_id: str
    cluster_size: int
    similarity: float
    threshold: float
    question: str
    runner_up_id: str | None
    runner_up_similarity: float | None
    runner_up_question: str
    intent: IntentView | None = None


class Display(Protocol):
    """A display of the demo."""

    def show(self, snapshot: Snapshot) -> None:
        """Show this moment; called several times a second."""

    def finish(self, snapshot: Snapshot, summary: Summary) -> None:
        """Show the end of the stream; `show` is not called again."""
