"""Close calls: what a judge, a slower model that reads two texts together, says of them before a batch is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from questream.clustering.assignment import BatchAssigner
from questream.clustering.choices import Call, Plan
from questream.clustering.merging import Merge
from questream.clustering.nearest import Neighbour, assigned
from questream.clustering.rules import Rules
from questream.deciding.batch import NamespaceBatch
from questream.domain import REPRESENTATIVE_CHARACTERS
from questream.store.protocol import Store


class Judge(Protocol):
    """Decides for pairs of texts whether both ask the same."""

    def same(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """For each pair of a cluster's text and a question's."""


def with_verdicts(
    neighbours: Sequence[Neighbour], rules: Rules, judge: Judge, question: str, texts: Mapping[int, str]
) -> list[Neighbour]:
    """The clusters nearest to a question, best first, once the judge was asked where it would join one by little.

    `texts` are their representatives, by id.
    """
    judged = list(neighbours)
    while True:
        cluster = assigned(judged, rules).cluster
        if cluster is None or cluster.similarity >= rules.close(cluster.threshold) or cluster.checked_by == "judge":
            return judged
        text = texts.get(cluster.cluster_id)
        if not text:
            return judged
        (same,) = judge.same([(text[:REPRESENTATIVE_CHARACTERS], question)])
        judged[judged.index(cluster)] = replace(cluster, checked_by="judge", reason=None if same else "judge")


class CloseCalls:
    """Asks the judge about the clusters of a store, by the representative of each. Without a judge nothing is asked.

    Of a cluster without a text nothing can be asked: it is taken as it is.
    """

    def __init__(self, judge: Judge | None, store: Store) -> None:
        self._judge = judge
        self._store = store

    def plan(self, batch: NamespaceBatch, assigner: BatchAssigner) -> Plan:
        """The assigner's plan, once every close call in it has its verdict.

        A question that is turned away may open a cluster that others come near to: these are asked about in turn.
        """
        plan = assigner.plan()
        if self._judge is None:
            return plan
        texts: dict[int, str] = {}
        while calls := assigner.close_calls(plan):
            self._read(batch.namespace, {call.cluster_id for call in calls if call.founder is None}, texts)
            assigner.note_verdicts(self._verdicts(batch, calls, texts))
            plan = assigner.plan()
        return plan

    def differing(self, namespace: str, merges: Sequence[Merge]) -> list[Merge]:
        """The merges whose clusters the judge takes for two."""
        if self._judge is None or not merges:
            return []
        texts: dict[int, str] = {}
        self._read(namespace, {one for merge in merges for one in (merge.survivor, merge.loser)}, texts)
        pairs = [merge for merge in merges if merge.survivor in texts and merge.loser in texts]
        verdicts = self._judge.same([(texts[merge.survivor], texts[merge.loser]) for merge in pairs])
        return [merge for merge, same in zip(pairs, verdicts, strict=True) if not same]

    def _read(self, namespace: str, cluster_ids: set[int], texts: dict[int, str]) -> None:
        unread = sorted(cluster_ids - texts.keys())
        if unread:
            states = self._store.states(namespace, unread)
            texts.update({state.cluster_id: state.representative for state in states if state.representative})

    def _verdicts(
        self, batch: NamespaceBatch, calls: Sequence[Call], texts: Mapping[int, str]
    ) -> dict[Call, bool | None]:
        asked: dict[Call, tuple[str, str]] = {}
        arrivals = [batch.arrivals[i] for i in batch.pending]
        for call in calls:
            question = arrivals[call.question].text
            of_cluster = texts.get(call.cluster_id) if call.founder is None else arrivals[call.founder].text
            if question and of_cluster:
                asked[call] = of_cluster[:REPRESENTATIVE_CHARACTERS], question
        verdicts: dict[Call, bool | None] = dict.fromkeys(calls)
        if asked and self._judge is not None:
            verdicts.update(zip(asked, self._judge.same(list(asked.values())), strict=True))
        batch.judged_same += sum(verdict is True for verdict in verdicts.values())
        batch.judged_other += sum(verdict is False for verdict in verdicts.values())
        return verdicts
