"""Label, route and merge clusters, intents or topics: what would become of them is shown first, then done, once."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from questream.clustering.levels import LEVEL_NAMES, Node, leaf
from questream.clustering.merging import precedence
from questream.domain import LEVEL_LETTERS, UNNAMED, ClusterState, Naming
from questream.server.access import Role
from questream.server.api.clusters import find_cluster
from questream.server.api.communities import MergeRequest, NamingRequest, decide_on_levels, label_community
from questream.server.api.history import Ruling, rule
from questream.server.api.levels import read_community
from questream.server.api.operations import MAX_NAME_CHARACTERS
from questream.server.operating import Merging
from questream.server.pages.forms import Form, first, read_id, read_name
from questream.server.pages.rendering import link, render
from questream.server.problems import Refused
from questream.server.services import InNamespace, Scope, read_cluster_id

MOST_CHOSEN = 50

Op = Literal["label", "route", "merge"]
_KINDS = ("cluster", *LEVEL_NAMES)
_SAID: dict[str, str] = {
    "label": "{count} labelled.",
    "route": "{count} routed.",
    "merge": "{count} merged into one.",
    "reject": "What is nearer to that question than to the others joins no more.",
    "move": "What is nearer to those questions than to the others goes there from now on.",
    "split": "Those questions are a cluster of their own.",
    "undo": "It was taken back.",
    "separate": "The two stay apart and are suggested no more.",
    "dismiss": "It is suggested no more.",
    "represent": "That question stands for it.",
    "pin": "It never merges automatically.",
    "unpin": "It may merge automatically again.",
    "mute": "It raises no events.",
    "unmute": "It raises events again.",
    "resolve": "It is dealt with, and returns with the next question.",
    "reopen": "It is open again.",
    "forget": "Its texts are erased.",
    "name": "It was named.",
    "levels": "It is decided.",
    "rules": "The rule was set.",
    "intents": "They are imported.",
    "known": "All of them are there already: nothing was changed.",
}
_FOR_EVER = ("forget", "undo")


class Told(NamedTuple):
    """What was done, in words, and the operations that did it, with points between their numbers, to take it back."""

    words: str
    operations: str | None

    @property
    def is_one(self) -> bool:
        """Whether one operation did it all."""
        return "." not in (self.operations or "")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A cluster, an intent or a topic as it stands; `largest` is its largest cluster, or the cluster itself.

    `title` is what people call it, None where it is shown by the largest.
    """

    node: Node
    largest: ClusterState
    naming: Naming
    size: int
    title: str | None = None

    @property
    def seen(self) -> str:
        """What people have said of it, to find out whether they say something else by now."""
        return "\x1f".join((str(self.node), *(name or "" for name in self.naming)))

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
    """What is chosen, and what would become of it."""
    scope.require(Role.OPERATOR)
    chosen = _chosen(scope, c)
    if op == "merge":
        _require_mergeable(scope, chosen)
    return _show(request, scope, op, chosen, secrets.token_urlsafe(16))


@router.post("/n/{namespace}/change")
def change(request: Request, scope: InNamespace, fields: Form) -> Response:
    """Do it, and go back to where it shows. What somebody else has changed meanwhile is shown first."""
    scope.require(Role.OPERATOR)
    op: Op = _op_of(first(fields, "op"))
    chosen, id = _chosen(scope, fields.get("c", [])), read_id(fields)
    if fields.get("seen", []) != [one.seen for one in chosen]:
        return _show(request, scope, op, chosen, id, HTTPStatus.CONFLICT, changed=True)
    if op == "merge" and _loses_names(chosen) and first(fields, "drop_names") != "yes":
        return _show(request, scope, op, chosen, id, HTTPStatus.CONFLICT)
    if op == "merge":
        shown = sorted(chosen, key=_rank)[:1]
        operations = _merge(scope, chosen, id)
    else:
        shown = chosen
        name = read_name(fields, "name")
        operations = _name(scope, chosen, (name, None) if op == "label" else (None, name), id)
    done = done_link(op, operations, len(chosen), _KINDS[chosen[0].node.level])
    return RedirectResponse(_place(scope, shown, **done), HTTPStatus.SEE_OTHER)


def done_link(
    op: str, operations: Sequence[int | None], count: int | None = None, of: str | None = None
) -> dict[str, str | int | None]:
    """What `told` reads in the query of the page that follows; `of` is the kind of what was changed."""
    numbers = ".".join(str(number) for number in operations if number is not None)
    return {"done": op, "count": count, "of": of if of != "cluster" else None, "operation": numbers}


def told(request: Request) -> Told | None:
    """What the change that led to this page did."""
    op, count, operation = (request.query_params.get(name, "") for name in ("done", "count", "operation"))
    of = request.query_params.get("of", "cluster")
    if op not in _SAID or not (count or "1").isdigit() or len(count) > 3 or of not in _KINDS:
        return None
    words = _SAID[op].format(count=f"{count} {of}{'s' * (count != '1')}")
    numbers = operation.split(".")
    if not all(one.isascii() and one.isdigit() and len(one) < 16 for one in numbers) or len(numbers) > MOST_CHOSEN:
        return Told(words, None)
    which = f"operation {operation}" if len(numbers) == 1 else f"operations {', '.join(numbers)}"
    return Told(
        f"{words} {'This is' if len(numbers) == 1 else 'These are'} {which}.", None if op in _FOR_EVER else operation
    )


def _show(
    request: Request,
    scope: Scope,
    op: Op,
    chosen: Sequence[Chosen],
    id: str,
    status: int = HTTPStatus.OK,
    *,
    changed: bool = False,
) -> Response:
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
    """What is chosen as it stands, each once.

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


def _rank(one: Chosen) -> tuple[bool, bool, int, int]:
    return one.rank


def _loses_names(chosen: Sequence[Chosen]) -> bool:
    return len({one.naming for one in chosen} - {UNNAMED}) > 1


def _name(scope: Scope, chosen: Sequence[Chosen], naming: Naming, id: str) -> list[int | None]:
    """Name all: clusters by one operation, intents and topics by one each. Returns their numbers."""
    label, route = naming
    if not chosen[0].node.level:
        namings = {one.node.number: naming for one in chosen}
        return [rule(scope, Ruling(id=id), lambda made: made.label_all(namings)).operation]
    requests = [(str(one.node), NamingRequest(label=label, route=route, id=f"{id}.{one.node}")) for one in chosen]
    return [label_community(scope, name, request).operation for name, request in requests]


def _merge(scope: Scope, chosen: Sequence[Chosen], id: str) -> list[int | None]:
    """Merge all into the first, one after the other. Returns the numbers of these merges."""
    kept, *rest = sorted(chosen, key=_rank)
    if not rest:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "one alone is not merged", "select two or more")
    if kept.node.level:
        _require_mergeable(scope, chosen)
        return [decide_on_levels(scope, _merging(kept, one, id=f"{id}.{one.node}")).operation for one in rest]
    survivor, numbers = kept.node.number, []
    for one in rest:
        merging = Merging(survivor, one.node.number, drops_names=True)
        done = scope.services.operating.apply(scope.namespace, merging, scope.login.name, f"{id}.{one.node.number}")
        survivor = done.after.cluster_id
        numbers.append(done.number)
    return numbers


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
