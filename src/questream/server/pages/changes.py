"""Label, route and merge clusters, intents or topics: what would become of them is shown first, then done, once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from questream.clustering.levels import LEVEL_NAMES, Node, leaf
from questream.clustering.merging import precedence
from questream.domain import LEVEL_LETTERS, UNNAMED, ClusterState, Naming
from questream.errors import QuestreamError
from questream.marks import MARKS
from questream.server.access import Role
from questream.server.api.clusters import find_cluster
from questream.server.api.communities import MergeRequest, NamingRequest, decide_on_levels, label_community
from questream.server.api.conditions import Seen, tags_among, tags_of
from questream.server.api.history import Ruling, rule
from questream.server.api.levels import read_community
from questream.server.api.operations import MAX_NAME_CHARACTERS
from questream.server.operating import Ask
from questream.server.pages.forms import Form, first, read_id, read_name
from questream.server.pages.rendering import link, render
from questream.server.problems import Overtaken, Refused
from questream.server.services import InNamespace, Scope, read_cluster_id
from questream.store.protocol import OPERATIONS_KEPT

MOST_CHOSEN = 50

Op = Literal["label", "route", "merge"]
_KINDS = ("cluster", *LEVEL_NAMES)
_SAID: dict[str, str] = {
    **{kind: mark.done for kind, mark in MARKS.items()},
    "label": "{count} labelled.",
    "route": "{count} routed.",
    "merge": "{count} merged into one.",
    "reject": "Questions nearer to that one than to the others no longer join.",
    "move": "Questions nearer to those than to the others go there from now on.",
    "split": "Those questions are a new cluster.",
    "undo": "It was undone.",
    "separate": "The two are kept apart and no longer suggested.",
    "dismiss": "The suggestion was dismissed.",
    "represent": "That question represents the cluster now.",
    "forget": "Its texts are erased.",
    "name": "It was named.",
    "levels": "The change was applied.",
    "rules": "The rule was set.",
    "intents": "The intents were imported.",
    "known": "All intents exist already: nothing was changed.",
}
_FOR_EVER = ("forget", "undo")


class Done(NamedTuple):
    """A change in words, and its operations for an undo, their numbers joined by points."""

    words: str
    operations: str | None

    @property
    def is_one(self) -> bool:
        """True if the change was one operation."""
        return "." not in (self.operations or "")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A cluster, an intent or a topic in its present state; `largest` is its largest cluster, or the cluster itself.

    `title` is what people call it, None where it is shown by the largest.
    """

    node: Node
    largest: ClusterState
    naming: Naming
    size: int
    title: str | None = None

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """The least survives a merge."""
        kept_in = () if self.node.level else self.largest.ruling.kept_in
        return precedence(self.naming, self.size, self.node.number, kept_in)


router = APIRouter()


@router.get("/n/{namespace}/change")
def show_change(
    request: Request,
    scope: InNamespace,
    op: Op,
    c: Annotated[list[str], Query(max_length=MOST_CHOSEN)] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """A preview of a change of the chosen entities."""
    scope.require(Role.OPERATOR)
    if op == "merge":
        _require_mergeable(scope, _chosen(scope, c))
    return _show(request, scope, op, c, secrets.token_urlsafe(16))


@router.post("/n/{namespace}/change")
def change(request: Request, scope: InNamespace, fields: Form) -> Response:
    """Do it, and go back to where it shows. What somebody else has changed meanwhile is shown first.

    The same form again is answered with what it did.
    """
    scope.require(Role.OPERATOR)
    op: Op = _op_of(first(fields, "op"))
    names, seen, id = fields.get("c", []), fields.get("seen", []), read_id(fields)
    chosen = _chosen(scope, names)
    done = list[int | None]()
    try:
        if op == "merge":
            # Before what it loses is asked for: that may be what somebody changed.
            Seen.of(scope, seen, names).require()
            if _loses_names(chosen) and first(fields, "drop_names") != "yes":
                return _show(request, scope, op, names, id, HTTPStatus.CONFLICT)
            made = _merges(scope, chosen, seen, id)
        else:
            name = read_name(fields, "name")
            made = _namings(scope, chosen, seen, (name, None) if op == "label" else (None, name), id)
        for number in made:
            done.append(number)
    except (Refused, QuestreamError) as error:
        if done:
            raise _ended(scope, op, chosen, done, error) from None
        if not isinstance(error, Overtaken):
            raise
        done = _done_before(scope, id)
        if len(done) < len(names) - (op == "merge"):
            return _show(request, scope, op, names, id, HTTPStatus.CONFLICT, changed=True)
    shown = sorted(chosen, key=_rank)[:1] if op == "merge" else chosen
    query = done_link(op, done, len(names), _KINDS[chosen[0].node.level])
    return RedirectResponse(_place(scope, shown, **query), HTTPStatus.SEE_OTHER)


def done_link(
    op: str, operations: Sequence[int | None], count: int | None = None, of: str | None = None
) -> dict[str, str | int | None]:
    """The query of the next page, which `read_done` reads; `of` is the kind of the changed entities."""
    numbers = ".".join(str(number) for number in operations if number is not None)
    return {"done": op, "count": count, "of": of if of != "cluster" else None, "operation": numbers}


def read_done(request: Request) -> Done | None:
    """The change that led to this page."""
    op, count, operation = (request.query_params.get(name, "") for name in ("done", "count", "operation"))
    of = request.query_params.get("of", "cluster")
    if op not in _SAID or not (count or "1").isdigit() or len(count) > 3 or of not in _KINDS:
        return None
    words = _SAID[op].format(count=f"{count} {of}{'s' * (count != '1')}")
    numbers = operation.split(".")
    if not all(one.isascii() and one.isdigit() and len(one) < 16 for one in numbers) or len(numbers) > MOST_CHOSEN:
        return Done(words, None)
    which = f"operation {operation}" if len(numbers) == 1 else f"operations {', '.join(numbers)}"
    return Done(
        f"{words} {'This is' if len(numbers) == 1 else 'These are'} {which}.", None if op in _FOR_EVER else operation
    )


def _show(
    request: Request,
    scope: Scope,
    op: Op,
    names: Sequence[str],
    id: str,
    status: int = HTTPStatus.OK,
    *,
    changed: bool = False,
) -> Response:
    # Before they are read: what changes meanwhile is noticed.
    seen = tags_of(scope, names)
    chosen = _chosen(scope, names)
    kept, *lost = chosen if op != "merge" else sorted(chosen, key=_rank)
    return render(
        request,
        "change.html",
        scope.login,
        scope,
        status,
        op=op,
        chosen=chosen,
        kind=_KINDS[chosen[0].node.level],
        id=id,
        seen=seen,
        changed=changed,
        kept=kept,
        lost=lost,
        size=sum(one.size for one in chosen),
        loses_names=op == "merge" and _loses_names(chosen),
        same={one.naming[0 if op == "label" else 1] or "" for one in chosen},
        most=MAX_NAME_CHARACTERS,
        back=_place(scope, chosen),
        all=_list(scope, chosen),
    )


def _chosen(scope: Scope, names: Sequence[str]) -> list[Chosen]:
    """The chosen entities in their present state, each once.

    Raises Refused for none, too many, or several kinds, NoSuchCluster, NoSuchCommunity.
    """
    if not names:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "nothing is selected", "select some in the list")
    if len(names) > MOST_CHOSEN:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"select {MOST_CHOSEN} at most")
    found = [_find(scope, name) for name in names]
    if len({one.node.level for one in found}) > 1:
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "clusters, intents and topics are not changed together",
            "select one kind at a time",
        )
    return list({one.node: one for one in found}.values())


def _find(scope: Scope, name: str) -> Chosen:
    if name[:1] in LEVEL_LETTERS:
        one = read_community(scope, name)
        return Chosen(one.node, one.clusters[0], one.naming, one.size, one.title)
    state = find_cluster(scope, read_cluster_id(name))
    return Chosen(leaf(state.cluster_id), state, (state.label, state.route), state.size)


def _op_of(text: str) -> Op:
    known: dict[str, Op] = {"label": "label", "route": "route", "merge": "merge"}
    if text not in known:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "there is no such change")
    return known[text]


def _names(chosen: Sequence[Chosen]) -> list[str]:
    return [str(one.node) for one in chosen]


def _rank(one: Chosen) -> tuple[bool, bool, int, int]:
    return one.rank


def _done_before(scope: Scope, id: str) -> list[int | None]:
    """The numbers of what the same form did, where it is sent twice, as by a double click; nobody took it back."""
    kept = scope.services.store.operations(scope.namespace, OPERATIONS_KEPT) if id else []
    return [one.number for one in reversed(kept) if one.id.startswith(f"{id}.") and one.undone_by is None]


def _loses_names(chosen: Sequence[Chosen]) -> bool:
    return len({one.naming for one in chosen} - {UNNAMED}) > 1


def _ended(
    scope: Scope, op: Op, chosen: Sequence[Chosen], done: Sequence[int | None], error: Refused | QuestreamError
) -> Refused:
    """The refusal of a change that ended before its last operation, with a link to those that were done."""
    refused = Refused.by(error)
    count, kind = len(done) + (op == "merge"), _KINDS[chosen[0].node.level]
    link_to = _list(scope, chosen, **done_link(op, done, count, kind))
    detail = f"{count} of {len(chosen)} {kind}s were changed, the others were not: {refused.detail}"
    return Refused(refused.status, detail, refused.remedy, refused.headers, {"What was done": link_to})


def _namings(
    scope: Scope, chosen: Sequence[Chosen], seen: Sequence[str], naming: Naming, id: str
) -> Iterator[int | None]:
    """Name all: clusters by one operation, intents and topics by one each. Gives their numbers as they are done."""
    label, route = naming
    if not chosen[0].node.level:
        shown, namings = Seen.of(scope, seen, _names(chosen)), {one.node.number: naming for one in chosen}
        yield rule(scope, Ruling(id=id), shown.provided(lambda made: made.label_all(namings))).operation
        return
    if len(chosen) > 1:
        Seen.of(scope, seen, _names(chosen)).require()
    for name in _names(chosen):
        request = NamingRequest(label=label, route=route, id=f"{id}.{name}")
        yield label_community(scope, name, request, tags_among(seen, [name])).operation


def _merges(scope: Scope, chosen: Sequence[Chosen], seen: Sequence[str], id: str) -> Iterator[int | None]:
    """Merge all into the first, one after the other. Gives the numbers of these merges as they are done."""
    kept, *rest = sorted(chosen, key=_rank)
    if not rest:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "one alone is not merged", "select two or more")
    if kept.node.level:
        _require_mergeable(scope, chosen)
    survivor = kept.node.number
    for one in rest:
        # The first of them changes what all the others are merged into.
        names = [str(one.node), *([str(kept.node)] if one is rest[0] else [])]
        tags = tags_among(seen, names)
        if kept.node.level:
            yield decide_on_levels(scope, _merging(kept, one, id=f"{id}.{one.node}"), tags).operation
            continue
        shown = Seen.of(scope, tags, names)
        yield rule(scope, Ruling(id=f"{id}.{one.node.number}"), shown.provided(_merged(survivor, one))).operation


def _merged(survivor: int, loser: Chosen) -> Ask:
    return lambda made: made.merge(survivor, loser.node.number, lambda *_: True)


def _require_mergeable(scope: Scope, chosen: Sequence[Chosen]) -> None:
    """Raises what a merge of intents or topics is refused for, before the first of them is merged."""
    kept, *rest = sorted(chosen, key=_rank)
    for one in rest if kept.node.level else ():
        decide_on_levels(scope, _merging(kept, one, dry_run=True))


def _merging(kept: Chosen, other: Chosen, id: str = "", *, dry_run: bool = False) -> MergeRequest:
    return MergeRequest(
        op="merge", level_id=str(kept.node), other_id=str(other.node), drop_names=True, id=id, dry_run=dry_run
    )


def _place(scope: Scope, chosen: Sequence[Chosen], **query: str | int | None) -> str:
    """The page of what is chosen, if it is one, or else its list."""
    if len(chosen) > 1:
        return _list(scope, chosen, **query)
    node = chosen[0].node
    return link(f"/n/{scope.namespace}/{'levels' if node.level else 'clusters'}/{node}", **query)


def _list(scope: Scope, chosen: Sequence[Chosen], **query: str | int | None) -> str:
    """The list of all that are of the same kind."""
    level = chosen[0].node.level
    if not level:
        return link(f"/n/{scope.namespace}/clusters", **query)
    return link(f"/n/{scope.namespace}/levels", level=LEVEL_NAMES[level - 1], **query)
