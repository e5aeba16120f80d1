"""The thresholds that clusters may have had when a question was decided: of their own, or that of all others."""

from __future__ import annotations

from tests.kit.checker.operations import published_operations
from tests.kit.checker.published import ClusterTopic, Run


class Thresholds:
    """Of the clusters of a namespace: thresholds of their own, by states and operations."""

    def __init__(self, run: Run, namespace: str) -> None:
        self._thresholds: dict[int, set[float | None]] = {}
        for number, states in (run.cluster_topics.get(namespace) or ClusterTopic()).states.items():
            for state in states:
                if not state.retired:
                    self._thresholds.setdefault(number, set()).add(state.threshold)
        created = {decision.number for decision in run.decided_in(namespace) if decision.outcome == "created"}
        for operation in published_operations(run.evidence).get(namespace, ()):
            for number, after in operation.after.items():
                self._thresholds.setdefault(number, set()).add(after.threshold)
                # One that people open has never been without what they gave it.
                if number in created or operation.kind != "intents":
                    self._thresholds[number].add(operation.before[number].threshold)

    def of(self, number: int | None, usual: float) -> set[float]:
        """Those that a cluster may have had, where all others have the `usual` one."""
        found = self._thresholds.get(number or 0) or {None}
        return {usual if one is None else one for one in found}
