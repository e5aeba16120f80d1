"""Operations on a cluster, or on questions in it: the effect is shown first, then they are applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from questream.domain import EXEMPLARS_KEPT, format_cluster_id
from questream.marks import MARKS, MarkKind
from questream.operations import Decisions
from questream.operations.requests import Propose
from questream.server.access import Role
from questream.server.api.binding import QuestionsRequest, decide_on_questions
from questream.server.api.clusters import find_cluster
from questream.server.api.conditions import Seen
from questream.server.api.history import Committed, Ruling, rule
from questream.server.pages.changes import done_link
from questream.server.pages.forms import Form, first, read_id, read_reason, read_seen
from questream.server.pages.previews import LOOKED_AT, show_preview
from questream.server.pages.rendering import link
from questream.server.problems import Overtaken, Refused
from questream.server.services import InNamespace, Scope, read_cluster_id
from questream.tools.questions import ReadQuestion

QuestionOp = Literal["reject", "move", "split"]
ClusterOp = MarkKind | Literal["separate", "represent", "forget"]

_TITLES: dict[QuestionOp | ClusterOp, str] = {
    **{kind: f"{kind.capitalize()} {{one}}" for kind in MARKS},
    "reject": "{questions} of {one}: not this one",
    "move": "Move {questions} of {one} to {other}",
    "split": "Split {questions} off {one}",
    "separate": "Keep {one} and {other} apart",
    "represent": "Represent {one} by this question",
    "forget": "Erase the texts of {one}",
}
_MEANINGS: dict[QuestionOp | ClusterOp, str] = {
    **{kind: mark.meaning for kind, mark in MARKS.items()},
    "reject": "Questions nearer to it than to the others no longer join this cluster.",
    "move": "Later questions nearer to it than to the others go to the same cluster.",
    "split": "They become a new cluster, which later questions nearer to them join.",
    "separate": "They, and the survivors of their merges, never merge; they are no longer suggested.",
    "represent": "It is shown in lists and in the published state of the cluster.",
    "forget": "The texts of its questions, and of clusters merged into it, are erased. This cannot be undone.",
}

router = APIRouter()


@dataclass(frozen=True, slots=True)
class _Asked:
    op: QuestionOp | ClusterOp
    cluster_id: int
    other_id: int | None
    question_ids: list[str] = field(default_factory=list)
    nearer: bool = False

    @property
    def named(self) -> list[str]:
        """The clusters that it is about."""
        return [format_cluster_id(one) for one in (self.cluster_id, self.other_id) if one is not None]

    @property
    def title(self) -> str:
        count = len(self.question_ids)
        questions = f"{count} question{'s' * (count != 1)}" if count else "a part"
        other = format_cluster_id(self.other_id or 0)
        return _TITLES[self.op].format(questions=questions, one=format_cluster_id(self.cluster_id), other=other)


def _asked(
    scope: InNamespace,
    op: QuestionOp | ClusterOp,
    c: Annotated[list[str], Query(min_length=1, max_length=2)],
    q: Annotated[list[Annotated[str, Query(max_length=1000)]], Query(max_length=EXEMPLARS_KEPT)] = [],  # noqa: B006 - FastAPI copies it
    nearer: bool = False,
) -> _Asked:
    """Of the clusters `c` the first is decided on; the second is where questions are moved, or what is kept apart.

    Raises Refused for a viewer and for what is not all there, NoSuchCluster.
    """
    scope.require(Role.OPERATOR)
    one, *others = [find_cluster(scope, read_cluster_id(name)).cluster_id for name in c if name] or [0]
    if not one or (op in ("move", "separate")) > bool(others):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "say of which cluster", "give its id, such as c17")
    if op in ("move", "reject", "represent") and not q:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "no question is selected", "select some of its questions")
    return _Asked(op, one, others[0] if others and op in ("move", "separate") else None, q, nearer)


Asked = Annotated[_Asked, Depends(_asked)]


@router.get("/n/{namespace}/decide")
def show(request: Request, scope: InNamespace, asked: Asked) -> Response:
    """Show the effect on clusters and questions."""
    return _show(request, scope, asked)


@router.post("/n/{namespace}/decide")
def do(request: Request, scope: InNamespace, asked: Asked, fields: Form) -> Response:
    """Do it, and go back to the cluster. What somebody else has changed meanwhile is shown first."""
    if asked.op == "forget" and first(fields, "is_meant") != "yes":
        raise Refused(HTTPStatus.CONFLICT, "what is erased cannot be restored", "say that it is meant")
    how = Ruling(id=read_id(fields), reason=read_reason(fields))
    try:
        done = _decide(scope, asked, how, read_seen(fields))
    except Overtaken:
        return _show(request, scope, asked, changed=True, reason=how.reason)
    where = f"/n/{scope.namespace}/clusters/{format_cluster_id(asked.cluster_id)}"
    return RedirectResponse(link(where, **done_link(asked.op, [done.operation])), HTTPStatus.SEE_OTHER)


def _show(request: Request, scope: Scope, asked: _Asked, *, changed: bool = False, reason: str = "") -> Response:
    return show_preview(
        request,
        scope,
        lambda looked_at: _decide(scope, asked, Ruling(dry_run=True, questions=looked_at), None),
        action=f"{request.url.path}?{request.url.query}",
        title=asked.title,
        # A mark moves no question.
        looked_at=LOOKED_AT if asked.op in get_args(QuestionOp) else 0,
        meaning=_MEANINGS[asked.op],
        verb="Erase for ever" if asked.op == "forget" else "Apply",
        is_final=asked.op == "forget",
        back=f"/n/{scope.namespace}/clusters/{format_cluster_id(asked.cluster_id)}",
        about=asked.named,
        changed=changed,
        reason=reason,
    )


def _decide(scope: Scope, asked: _Asked, how: Ruling, seen: list[str] | None) -> Committed:
    op, cluster_id, questions = asked.op, format_cluster_id(asked.cluster_id), asked.question_ids
    if op == "reject" or op == "move" or op == "split":
        owner = cluster_id if op == "split" else None
        target = None if asked.other_id is None else format_cluster_id(asked.other_id)
        wanted = QuestionsRequest(
            op=op,
            question_ids=questions,
            cluster_id=owner,
            target_id=target,
            nearer=asked.nearer,
            **how.model_dump(),
        )
        return decide_on_questions(scope, wanted, seen)
    chosen = scope.services.analysis.chosen(scope.namespace, questions[0], None) if op == "represent" else None
    shown = Seen.of(scope, seen, asked.named)
    return rule(scope, how, shown.provided(lambda made: _proposed(made, asked, chosen)))


def _proposed(made: Decisions, asked: _Asked, chosen: ReadQuestion | None) -> Propose:
    if asked.other_id is not None:
        return made.separate(asked.cluster_id, asked.other_id)
    if chosen is not None:
        return made.represent(asked.cluster_id, chosen.text, chosen.place, chosen.cluster_id)
    if asked.op == "forget":
        return made.forget(asked.cluster_id)
    (kind,) = (kind for kind in MARKS if kind == asked.op)
    return made.mark(kind, asked.cluster_id)
