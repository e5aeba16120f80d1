"""What people do with clusters from outside the stream: look up a question, merge two clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from questream.clustering.merging import Merge, Naming, merged_naming, precedence
from questream.clustering.mirror import Mirror
from questream.clustering.nearest import nearest_clusters
from questream.clustering.rules import Rules
from questream.domain import ClusterState
from questream.encoder import Encoder
from questream.errors import Contended, NamingsDiffer, QuestreamError
from questream.store.aliases import follow_aliases
from questream.store.protocol import AppliedMerge, Store

_MERGE_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cluster near a question, and how near."""

    state: ClusterState
    similarity: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a question would go: the nearest clusters, best first, and whether the first is near enough to join."""

    candidates: list[Candidate]
    joins: bool
    truncated: bool
    unknown_share: float = 0.0


def ask(store: Store, namespace: str, encoder: Encoder, rules: Rules, text: str, limit: int = 6) -> Answer:
    """Where `text` would go if it came now. Nothing is learned, counted or opened.

    Raises QuestreamError if the namespace is not there or was built with another model, BadRecord if a worker would
    dead-letter the text.
    """
    whole = store.namespace_state(namespace)
    if whole is None:
        raise QuestreamError(
            f"there is no namespace {namespace!r} yet", "`questream clusters list` shows those there are"
        )
    if (whole.model, whole.model_revision, whole.dimension) != (encoder.name, encoder.revision, encoder.dimension):
        raise QuestreamError(
            f"namespace {namespace!r} was built with {whole.model!r} revision {whole.model_revision!r}, not"
            f" {encoder.name!r} revision {encoder.revision!r}",
            "set model.name and model.revision",
        )
    return ask_mirror(store, namespace, store.load(namespace), encoder, rules, text, limit)


def ask_mirror(
    store: Store, namespace: str, mirror: Mirror, encoder: Encoder, rules: Rules, text: str, limit: int = 6
) -> Answer:
    """As `ask`, with a mirror of the namespace that somebody keeps, whose clusters are of the encoder's model."""
    (tokens,) = encoder.tokenise([text])
    neighbours = nearest_clusters(mirror, rules, encoder.encode_tokens([tokens])[0], limit)
    candidates = [
        Candidate(state, neighbour.similarity)
        for neighbour in neighbours
        if (state := store.cluster(namespace, neighbour.cluster_id)) is not None
    ]
    joins = bool(candidates) and candidates[0].similarity >= rules.threshold
    return Answer(candidates, joins, tokens.truncated, tokens.unknown_share)


def keep_namings(survivor: ClusterState, loser: ClusterState) -> bool:
    """The answer of somebody who gives up no label and no route."""
    del survivor, loser
    return False


def merge_clusters(
    store: Store,
    namespace: str,
    one: int,
    other: int,
    may_drop: Callable[[ClusterState, ClusterState], bool] = keep_namings,
) -> AppliedMerge:
    """Merge two clusters because an operator says so, whatever their similarity.

    The id of the named one survives, else that of the larger, else that of the older. Ids that were merged away stand
    for what they were merged into. Workers publish the merge within seconds.
    Where both are named and their labels or routes differ, those of the smaller would go: `may_drop` is asked with the
    survivor and the loser, and asked again if either is named anew before the merge.
    Raises KeyError if there is no such cluster, ValueError if both are the same, NamingsDiffer if nothing may be
    dropped, Contended if they never stood still, StoreUnsettled where a worker has to look first whether the store has
    lost anything.
    """
    agreed: Naming | None = None
    for _ in range(_MERGE_ATTEMPTS):
        survivor, loser = sorted(
            (live_cluster(store, namespace, one), live_cluster(store, namespace, other)), key=_precedence
        )
        if survivor.cluster_id == loser.cluster_id:
            raise ValueError("the two are one cluster already")
        if survivor.vector_sum is None or loser.vector_sum is None:
            continue
        kept, lost = (survivor.label, survivor.route), (loser.label, loser.route)
        if merged_naming(kept, lost, agreed) is None:
            if not may_drop(survivor, loser):
                raise NamingsDiffer("the two have labels or routes that differ, and a cluster has one of each")
            agreed = lost
        merge = Merge(
            survivor.cluster_id,
            loser.cluster_id,
            survivor.members,
            loser.members,
            survivor.vector_sum + loser.vector_sum,
            agreed,
        )
        store_epoch, whole = store.store_epoch(namespace), store.namespace_state(namespace)
        merged = store.merge(namespace, store_epoch or "", whole.seq if whole else 0, [merge])
        if merged.applied:
            return merged.applied[0]
    raise Contended("the clusters kept moving", "try again")


def _precedence(state: ClusterState) -> tuple[bool, int, int]:
    return precedence((state.label, state.route), state.size, state.cluster_id)


def live_cluster(store: Store, namespace: str, cluster_id: int) -> ClusterState:
    """What a cluster has become: itself, or what it was merged into. Raises KeyError if that is not there any more."""
    chain = follow_aliases(store, namespace, [cluster_id])[cluster_id]
    if not chain or chain[-1].merged_into is not None or chain[-1].event == "retired":
        raise KeyError(cluster_id)
    return chain[-1]
