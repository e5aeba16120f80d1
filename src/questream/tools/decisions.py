"""Operations on clusters for commands and servers: committed or only shown; errors have remedies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from questream.domain import ClusterState, LevelsChange, Operation, Ruling, format_cluster_id
from questream.errors import OperationRefused
from questream.operations import By, Decisions
from questream.operations import history as of_clusters
from questream.operations.decisions import history_of_levels
from questream.operations.levels import live_community
from questream.operations.requests import Propose
from questream.records.corrections import correction_document
from questream.records.states import chosen_document
from questream.records.times import format_time
from questream.rulings import write_ruling_fields
from questream.store.aliases import follow_aliases, survivor_of
from questream.store.protocol import OPERATIONS_KEPT, ProposedLevels, ProposedOperation, Store
from questream.tools.clusters import NoSuchCluster, lineage
from questream.tools.naming_files import read_namings


def decide(decisions: Decisions, namespace: str, propose: Propose) -> Operation:
    """Commit an operation. Raises NoSuchCluster, and what `questream.operations.Decisions` raises."""
    try:
        return decisions.commit(propose)
    except KeyError as error:
        raise NoSuchCluster(error.args[0], namespace) from None
    except ValueError as error:
        raise OperationRefused(str(error)) from None


def preview(decisions: Decisions, namespace: str, propose: Propose) -> ProposedOperation:
    """The operation that would be committed. Raises as `decide`."""
    try:
        return decisions.preview(propose)
    except KeyError as error:
        raise NoSuchCluster(error.args[0], namespace) from None
    except ValueError as error:
        raise OperationRefused(str(error)) from None


def label(store: Store, namespace: str, cluster_id: int, label: str | None, route: str | None, by: By) -> ClusterState:
    """Name a cluster and set its route; None leaves one unchanged, "" removes it. Raises as `decide`."""
    decisions = Decisions(store, namespace, by)
    decide(decisions, namespace, decisions.label(cluster_id, label, route))
    return lineage(store, namespace, cluster_id)[-1]


def reviewed(store: Store, namespace: str, path: Path, by: By) -> tuple[Decisions, Propose]:
    """The one operation that names the clusters by the rows of a file that was read; `Decisions.label_all`."""
    decisions = Decisions(store, namespace, by)
    return decisions, decisions.label_all(read_namings(path, namespace))


def known_as(store: Store, namespace: str, id_: str) -> Operation | None:
    """The operation that had this id first, if it is kept; None where no id is given."""
    kept = store.operations(namespace, OPERATIONS_KEPT) if id_ else []
    return next((one for one in kept if one.id == id_), None)


def history(store: Store, namespace: str, limit: int, cluster_id: int | None = None) -> list[Operation]:
    """The last operations that are kept, of a cluster those that changed it or what it has become; newest first."""
    if cluster_id is None:
        return store.operations(namespace, limit)
    chain = follow_aliases(store, namespace, [cluster_id])[cluster_id]
    if not chain:
        raise NoSuchCluster(cluster_id, namespace)
    lived = [*(state.cluster_id for state in chain), survivor_of(cluster_id, chain)]
    return of_clusters(store.operations(namespace, OPERATIONS_KEPT), lived)[:limit]


def history_of_level(store: Store, namespace: str, limit: int, name: str) -> list[Operation]:
    """As `history`, of an intent or a topic and of what it has become. Raises OperationRefused."""
    try:
        now = live_community(store.levels(namespace), name)
    except ValueError as error:
        raise OperationRefused(str(error)) from None
    return history_of_levels(store.operations(namespace, OPERATIONS_KEPT), {name, str(now)})[:limit]


def as_document(operation: Operation | ProposedOperation) -> dict[str, Any]:
    """An operation as a JSON document; one that is only proposed has no number and no time."""
    done = operation if isinstance(operation, Operation) else None
    namings = namings_of(operation)
    return {
        "operation": done and done.number,
        "id": operation.id,
        "kind": operation.kind,
        "actor": operation.actor,
        "reason": operation.reason,
        "time": done and format_time(done.time_ms),
        "undoes": operation.undoes,
        "undone_by": done and done.undone_by,
        "survivor": None if operation.survivor is None else format_cluster_id(operation.survivor),
        "parted": None if operation.parted is None else format_cluster_id(operation.parted),
        "before": _documents(operation.before.items()),
        "after": _documents(operation.after.items()),
        "rules": operation.rules and operation.rules.document(),
        "levels": None if namings is None else namings.document(),
        "corrections": [correction_document(one) for one in operation.corrections],
    }


def namings_of(operation: Operation | ProposedOperation) -> LevelsChange | None:
    """The changes of an operation to intents and topics, if any."""
    return operation.levels.change if isinstance(operation.levels, ProposedLevels) else operation.levels


def ruling_document(ruling: Ruling) -> dict[str, Any]:
    """The ruling of a cluster as a JSON document; exemplars by their names."""
    return {
        "label": ruling.label,
        "route": ruling.route,
        **write_ruling_fields(ruling),
        "separations": list(ruling.ends_of_clusters),
        "kept_in": list(ruling.kept_in),
        "exemplars": [{"name": one.name, "kind": one.kind} for one in ruling.exemplars],
        "represented_by": chosen_document(ruling.represented_by),
    }


def _documents(rulings: Iterable[tuple[int, Ruling]]) -> dict[str, dict[str, Any]]:
    return {format_cluster_id(cluster_id): ruling_document(ruling) for cluster_id, ruling in rulings}
