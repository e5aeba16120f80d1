"""Namespaces of a store: what each is built with, and which stream it belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from questream.domain import NamespaceRules, NamespaceState
from questream.errors import NamespaceOfAnotherStream, RecoveryNeeded, StoreRefused, StoreUnavailable

# Of a namespace in the store. A later one has another meaning; what is only added to one keeps its number.
LAYOUT = 1

StoreError = StoreUnavailable | StoreRefused | RecoveryNeeded


@dataclass(frozen=True, slots=True)
class Identity:
    """The config of a namespace. Vectors of another model, revision or dimension cannot join its clusters.

    `prepared_by` is the version of what its texts go through before they are embedded, '' for nothing.
    """

    model: str
    revision: str
    dimension: int
    similarity: str
    linkage: str
    threshold: float
    prepared_by: str = ""


@dataclass(frozen=True, slots=True)
class StreamTopics:
    """The topics that a stream is known by in the store; an empty one is not known, or not to be compared."""

    input_topic: str = ""
    cluster_topic: str = ""

    def require_same(self, namespace: str, known: StreamTopics) -> None:
        """Raise NamespaceOfAnotherStream where the namespace belongs to another stream than this one."""
        for name, mine, its in (
            ("kafka.input_topic", self.input_topic, known.input_topic),
            ("kafka.cluster_topic", self.cluster_topic, known.cluster_topic),
        ):
            if mine and its and mine != its:
                raise NamespaceOfAnotherStream(
                    f"namespace {namespace!r} in Redis belongs to a stream whose {name} is {its!r}, this one's is"
                    f" {mine!r}",
                    "set redis.prefix or clusters.namespace to one of its own"
                    + ("" if name == "kafka.cluster_topic" else ", or clusters.shared for both to feed it together"),
                )


NO_TOPICS = StreamTopics()


@dataclass(frozen=True, slots=True)
class NamespaceSizes:
    """The sizes of a namespace in the store.

    `clusters` live, of which `singletons` have one question; `aliases` are ids that were merged away; `unpublished`
    states wait in the outbox; `log_changes` are kept of the log, and `ledgers` has the commits by topic and partition.
    """

    clusters: int
    singletons: int
    aliases: int
    unpublished: int
    log_changes: int
    ledgers: Mapping[tuple[str, int], int]


class Namespaces(Protocol):
    """The namespaces, and the config of each."""

    def ping(self) -> None:
        """Raises StoreUnavailable if the store does not answer."""

    def open(self, namespace: str, identity: Identity, topics: StreamTopics = NO_TOPICS) -> None:
        """Create the namespace, or check that it was built with the same model and belongs to the stream of `topics`.

        It belongs to the first stream that opens it. Raises IdentityMismatch if model, revision or dimension differ,
        NamespaceOfAnotherStream if topics do, NamespaceRefused where it is stored in a later layout. Similarity,
        linkage, threshold and preparation may change; `prepared_by` keeps the first.
        """

    def admit(self, namespaces: Collection[str], limit: int) -> set[str]:
        """Count new namespaces among those of the store, in their order, as long as those are fewer than `limit`.

        Returns those that may not begin. Of one that the store refuses whatever the limit is, `open` raises the reason.
        """

    def topics(self, namespace: str) -> StreamTopics:
        """The topics of the stream that the namespace belongs to."""

    def prepared_by(self, namespace: str) -> str | None:
        """The preparation of the first texts of the namespace, None where that is not known."""

    def namespaces(self) -> list[str]:
        """The names of all namespaces."""

    def namespace_state(self, namespace: str) -> NamespaceState | None:
        """The namespace as a whole, or None if it was never opened."""

    def rules(self, namespace: str) -> NamespaceRules:
        """The rules that people set for the namespace."""

    def sizes(self, namespace: str) -> NamespaceSizes:
        """The sizes of the namespace; zeros for one that was never opened."""

    def store_epoch(self, namespace: str) -> str | None:
        """The current store epoch of the namespace, or None where it has to be recovered first."""
