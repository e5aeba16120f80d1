"""Intents that people know: listed with their examples, and imported before anybody asks."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from questream.operations import By
from questream.operations.intents import known_intents
from questream.server.access import Role
from questream.server.api.operations import DryRun, Name, OperationId, Reason
from questream.server.problems import CONFLICT
from questream.server.services import InNamespace, Scope
from questream.tools.importing import as_document
from questream.tools.intent_files import LONGEST_NAME, GivenIntent

MOST_INTENTS = 1000
MOST_EXAMPLES = 200

router = APIRouter(tags=["intents"])


class KnownIntent(BaseModel):
    """An intent by its label, with its example questions; `threshold` is null for the namespace's."""

    name: str
    route: str | None
    threshold: float | None
    examples: list[str]


class KnownIntents(BaseModel):
    """Intents that have examples with texts, as they were given; so many labels have none."""

    intents: list[KnownIntent]
    labels_without_examples: int


class IntentToImport(BaseModel):
    """An intent: its label, where its questions go, and some of them. A route or threshold that is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Name, Field(min_length=1, max_length=LONGEST_NAME)]
    route: Name | None = None
    threshold: Annotated[float | None, Field(ge=0, le=1, description="0: that of the namespace.")] = None
    examples: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=100_000)]], Field(max_length=MOST_EXAMPLES)
    ] = []


class ImportRequest(BaseModel):
    """Intents to import, each once; more than a body holds are imported in parts."""

    model_config = ConfigDict(extra="forbid")

    intents: Annotated[list[IntentToImport], Field(min_length=1, max_length=MOST_INTENTS)]
    id: OperationId = ""
    reason: Reason = ""
    dry_run: DryRun = False


class ImportedIntent(BaseModel):
    """The effect of an import on an intent: `change` is new, changed or none."""

    name: str
    change: str
    examples_added: int
    clusters_opened: int
    clusters_changed: list[str]


class OverlapOf(BaseModel):
    """So many examples of an intent would join a cluster of another label, null for one without."""

    intent: str
    label: str | None
    cluster_id: str | None
    examples: int
    similarity: float


class Imported(BaseModel):
    """The effect of an import, done or planned; `operations` is empty where nothing was changed."""

    operations: list[int]
    intents: list[ImportedIntent]
    overlaps: list[OverlapOf]
    dry_run: bool


@router.get("/namespaces/{namespace}/intents")
def list_intents(scope: InNamespace) -> KnownIntents:
    """The known intents, as an import takes them; examples are texts, for those who may read these."""
    states = sorted(scope.services.catalogues.get(scope.namespace).states(), key=lambda one: one.cluster_id)
    found, without = known_intents(states)
    return KnownIntents(
        intents=[KnownIntent(**asdict(one if scope.reads_texts else replace(one, examples=[]))) for one in found],
        labels_without_examples=without,
    )


@router.post("/namespaces/{namespace}/intents/import", responses=CONFLICT)
def import_intents(scope: InNamespace, request: ImportRequest) -> Imported:
    """Preview or open clusters of intents that people know, with the server's model. Said again it changes nothing."""
    given = [
        GivenIntent(one.name, one.route, one.threshold, list(enumerate(one.examples, 1))) for one in request.intents
    ]
    return import_given(scope, Path("intents"), given, request.id, request.reason, dry_run=request.dry_run)


def import_given(
    scope: Scope, path: Path, given: list[GivenIntent], id: str, reason: str, *, dry_run: bool
) -> Imported:
    """Import intents, or preview that.

    Raises Refused, OperationRefused, and QuestionFileError for an example.
    """
    scope.require(Role.OPERATOR)
    plan = scope.services.analysis.plan_of(scope.namespace, path, given)
    by = By(scope.login.name, reason, id)
    done = [] if dry_run else scope.services.operating.import_intents(scope.namespace, by, plan)
    return Imported(**as_document(plan, done), dry_run=dry_run)
