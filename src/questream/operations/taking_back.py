"""An operation is taken back: what it made of a ruling becomes what that was, and what was decided since stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from questream.domain import ChosenQuestion, Operation, Ruling
from questream.errors import OperationRefused
from questream.operations.binding import without
from questream.rulings import write_ruling_fields


def taking_back(undone: Operation, before: Ruling, after: Ruling) -> Callable[[Ruling], Ruling]:
    """The change from what an operation made of a ruling to what that was; other decisions since then stay."""

    def change(ruling: Ruling) -> Ruling:
        new = ruling
        if (before.label, before.route) != (after.label, after.route):
            require_standing(undone, (ruling.label, ruling.route) == (after.label, after.route))
            new = replace(new, label=before.label, route=before.route)
        # Another operation on one of them leaves the others.
        now, became = write_ruling_fields(ruling), write_ruling_fields(after)
        for name, was in write_ruling_fields(before).items():
            if was != became[name]:
                require_standing(undone, now[name] == became[name])
                new = replace(new, **{name: was})
        if not _is_same(before.represented_by, after.represented_by):
            require_standing(undone, _is_same(ruling.represented_by, after.represented_by))
            new = replace(new, represented_by=_with_text(before.represented_by))
        added = [end for end in after.separations if end not in before.separations]
        removed = [end for end in before.separations if end not in after.separations]
        require_standing(undone, set(added) <= set(ruling.separations))
        kept = [end for end in new.separations if end not in added]
        separations = (*kept, *(end for end in removed if end not in kept))
        return replace(new, separations=separations, exemplars=without(ruling, before, after))

    return change


def _is_same(one: ChosenQuestion | None, other: ChosenQuestion | None) -> bool:
    return (one and one.name) == (other and other.name)


def _with_text(chosen: ChosenQuestion | None) -> ChosenQuestion | None:
    if chosen is not None and chosen.text is None:
        raise OperationRefused(
            "the text that stood for the cluster before is not kept any longer",
            "choose one with `questream clusters represent`",
        )
    return chosen


def require_standing(undone: Operation, stands: bool) -> None:
    """Raise OperationRefused unless what an operation decided still stands."""
    if not stands:
        raise OperationRefused(
            f"what operation {undone.number} decided was decided anew since",
            "undo the later one first: `questream clusters history` shows it",
        )
