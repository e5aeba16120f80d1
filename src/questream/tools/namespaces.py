"""The namespaces of a store: what each holds, what it is built with, and by which settings its workers run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from questream.domain import NamespaceState
from questream.records.times import format_time
from questream.recovery.home import Home
from questream.settings import Settings
from questream.store.protocol import NamespaceSizes, StreamTopics
from questream.store.redis.store import RedisStore
from questream.stream.settings_in_use import GONE_SECONDS, differences_of, settings_of
from questream.tools.rules import sources


@dataclass(frozen=True, slots=True)
class Noted:
    """Settings that workers noted in the store; `differences` are those of others that ran by the same minute."""

    worker: str
    time_ms: int
    settings: dict[str, Any]
    differences: list[str]


@dataclass(frozen=True, slots=True)
class Described:
    """A namespace as the store has it. `home` is the mark of the store that serves it, None before it has one."""

    state: NamespaceState
    sizes: NamespaceSizes
    topics: StreamTopics
    home: Home | None
    is_recovered: bool
    operations: int
    noted: Noted | None


def list_namespaces(store: RedisStore) -> list[Described]:
    """All namespaces that were opened, by name. Nothing is opened or written."""
    return [found for name in store.namespaces() if (found := _described(store, name)) is not None]


def describe(store: RedisStore, namespace: str) -> Described:
    """One namespace. Raises KeyError where it was never opened."""
    found = _described(store, namespace)
    if found is None:
        raise KeyError(namespace)
    return found


def count_questions(store: RedisStore, namespace: str) -> int:
    """The questions that its live clusters count: it reads a row of each."""
    return sum(state.size for state in store.summaries(namespace))


def as_document(found: Described) -> dict[str, Any]:
    """A namespace in a list, as a JSON document."""
    state, sizes = found.state, found.sizes
    return {
        "namespace": state.namespace,
        "clusters": sizes.clusters,
        "singletons": sizes.singletons,
        "model": state.model,
        "model_revision": state.model_revision,
        "input_topic": found.topics.input_topic or None,
        "threshold": state.threshold,
        "linkage": state.linkage,
        "similarity": state.similarity,
        "settings_differ": found.noted.differences if found.noted else [],
    }


def as_whole_document(found: Described, questions: int, settings: Settings) -> dict[str, Any]:
    """A namespace with all details as a JSON document; `settings` are those of the caller."""
    state, sizes, noted = found.state, found.sizes, found.noted
    return as_document(found) | {
        "questions": questions,
        "aliases": sizes.aliases,
        "dimension": state.dimension,
        "mean_questions": state.mean_questions,
        "next_cluster": f"c{state.next_cluster}",
        "generation": state.generation,
        "cluster_topic": found.topics.cluster_topic or None,
        "store": found.home and found.home.store,
        "recovered": found.is_recovered,
        "operations": found.operations,
        "unpublished": sizes.unpublished,
        "log_seq": state.seq,
        "log_changes": sizes.log_changes,
        "ledgers": {f"{topic}/{partition}": count for (topic, partition), count in sorted(sizes.ledgers.items())},
        "rules": sources(state.rules, settings, noted.settings if noted else {}),
        "settings": noted.settings if noted else None,
        "settings_noted_by": noted.worker if noted else None,
        "settings_noted_at": format_time(noted.time_ms) if noted else None,
    }


def _described(store: RedisStore, namespace: str) -> Described | None:
    state = store.namespace_state(namespace)
    if state is None:
        return None
    newest = store.operations(namespace, 1)
    return Described(
        state,
        store.sizes(namespace),
        store.topics(namespace),
        Home.parse(store.home(namespace)),
        store.store_epoch(namespace) is not None,
        newest[0].number if newest else 0,
        _noted(store, namespace),
    )


def _noted(store: RedisStore, namespace: str) -> Noted | None:
    """By the times of the store alone, so that no clock here has a say."""
    notes = store.noted_settings(namespace)
    if not notes:
        return None
    worker, latest, text = notes[0]
    settings = settings_of(text)
    others = [(other, noted) for other, time_ms, noted in notes[1:] if latest - time_ms <= GONE_SECONDS * 1000]
    found = differences_of(settings, others, store.rules(namespace))
    differences = [one.replace(" here,", f" in worker {worker},") for one in found]
    return Noted(worker, latest, settings, differences)
