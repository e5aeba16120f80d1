"""Known intents of a running stream, or of one that has not begun: imported with its model, and exported again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from questream.deciding.config import namespace_config, rules_of, topics_of
from questream.deciding.namespaces import Namespaces
from questream.domain import Operation, format_cluster_id
from questream.encoder import Encoder
from questream.errors import QuestreamError
from questream.operations.intents import ImportPlan, KnownIntent, PlannedIntent, plan_import
from questream.operations.lookup import require_same_model
from questream.records.rows import at_line
from questream.recovery.cluster_topic import ClusterTopic
from questream.recovery.home import Homes, location_of
from questream.recovery.recover import StoreRecovery
from questream.settings import Settings
from questream.store.protocol import Store
from questream.store.redis.store import RedisStore, open_store
from questream.store.reference.store import MemoryStore
from questream.tools.intent_files import GivenIntent, read_intents
from questream.tools.lookup import encoder_of, question_of
from questream.tools.questions import Encodes


def plan_of_file(settings: Settings, namespace: str | None, path: Path) -> tuple[RedisStore, str, ImportPlan]:
    """The plan of an import of a file, by the model of the settings; a namespace that does not exist is opened.

    Raises QuestionFileError for the file, QuestreamError for a namespace of another model or one that may not begin,
    and what store, topics and model raise.
    """
    store, chosen, encoder, intents = _read(settings, namespace, path)
    _open(settings, store, chosen, encoder)
    return store, chosen, _plan(settings, store, chosen, encoder, intents)


def preview_of_file(settings: Settings, namespace: str | None, path: Path) -> tuple[RedisStore, str, ImportPlan]:
    """As `plan_of_file`, but for a namespace that is not there: that is taken as an empty one, and not opened."""
    store, chosen, encoder, intents = _read(settings, namespace, path)
    if store.namespace_state(chosen) is not None:
        return store, chosen, _plan(settings, store, chosen, encoder, intents)
    empty = MemoryStore()
    Namespaces(empty, namespace_config(settings, encoder)).recovered(chosen)
    return store, chosen, _plan(settings, empty, chosen, encoder, intents)


def _read(settings: Settings, namespace: str | None, path: Path) -> tuple[RedisStore, str, Encoder, list[KnownIntent]]:
    given = read_intents(path)
    store = open_store(settings.redis, settings.clusters.log_entries)
    chosen = namespace or settings.clusters.namespace
    encoder = encoder_of(settings, store.namespace_state(chosen))
    return store, chosen, encoder, embedded(settings, path, given, encoder, encoder.dimension)


def _plan(
    settings: Settings, store: Store, namespace: str, encoder: Encoder, intents: Sequence[KnownIntent]
) -> ImportPlan:
    require_same_model(store, namespace, encoder)
    rules = rules_of(settings, encoder)
    return plan_import(store, namespace, rules, intents, keep_texts=settings.clusters.keep_texts)


def as_document(plan: ImportPlan, operations: Sequence[Operation]) -> dict[str, Any]:
    """An import as a JSON document; `operations` is empty for a dry run, or where nothing changed."""
    return {
        "operations": [one.number for one in operations],
        "intents": [
            {
                "name": one.name,
                "change": change_of(one),
                "examples_added": one.added,
                "clusters_opened": len(one.leaves),
                "clusters_changed": [format_cluster_id(number) for number in one.changes],
            }
            for one in plan.intents
        ],
        "overlaps": [
            {
                "intent": one.intent,
                "label": one.label,
                "cluster_id": None if one.cluster_id is None else format_cluster_id(one.cluster_id),
                "examples": one.examples,
                "similarity": round(one.similarity, 4),
            }
            for one in plan.overlaps
        ],
    }


def change_of(intent: PlannedIntent) -> str:
    """The effect of an import on an intent, in a word."""
    if not intent.is_changed:
        return "none"
    return "new" if intent.is_new else "changed"


def embedded(
    settings: Settings, path: Path, given: Iterable[GivenIntent], encoder: Encodes, dimension: int
) -> list[KnownIntent]:
    """Intents with the vectors of their examples, as a worker would prepare these; each example once.

    Raises QuestionFileError, with the line of the file, for one that a worker would refuse or that two intents have.
    """
    owner: dict[str, str] = {}
    prepared: dict[str, list[str]] = {}
    for intent in given:
        texts = prepared[intent.name] = []
        for line, example in intent.examples:
            try:
                text = question_of(example, settings)
            except QuestreamError as error:
                raise at_line(path, line, str(error)) from None
            if owner.setdefault(text, intent.name) != intent.name:
                raise at_line(path, line, "the example is one of another intent before")
            if text not in texts:
                texts.append(text)
    known = []
    for intent in given:
        texts = prepared[intent.name]
        vectors = encoder.encode(texts) if texts else np.zeros((0, dimension), np.float32)
        known.append(KnownIntent(intent.name, intent.route, tuple(texts), vectors, intent.threshold))
    return known


def _open(settings: Settings, store: RedisStore, namespace: str, encoder: Encoder) -> None:
    """Open the namespace as a worker does, and recover it: what the cluster topic has of it is restored first."""
    if store.store_epoch(namespace) is not None:
        return
    limits = settings.namespaces
    is_new = namespace != settings.clusters.namespace and namespace not in store.namespaces()
    if is_new and limits.allow and not any(fnmatchcase(namespace, pattern) for pattern in limits.allow):
        raise QuestreamError("no name of namespaces.allow is that of this namespace", "add it there")
    if is_new and store.admit([namespace], limits.max):
        raise QuestreamError("Redis has as many namespaces as namespaces.max lets begin", "raise it")
    with closing(ClusterTopic(settings, store.stream)) as topic:
        recovery = StoreRecovery(store, topic, Homes(store, location_of(settings.redis)))
        config = namespace_config(settings, encoder)
        Namespaces(store, config, topics=topics_of(settings), recover=recovery.recover).recovered(namespace)
