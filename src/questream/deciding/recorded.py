"""Questions of a batch that were decided before, by the store's ledgers."""

from __future__ import annotations

from collections.abc import Callable

from questream.clustering.confidence import model_mark
from questream.clustering.nearest import NEIGHBOURS, assigned
from questream.deciding.batch import NamespaceBatch
from questream.deciding.merging import Merging
from questream.deciding.mirrors import Mirrors
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import SIMILARITY_DIGITS, Arrival, rounded
from questream.domain import Decision, RunnerUp, Vector
from questream.errors import RecoveryNeeded, Superseded
from questream.store.ledger import routed
from questream.store.protocol import Replayed, Store


class Recorded:
    """The store's records of questions. It belongs to one thread, with the mirrors. `clock` gives seconds."""

    def __init__(
        self, store: Store, namespaces: Namespaces, mirrors: Mirrors, merging: Merging, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._namespaces = namespaces
        self._mirrors = mirrors
        self._merging = merging
        self._clock = clock

    def recall(self, batch: NamespaceBatch, reply: Replayed) -> None:
        """Give the questions of a batch that were decided before their record, or today's clusters.

        Raises Superseded or RecoveryNeeded, as `Clusterer.decide`.
        """
        fresh = []
        for i in batch.pending:
            arrival = batch.arrivals[i]
            source = arrival.source
            ledger = reply.ledgers[source.place]
            if source.offset > ledger.head:
                fresh.append(i)
            else:
                if not ledger.is_of(source.offset, arrival.fingerprint):
                    # The next reading of the ledger finds it, and forgets what is not of these records.
                    raise RecoveryNeeded("the ledger of a partition is of other records than the present ones")
                recorded = ledger.decisions.get(source.offset)
                if recorded is None and arrival.fresh:
                    # Published by another, else its record would still be there: a second word on it would be another.
                    raise Superseded("another worker has decided and published these questions meanwhile")
                if recorded is not None and recorded.cluster_id is not None:
                    # It may have been committed by a call that failed before it could merge.
                    self._merging.note_moved(batch.namespace, [recorded.cluster_id])
                batch.decisions[i] = recorded or self._look(batch.namespace, arrival, batch.vectors[i])
        batch.pending = fresh

    def _look(self, namespace: str, arrival: Arrival, vector: Vector) -> Decision:
        """Score a question that was decided so long ago that the decision is pruned; nothing is learned or counted."""
        config, rules = self._namespaces.config_of(namespace), self._mirrors.rules(namespace)
        found = assigned(self._mirrors.nearest(namespace, vector, NEIGHBOURS, arrival.text), rules)
        joined, other = found.cluster, found.runner_up
        state = self._store.cluster(namespace, joined.cluster_id) if joined else None
        similarity = round(joined.similarity, SIMILARITY_DIGITS) if joined else None
        mark = model_mark(config.identity.model, config.identity.revision)
        confidence = None if similarity is None else rules.confidence_of(similarity, mark)
        route, suggested = routed(state.route if state else None, confidence, rules.routing_precision)
        return Decision(
            cluster_id=joined.cluster_id if joined else None,
            similarity=similarity,
            outcome="replayed",
            cluster_size=state.size if state else 0,
            runner_up=rounded(RunnerUp(other.cluster_id, other.similarity)) if other else None,
            label=state.label if state else None,
            route=route,
            model=config.identity.model,
            threshold=rules.threshold_of(joined.threshold if joined else None),
            truncated=arrival.truncated,
            decided_at=int(self._clock() * 1000),
            unknown_share=round(arrival.unknown_share, SIMILARITY_DIGITS),
            checked_by=found.checked_by,
            reason=found.reason,
            confidence=confidence,
            suggested_route=suggested,
        )
