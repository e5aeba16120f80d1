"""The page that shows which cluster a question would join, and why."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from questream.errors import QuestreamError
from questream.operations import Answer
from questream.server.pages.forms import Form, first
from questream.server.pages.rendering import render
from questream.server.problems import Refused
from questream.server.services import InNamespace

_MOST_CHARACTERS = 20_000

router = APIRouter()


@router.get("/n/{namespace}/ask")
def show_question(request: Request, scope: InNamespace) -> Response:
    """The form for a question."""
    return render(request, "ask.html", scope.login, scope, text="", answer=None, threshold=0.0)


@router.post("/n/{namespace}/ask")
def ask(request: Request, scope: InNamespace, fields: Form) -> Response:
    """The answer, beneath the question; by POST, so that no address or log has the text."""
    text = first(fields, "text")[:_MOST_CHARACTERS]
    answer: Answer | None = None
    threshold, refusal = 0.0, None
    try:
        if text:
            answer, rules = scope.services.analysis.ask(scope.namespace, text)
            threshold = rules.threshold
    except (Refused, QuestreamError) as error:
        refusal = Refused.by(error)
    return render(
        request, "ask.html", scope.login, scope, refusal=refusal, text=text, answer=answer, threshold=threshold
    )
