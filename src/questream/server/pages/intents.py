"""The intents that people know, as a table and as a file, and the form that brings others."""

from __future__ import annotations

import io
import secrets
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from questream.errors import QuestreamError
from questream.operations.intents import ExportedIntent
from questream.server.access import Role
from questream.server.api.intents import Imported, import_given, list_intents
from questream.server.pages.changes import done_link, read_done
from questream.server.pages.forms import Form, first, read_id, read_reason
from questream.server.pages.rendering import link, render
from questream.server.problems import Refused
from questream.server.services import InNamespace, Scope
from questream.tools.intent_files import GivenIntent, read_intents, write_csv, write_jsonl

_SHOWN = 500
_GIVEN = Path("what you gave")

router = APIRouter()


@router.get("/n/{namespace}/intents")
def show_intents(request: Request, scope: InNamespace) -> Response:
    """The known intents, and a form that takes more as the lines of a file."""
    return _show(request, scope)


@router.get("/n/{namespace}/intents/file.{format}")
def export(scope: InNamespace, format: Literal["csv", "jsonl"]) -> Response:
    """The known intents as `questream intents import` reads them. Raises Refused for those who may not read texts."""
    if not scope.reads_texts:
        raise Refused(HTTPStatus.FORBIDDEN, "the examples are texts of questions, which you may not read")
    given = [ExportedIntent(one.name, one.route, one.threshold, one.examples) for one in list_intents(scope).intents]
    file = io.StringIO()
    (write_csv if format == "csv" else write_jsonl)(file, given)
    kind = "text/csv" if format == "csv" else "application/jsonl"
    headers = {"Content-Disposition": f'attachment; filename="intents.{format}"'}
    return Response(file.getvalue(), media_type=f"{kind}; charset=utf-8", headers=headers)


@router.post("/n/{namespace}/intents")
def bring(request: Request, scope: InNamespace, fields: Form) -> Response:
    """Show what the lines would do, or import them where that was looked at."""
    scope.require(Role.OPERATOR)
    lines, id = fields.get("lines", [""])[0], read_id(fields)
    try:
        given = _read(lines)
        looked_at = import_given(scope, _GIVEN, given, "", "", dry_run=True)
        # A change since the preview is previewed first.
        if not first(fields, "agreed") or first(fields, "seen") != _mark(lines):
            return _show(request, scope, lines=lines, looked_at=looked_at)
        done = import_given(scope, _GIVEN, given, id, read_reason(fields), dry_run=False)
    except (Refused, QuestreamError) as error:
        return _show(request, scope, lines=lines, refusal=Refused.by(error))
    query = done_link("intents" if done.operations else "known", done.operations)
    return RedirectResponse(link(f"/n/{scope.namespace}/intents", **query), HTTPStatus.SEE_OTHER)


def _read(lines: str) -> list[GivenIntent]:
    """The intents of lines as a file has them: JSON, or a table with a header."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "intents"
        path.write_text(lines, encoding="utf-8")
        try:
            return read_intents(path)
        except QuestreamError as error:
            raise QuestreamError(str(error).replace(str(path), str(_GIVEN))) from None


def _mark(lines: str) -> str:
    """Changes with any line."""
    return sha256("\n".join(lines.splitlines()).encode()).hexdigest()


def _show(
    request: Request,
    scope: Scope,
    *,
    lines: str = "",
    looked_at: Imported | None = None,
    refusal: Refused | None = None,
) -> Response:
    known = list_intents(scope)
    return render(
        request,
        "intents.html",
        scope.login,
        scope,
        intents=known.intents[:_SHOWN],
        count=len(known.intents),
        without=known.labels_without_examples,
        lines=lines,
        looked_at=looked_at,
        seen=_mark(lines),
        refusal=refusal,
        id=secrets.token_urlsafe(16),
        operates=scope.login.may(Role.OPERATOR, scope.namespace),
        done=read_done(request),
    )
