"""Operations on clusters, with a preview."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from questream.domain import LABEL_OR_ROUTE_CHARACTERS, Dismissible
from questream.marks import PinKind, StatusKind
from questream.operations import By
from questream.records.corrections import correction_document
from questream.server.access import Role
from questream.server.api.clusters import Cluster, as_model, etag_of, find_cluster
from questream.server.api.conditions import IfMatch, Seen
from questream.server.api.effects import Corrected, LookedAt, Unknown, effect_of
from questream.server.operating import Ask
from questream.server.problems import CONFLICTS
from questream.server.services import InNamespace, Scope, read_cluster_id
from questream.tools.clusters import NoSuchCluster
from questream.tools.previewing import OperationEffect
from questream.tools.unmerging import Joined

MAX_NAME_CHARACTERS = LABEL_OR_ROUTE_CHARACTERS
MAX_REASON_CHARACTERS = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

router = APIRouter(tags=["operations"])


def check_name(name: str) -> str:
    """A label or route without space around it. Raises ValueError for one with control characters."""
    if _CONTROL.search(name):
        raise ValueError("a name is one line without control characters")
    return name.strip()


Name = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS), AfterValidator(check_name)]
ClusterId = Annotated[str, Field(pattern=r"^c[1-9][0-9]{0,17}$")]
OperationId = Annotated[str, Field(max_length=128, description="An id of yours: the operation is done once for it.")]
Reason = Annotated[str, Field(max_length=MAX_REASON_CHARACTERS, description="Reason, kept in the history.")]
DryRun = Annotated[bool, Field(description="Return what it would do, and change nothing.")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cluster_id: ClusterId
    id: OperationId = ""
    reason: Reason = ""
    dry_run: DryRun = False
    questions: LookedAt = 0


class LabelRequest(_Request):
    """A cluster gets a label; an empty one removes it."""

    op: Literal["label"]
    label: Name


class RouteRequest(_Request):
    """A cluster gets a route; an empty one removes it."""

    op: Literal["route"]
    route: Name


class MergeRequest(_Request):
    """Two clusters become one; the named, else the larger one's id survives."""

    op: Literal["merge"]
    other_id: ClusterId
    drop_names: Annotated[bool, Field(description="Whether the one that goes may lose its label and route.")] = False
    keep: Annotated[ClusterId | None, Field(description="The one of the two whose label and route stay.")] = None


class PinRequest(_Request):
    """A cluster never merges automatically, or may again."""

    op: PinKind


class SeparateRequest(_Request):
    """Two clusters are different: they never merge, nor does what they become."""

    op: Literal["separate"]
    other_id: ClusterId


class UnmergeRequest(_Request):
    """A cluster that was merged away is live again, with questions that joined since and are nearer to it."""

    op: Literal["unmerge"]


class ForgetRequest(_Request):
    """The texts of a cluster and of what it absorbed are erased, for ever; `irreversible` says that this is meant."""

    op: Literal["forget"]
    irreversible: Literal[True]


class StandingRequest(_Request):
    """A cluster is dealt with, or not any more; it raises no events, or does again."""

    op: StatusKind


class DismissRequest(_Request):
    """A suggestion about a cluster, that people name or split it, is made no more."""

    op: Literal["dismiss"]
    suggestion: Dismissible


class RepresentRequest(_Request):
    """A question represents the cluster, in place of the one that opened it: by its id, or another text."""

    op: Literal["represent"]
    question_id: Annotated[str | None, Field(min_length=1, max_length=1000)] = None
    text: Annotated[str | None, Field(min_length=1, max_length=100_000)] = None


AnyRequest = (
    RepresentRequest
    | DismissRequest
    | ForgetRequest
    | LabelRequest
    | RouteRequest
    | MergeRequest
    | PinRequest
    | SeparateRequest
    | UnmergeRequest
    | StandingRequest
)
Request = Annotated[AnyRequest, Field(discriminator="op")]


class Result(BaseModel):
    """The changes of an operation, done or previewed; `drops_names`: a label or a route is lost with it.

    `operation` is its number; what is only previewed has none.
    """

    operation: int | None
    id: str
    op: str
    dry_run: bool
    before: list[Cluster]
    after: Cluster
    drops_names: bool
    corrections: list[Corrected] = []
    effect: OperationEffect | None = None
    unknown: Unknown = None


def ask_for(request: AnyRequest, scope: Scope, joined: Joined) -> Ask:
    """The operation that is requested; a question that is named by its id is read again from Kafka."""
    one = read_cluster_id(request.cluster_id)
    match request:
        case RepresentRequest():
            # Before Kafka is read, which takes seconds.
            find_cluster(scope, one)
            found = scope.services.analysis.chosen(scope.namespace, request.question_id, request.text)
            return lambda made: made.represent(one, found.text, found.place, found.cluster_id)
        case LabelRequest():
            return lambda made: made.label(one, request.label, None)
        case RouteRequest():
            return lambda made: made.label(one, None, request.route)
        case MergeRequest():
            other = read_cluster_id(request.other_id)
            keep = None if request.keep is None else read_cluster_id(request.keep)
            # A preview says what is lost.
            may_drop = request.drop_names or request.dry_run
            return lambda made: made.merge(one, other, lambda *_: may_drop, keep=keep)
        case DismissRequest():
            return lambda made: made.dismiss(one, request.suggestion)
        case PinRequest() | StandingRequest():
            return lambda made: made.mark(request.op, one)
        case ForgetRequest():
            return lambda made: made.forget(one)
        case UnmergeRequest():
            return lambda made: made.unmerge(one, joined.questions)
        case SeparateRequest():
            different = read_cluster_id(request.other_id)
            return lambda made: made.separate(one, different)


@router.post("/namespaces/{namespace}/operations", responses=CONFLICTS)
def operate(
    scope: InNamespace,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> Result:
    """Preview or apply an operation. One that comes again with the same id is not done again."""
    scope.require(Role.OPERATOR)
    parted = read_cluster_id(request.cluster_id) if isinstance(request, UnmergeRequest) else None
    joined = scope.services.analysis.joined(scope.namespace, parted)
    seen = Seen.of(scope, if_match, [request.cluster_id, getattr(request, "other_id", None)])
    try:
        ask = seen.provided(ask_for(request, scope, joined))
    except NoSuchCluster:
        seen.require()
        raise
    operating, id, effect = scope.services.operating, request.id or str(uuid4()), None
    if request.dry_run:
        # Nobody's id: one that was said before would change nothing.
        proposed = operating.preview(scope.namespace, By(""), ask)
        outcome = operating.outlook(scope.namespace, proposed)
        effect = effect_of(scope, proposed, request.questions)
    else:
        outcome = operating.apply(scope.namespace, By(scope.login.name, request.reason, id), ask)
        response.headers["ETag"] = etag_of(outcome.after)
    return Result(
        operation=outcome.number,
        id=id,
        op=request.op,
        dry_run=request.dry_run,
        before=[as_model(state, scope) for state in outcome.before],
        after=as_model(outcome.after, scope),
        drops_names=outcome.drops,
        corrections=[Corrected(**correction_document(one)) for one in outcome.corrections],
        effect=effect,
        unknown=joined.unknown,
    )
