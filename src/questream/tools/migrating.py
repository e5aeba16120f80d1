"""A namespace on its way to another model: rebuilt beside the old one, compared with it, and switched."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from questream.broker.decided import DecidedTopics
from questream.deciding.config import namespace_config
from questream.domain import ClusterState
from questream.encoder import load_encoder
from questream.encoder.files import locate_model
from questream.errors import QuestreamError
from questream.migration.moving import Moved, move
from questream.migration.rebuilding import Rebuilding, Verdict
from questream.operations.lookup import require_namespace
from questream.settings import ModelSettings, Settings
from questream.store.redis.store import open_store
from questream.tools.stored_sentences import StoredSentences

_FOLLOW_STORE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """The effect of the switch to the new model.

    `unread` are clusters with no question left to read, `verdicts` the new model's about live questions, `merges` pairs
    of clusters that would become one, `splits` clusters whose members the new model separates, with the score of
    their members, loosest first.
    """

    clusters: int
    unread: list[int]
    verdicts: Counter[Verdict]
    merges: list[tuple[int, int]]
    splits: list[tuple[int, float]]

    @property
    def compared(self) -> int:
        """The number of live questions that both models have decided."""
        return self.verdicts.total()

    @property
    def agreement(self) -> float:
        """The share of them that both decide alike; 0 where there were none."""
        return self.verdicts["same"] / max(1, self.compared)


class Migration:
    """One namespace that is to get another model; entered, it reads the stream's topics beside the workers.

    `to` is the model's name or folder, `to_revision` its commit, by default the one that the settings or questream
    name. `decisions` is how many of the newest decisions of each partition are read; None reads no topic and takes the
    one text that the store keeps of each cluster. `on_progress` gets how many texts are embedded, and of how many.

    Raises QuestreamError if the namespace is not there or has that model already, ModelError, and what store and topics
    raise.
    """

    def __init__(
        self,
        settings: Settings,
        namespace: str | None,
        to: str,
        to_revision: str | None,
        decisions: int | None,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._settings = settings
        self.namespace = namespace or settings.clusters.namespace
        self._store = open_store(settings.redis, settings.clusters.log_entries)
        before = self.before = require_namespace(self._store, self.namespace)
        self.encoder = load_encoder(_model_to(settings.model, to, to_revision))
        if (before.model, before.model_revision) == (self.encoder.name, self.encoder.revision):
            raise QuestreamError(f"namespace {self.namespace!r} is built with {before.model!r} already")
        config = namespace_config(settings, self.encoder)
        self._identity = config.identity
        sentences = StoredSentences(lambda: self._store)
        self._topics = None if decisions is None else DecidedTopics(settings, self.namespace, decisions, sentences)
        self._rebuilding = Rebuilding(
            self._store, self.namespace, self._topics, self.encoder, config.rules, on_progress
        )

    def __enter__(self) -> Self:
        if self._topics is not None:
            self._topics.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._topics is not None:
            self._topics.__exit__(kind, error, at)

    @property
    def is_known_to_workers(self) -> bool:
        """True if workers with the same settings have the new model."""
        return self._known(self.encoder.name, self.encoder.revision) is not None

    @property
    def former_model(self) -> tuple[str, str | None]:
        """Name and revision of the model that the namespace had; None where the settings lead to that revision."""
        known = self._known(self.before.model, self.before.model_revision)
        return (self.before.model, self.before.model_revision) if known is None else (known.name, None)

    @property
    def reads_topics(self) -> bool:
        """True if it reads the topics; without them there is no live question to compare the models on."""
        return self._topics is not None

    def rebuild(self, members: int) -> list[int]:
        """Embed the first `members` questions of each cluster; returns the clusters with no question left to read."""
        self._rebuilding.read_history(members)
        self._rebuilding.read_rest()
        return self._rebuilding.complete(list(self._store.summaries(self.namespace)))

    def compare(self, questions: int, seconds: float) -> Counter[Verdict]:
        """The new model's verdicts on so many live questions, for so long at most, while the old one decides them."""
        verdicts: Counter[Verdict] = Counter()
        deadline, next_follow = time.monotonic() + seconds, 0.0
        while verdicts.total() < questions and time.monotonic() < deadline:
            verdicts.update(self._rebuilding.read_news())
            if time.monotonic() > next_follow:
                self._rebuilding.follow_store()
                next_follow = time.monotonic() + _FOLLOW_STORE_SECONDS
        return verdicts

    def outlook(self, unread: list[int], verdicts: Counter[Verdict]) -> Outlook:
        """The effect of a switch now, with the answers of `rebuild` and `compare`."""
        centroids = self._rebuilding.centroids
        merges = [(merge.survivor, merge.loser) for merge in centroids.merges()]
        return Outlook(len(centroids), unread, verdicts, merges, centroids.loose())

    def states(self, cluster_ids: list[int]) -> dict[int, ClusterState]:
        """The clusters that exist, by id."""
        return {state.cluster_id: state for state in self._store.states(self.namespace, cluster_ids)}

    def switch(self, *, retire_unread: bool) -> Moved:
        """The one atomic step; raises what `questream.migration.moving.move` raises."""
        return move(
            self._settings, self._store, self.namespace, self._rebuilding, self._identity, retire_unread=retire_unread
        )

    def _known(self, name: str, revision: str) -> ModelSettings | None:
        model = self._settings.model
        return next((known for known in (model, model.former_settings) if _is_model(known, name, revision)), None)


def _model_to(model: ModelSettings, to: str, revision: str | None) -> ModelSettings:
    """The settings of the model to move to; what the workers' settings say of it holds, if it is one of theirs."""
    former_settings = model.former_settings
    if revision is None and to == model.name:
        revision = model.revision
    elif revision is None and former_settings is not None and to == former_settings.name:
        revision = former_settings.revision
    return model.model_copy(update={"name": to, "revision": revision})


def _is_model(model: ModelSettings | None, name: str, revision: str) -> bool:
    """True if these settings lead to that model; a model on the hub is compared by its name alone."""
    if model is None or not Path(model.name).is_dir():
        return model is not None and model.name == name
    files = locate_model(model)
    return (files.name, files.revision) == (name, revision)
