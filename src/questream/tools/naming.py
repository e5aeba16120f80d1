"""The names of a running stream's clusters, against the words of their namespace."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

from questream.domain import ClusterState
from questream.naming.names import Vocabulary, name_of
from questream.store.protocol import Store
from questream.tools.clusters import as_document

# The words of so many clusters decide which words are common in a namespace.
_MOST_READ = 20_000


def read_vocabulary(store: Store, namespace: str) -> Vocabulary:
    """The number of the namespace's clusters that have each word, of 20,000 at most."""
    vocabulary = Vocabulary()
    deque(vocabulary.counting(islice(store.summaries(namespace), _MOST_READ)), maxlen=0)
    return vocabulary


def read_made_names(store: Store, namespace: str) -> dict[int, str]:
    """The names that a language model made, by cluster."""
    return {cluster_id: made.name for cluster_id, made in store.made_names(namespace).items()}


def as_named_document(state: ClusterState, vocabulary: Vocabulary, made: Mapping[int, str]) -> dict[str, Any]:
    """A cluster with its name as a JSON document; `made` has the names that a model made."""
    return {**as_document(state), "name": name_of(state, vocabulary, made.get(state.cluster_id))}
