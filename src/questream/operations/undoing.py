"""Undo of operations: the changes of a ruling are reverted, and later decisions stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from questream.domain import ChosenQuestion, Operation, Ruling
from questream.errors import OperationRefused
from questream.operations.binding import without
from questream.rulings import write_ruling_fields


def undoing(undone: Operation, before: Ruling, after: Ruling) -> Callable[[Ruling], Ruling]:
    """A function that reverts an operation's changes of a ruling; other later decisions stay."""

    def change(ruling: Ruling) -> Ruling:
        new = ruling
        if (before.label, before.route) != (after.label, after.route):
            require_in_force(undone, (ruling.label, ruling.route) == (after.label, after.route))
            new = replace(new, label=before.label, route=before.route)
        # Another operation on one of them leaves the others.
        now, became = write_ruling_fields(ruling), write_ruling_fields(after)
        for name, was in write_ruling_fields(before).items():
            if was != became[name]:
                require_in_force(undone, now[name] == became[name])
                new = replace(new, **{name: was})
        if not _is_same(before.represented_by, after.represented_by):
            require_in_force(undone, _is_same(ruling.represented_by, after.represented_by))
            new = replace(new, represented_by=_with_text(before.represented_by))
        added = [end for end in after.separations if end not in before.separations]
        removed = [end for end in before.separations if end not in after.separations]
        require_in_force(undone, set(added) <= set(ruling.separations))
        kept = [end for end in new.separations if end not in added]
        separations = (*kept, *(end for end in removed if end not in kept))
        return replace(new, separations=separations, exemplars=without(ruling, before, after))

    return change


def _is_same(one: ChosenQuestion | None, other: ChosenQuestion | None) -> bool:
    return (one and one.name) == (other and other.name)


def _with_text(chosen: ChosenQuestion | None) -> ChosenQuestion | None:
    if chosen is not None and chosen.text is None:
        raise OperationRefused(
            "the former representative's text is not kept any longer",
            "choose one with `questream clusters represent`",
        )
    return chosen


def require_in_force(undone: Operation, is_in_force: bool) -> None:
    """Raise OperationRefused unless the decisions of an operation are still in force."""
    if not is_in_force:
        raise OperationRefused(
            f"what operation {undone.number} decided was decided anew since",
            "undo the later one first: `questream clusters history` shows it",
        )
