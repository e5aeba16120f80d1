"""Decide micro-batches against a store: plan on the mirror, commit, follow the log, retry where others came first."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from questream.clustering.assignment import BatchAssigner
from questream.clustering.choices import Plan
from questream.clustering.confidence import model_mark
from questream.clustering.mirror import Mirror
from questream.clustering.second_look.features import features
from questream.deciding.batch import NamespaceBatch
from questream.deciding.close_calls import CloseCalls, Judge
from questream.deciding.config import NamespaceConfig
from questream.deciding.merging import Merging
from questream.deciding.mirrors import Mirrors
from questream.deciding.namespaces import Namespaces
from questream.deciding.paths import LevelSnapshots, Paths
from questream.deciding.proposal import changes_of, ledger_row, propose
from questream.deciding.recorded import Recorded
from questream.deciding.states import live_state, namespace_state
from questream.deciding.turns import Turns
from questream.domain import ClusterEvent
from questream.errors import Contended, NamespaceRefused, QuestreamError
from questream.store.ledger import decide, decide_unmatched
from questream.store.protocol import Committed, LedgerRow, Proposal, Replayed, Stale, Store, Tail, Turn, Whose

# Losing a race is normal at a cold start and costs a rescore of what the winner moved. Who loses again takes turns
# (turns.py), in which nobody else moves the log: one far from the store would lose for ever to those that are near.
_WAIT_FOR_A_TURN_SECONDS = 0.004
_ATTEMPTS = 200
# As long as the turns of some workers that all have died.
_WAITS_FOR_A_TURN = 5000


@dataclass(slots=True)
class _Attempt:
    """A batch as it was last planned, against the mirror that it had then."""

    batch: NamespaceBatch
    config: NamespaceConfig
    mirror: Mirror
    assigner: BatchAssigner
    close_calls: CloseCalls
    turn: Whose = ""
    plan: Plan | None = None
    rows: list[LedgerRow] = field(init=False)
    proposal: Proposal = field(init=False)

    def planned(self) -> Plan:
        """The plan against the present mirror."""
        if self.plan is None:
            self.plan = self.close_calls.plan(self.batch, self.assigner)
        return self.plan


class Clusterer:
    """Online clustering of any number of namespaces in one store. It belongs to one thread, and its `mirrors` with it.

    `namespaces` are those of the same store, which other threads use too. `keep_texts` keeps the founder's text of a
    cluster in the store as its representative. Mirrors of `max_namespaces` are held at most. Of `levels` decisions
    have their paths. A `judge` is asked about close calls. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        namespaces: Namespaces,
        *,
        keep_texts: bool = True,
        max_namespaces: int | None = None,
        levels: LevelSnapshots | None = None,
        judge: Judge | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self.namespaces = namespaces
        self.mirrors = Mirrors(store, namespaces, max_namespaces)
        self._close_calls = CloseCalls(judge, store)
        self._merging = Merging(store, self.mirrors, self._close_calls, clock)
        self._recorded = Recorded(store, namespaces, self.mirrors, self._merging, clock)
        self._paths = Paths(levels or LevelSnapshots())
        self._keep_texts = keep_texts
        self._max_namespaces = max_namespaces
        self._clock = clock
        self._sleep = sleep
        self._turns = Turns(store)

    def forget(self, namespace: str) -> None:
        """Follow the namespace no longer; its mirror is loaded again when a question comes to it."""
        self.mirrors.forget(namespace)
        self._merging.forget(namespace)
        self._paths.forget(namespace)
        self._turns.forget(namespace)

    def decide(
        self,
        batches: Sequence[NamespaceBatch],
        published_below: Mapping[tuple[str, int], int],
    ) -> None:
        """Give every arrival its one decision, committed in the store: in one round trip, where no other was first.

        Arrivals of one partition are in order of offset. One that was decided before gets its recorded decision; one
        whose record is pruned is scored without learning (outcome `replayed`). `published_below` names, per partition,
        the offset below which everything is published, so that the ledger may forget it.
        Raises Superseded if others have decided and published what was fresh when it was read: it is theirs by now.
        Raises Contended if other workers kept winning, StoreUnavailable or StoreRefused as the store does; the same
        call may then be made again, and goes on with what is open. Raises RecoveryNeeded if the store epoch is another:
        what was decided before this batch may be forgotten, and a later offset must not be recorded ahead of it.
        """
        at_once = self._max_namespaces or len(batches) or 1
        for start in range(0, len(batches), at_once):
            self._decide_at_once(batches[start : start + at_once], published_below)

    def _decide_at_once(
        self, batches: Sequence[NamespaceBatch], published_below: Mapping[tuple[str, int], int]
    ) -> None:
        """Decide batches whose mirrors have room beside each other."""
        attempts: dict[str, _Attempt] = {}
        failures: list[QuestreamError] = []
        for batch in batches:
            if batch.is_open:
                with _failing_alone(batch, failures):
                    self.mirrors.require_epoch(batch.namespace, batch.store_epoch)
        if failures:
            raise failures[0]
        for namespace in self.mirrors.make_room([batch.namespace for batch in batches if batch.is_open]):
            self._merging.propose_again(namespace)
            self._paths.forget(namespace)
            self._turns.forget(namespace)
        attempts_left, waits_left = _ATTEMPTS, _WAITS_FOR_A_TURN
        while open_batches := [batch for batch in batches if batch.is_open]:
            if not attempts_left or not waits_left:
                raise Contended(f"{_ATTEMPTS} attempts to commit a batch lost to other workers")
            in_turn = self._take_turns(open_batches, attempts)
            if in_turn:
                attempts_left -= 1
                self._commit(in_turn, attempts, published_below)
            else:
                waits_left -= 1
                self._sleep(random.uniform(0, _WAIT_FOR_A_TURN_SECONDS))  # noqa: S311 - spreads retries, guards nothing

    def _take_turns(self, batches: Sequence[NamespaceBatch], attempts: dict[str, _Attempt]) -> list[NamespaceBatch]:
        """Ask for a turn where others keep coming first, with the missed changes; the plan is made beside that.

        Returns the batches to propose now: all but those for which it is another's turn.
        """
        asking = []
        for batch in batches:
            attempt = attempts.get(batch.namespace)
            if attempt is None:
                attempt = attempts[batch.namespace] = self._begin(batch)
            if attempt.turn == "other" or (
                attempt.turn == "" and self._turns.token(batch.namespace) and attempt.planned().needs_head
            ):
                asking.append(batch)
        started = time.perf_counter()
        replies = self._turns.ask([(batch.namespace, attempts[batch.namespace].mirror) for batch in asking])
        seconds = (time.perf_counter() - started) / max(1, len(asking))
        failures: list[QuestreamError] = []
        for batch in asking:
            batch.commit_seconds += seconds
            with _failing_alone(batch, failures):
                match replies[batch.namespace]:
                    case Turn() as reply:
                        self._follow(attempts[batch.namespace], reply.missed)
                        attempts[batch.namespace].turn = reply.whose
                    case error:
                        raise error
        if failures:
            raise failures[0]
        return [batch for batch in batches if batch.is_open and attempts[batch.namespace].turn != "other"]

    def _commit(
        self,
        batches: Sequence[NamespaceBatch],
        attempts: dict[str, _Attempt],
        published_below: Mapping[tuple[str, int], int],
    ) -> None:
        """Commit what is planned, of all namespaces in one round trip; then do what each reply asks for."""
        for batch in batches:
            self._propose(attempts[batch.namespace], published_below)
        started = time.perf_counter()
        replies = self._store.commit({batch.namespace: attempts[batch.namespace].proposal for batch in batches})
        seconds = (time.perf_counter() - started) / len(batches)
        failures: list[QuestreamError] = []
        for batch in batches:
            batch.commit_seconds += seconds
            with _failing_alone(batch, failures):
                match replies[batch.namespace]:
                    case Committed() as reply:
                        self._adopt(attempts[batch.namespace], reply)
                    case Replayed() as reply:
                        del attempts[batch.namespace]
                        self._recorded.recall(batch, reply)
                    case Stale() as reply:
                        self._catch_up_and_rescore(attempts[batch.namespace], reply)
                    case error:
                        raise error
        if failures:
            raise failures[0]

    def _begin(self, batch: NamespaceBatch) -> _Attempt:
        mirror = self.mirrors.follow(batch.namespace)
        config = replace(self.namespaces.config_of(batch.namespace), rules=self.mirrors.rules(batch.namespace))
        looks = [features(batch.arrivals[i].text) for i in batch.pending] if config.rules.judges else None
        assigner = BatchAssigner(batch.vectors[batch.pending], mirror, config.rules, looks)
        return _Attempt(batch, config, mirror, assigner, self._close_calls)

    def _propose(self, attempt: _Attempt, published_below: Mapping[tuple[str, int], int]) -> None:
        batch, mirror, config, plan = attempt.batch, attempt.mirror, attempt.config, attempt.planned()
        arrivals = [batch.arrivals[i] for i in batch.pending]
        mark = model_mark(config.identity.model, config.identity.revision)
        rows = [
            ledger_row(arrival, choice, config.rules, mark, mirror.thresholds.get(choice.cluster_id or 0))
            for arrival, choice in zip(arrivals, plan.choices, strict=True)
        ]
        attempt.rows = self._paths.with_paths(batch.namespace, mirror, rows, batch.vectors[batch.pending])
        attempt.proposal = propose(
            mirror,
            attempt.assigner,
            plan,
            arrivals,
            attempt.rows,
            published_below,
            self.namespaces.known_heads(
                batch.namespace, mirror.store_epoch, {arrival.source.place for arrival in arrivals}
            ),
            model=config.identity.model,
            threshold=config.rules.threshold,
            decided_at=int(self._clock() * 1000),
            keep_texts=self._keep_texts,
            turn=self._turns.token(batch.namespace),
            turn_stretch=self._turns.stretch(batch.namespace),
            routing_precision=config.rules.routing_precision,
        )

    def _catch_up_and_rescore(self, attempt: _Attempt, reply: Stale) -> None:
        """Others came first: follow them, and score anew what they moved."""
        batch = attempt.batch
        batch.stale_retries += 1
        if attempt.turn == "own":
            self._turns.note_lapsed(batch.namespace)
        attempt.turn = reply.turn
        self._turns.note_refused(batch.namespace)
        self._follow(attempt, reply.missed)

    def _follow(self, attempt: _Attempt, missed: Tail) -> None:
        """Bring the mirror up to what others did, and score it; the next plan is made beside it."""
        batch = attempt.batch
        batch.missed_changes += len(missed.changes or ())
        changed = self.mirrors.apply(batch.namespace, missed)
        if changed is None or self.mirrors.rules(batch.namespace) != attempt.config.rules:
            again = self._begin(batch)
            attempt.mirror, attempt.assigner, attempt.config = again.mirror, again.assigner, again.config
            attempt.plan = None
        elif missed.changes:
            attempt.assigner.rescore(changed)
            attempt.plan = None

    def _adopt(self, attempt: _Attempt, reply: Committed) -> None:
        """The batch happened: bring the mirror up to it, note decisions and states, merge what it moved together."""
        batch, proposal, namespace = attempt.batch, attempt.proposal, attempt.batch.namespace
        plan = attempt.planned()
        batch.missed_changes += len(reply.missed.changes or ())
        for part in proposal.partitions:
            self.namespaces.note_head(namespace, (part.topic, part.partition), proposal.store_epoch, part.last)
        self._turns.note_committed(namespace, batch.missed_changes)
        self._paths.note_committed(namespace, attempt.rows)
        self.mirrors.advance(namespace, reply.missed, reply.seq, changes_of(proposal))
        model = attempt.config.identity.model
        joins = {update.cluster_id: update.joins for update in proposal.cluster_updates}
        for i, row in zip(batch.pending, attempt.rows, strict=True):
            if row.cluster_id is None:
                batch.decisions[i] = decide_unmatched(row, proposal)
            else:
                batch.decisions[i] = decide(row, reply.cluster_rows[row.cluster_id], joins[row.cluster_id], proposal)
        batch.outbox_position = reply.outbox_position
        self._merging.note_moved(namespace, plan.moved)
        may_merge = plan.may_merge
        self._merging.merge(batch, attempt.config, may_merge and may_merge.without(reply.missed.changes))
        mirror = self.mirrors.follow(namespace)
        for update in proposal.cluster_updates:
            # A cluster that others have merged away meanwhile is published by them.
            if update.cluster_id not in batch.states and update.cluster_id in mirror.row_of:
                event: ClusterEvent = "created" if update.creates else "updated"
                cluster_row = reply.cluster_rows[update.cluster_id]
                batch.states[update.cluster_id] = live_state(namespace, model, cluster_row, event, mirror)
        if proposal.updates_namespace:
            batch.namespace_state = namespace_state(namespace, attempt.config.identity, mirror)
        batch.pending = []


@contextmanager
def _failing_alone(batch: NamespaceBatch, failures: list[QuestreamError]) -> Iterator[None]:
    """A failure in here keeps no other namespace from being decided; a refusal is what becomes of the batch."""
    try:
        yield
    except NamespaceRefused as error:
        batch.refused = error
    except QuestreamError as error:
        failures.append(error)
