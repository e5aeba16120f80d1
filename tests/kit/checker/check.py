"""All checks, the most important first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.kit.checker.cluster_topic import check_cluster_topic
from tests.kit.checker.clusters import (
    check_centroids,
    check_known_ids,
    check_names,
    check_size_sequence,
    check_sizes,
    check_unique_ids,
)
from tests.kit.checker.corrections import check_corrections
from tests.kit.checker.evidence import Evidence
from tests.kit.checker.levels import check_levels
from tests.kit.checker.operations import check_operations
from tests.kit.checker.published import Run, read_run
from tests.kit.checker.records import (
    check_dead_letters,
    check_decisions_agree,
    check_offsets,
    check_pass_through,
    check_published_once,
    check_unmatched,
)
from tests.kit.checker.rules import Rules
from tests.kit.checker.rulings import check_later_decisions, check_rulings
from tests.kit.checker.twins import check_twins
from tests.kit.checker.violation import Violation

_CHECKS: list[Callable[[Run, Rules], Iterator[Violation]]] = [
    check_published_once,
    check_unmatched,
    check_decisions_agree,
    check_offsets,
    check_pass_through,
    check_dead_letters,
    check_known_ids,
    check_unique_ids,
    check_sizes,
    check_size_sequence,
    check_centroids,
    check_names,
    check_levels,
    check_operations,
    check_corrections,
    check_rulings,
    check_later_decisions,
    check_twins,
    check_cluster_topic,
]


def check(evidence: Evidence, rules: Rules) -> list[Violation]:
    """Every broken promise that the evidence shows.

    Raises ValueError or KeyError where a record has not the documented form.
    """
    run = read_run(evidence, rules)
    return [violation for one in _CHECKS for violation in one(run, rules)]
