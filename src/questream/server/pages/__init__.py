"""The page: server-rendered, a file for each view, with styles and scripts of its own."""

from __future__ import annotations

from fastapi import APIRouter

from questream.server.pages import (
    asking,
    changes,
    clusters,
    communities,
    dead_letters,
    events,
    health,
    intents,
    levels,
    live,
    login,
    operations,
    rules,
    suggestions,
    undo,
)
from questream.server.pages.rendering import show_refusal

__all__ = ["router", "show_refusal"]

router = APIRouter()
for part in (
    login,
    clusters,
    levels,
    intents,
    communities,
    changes,
    operations,
    undo,
    suggestions,
    events,
    live,
    asking,
    rules,
    dead_letters,
    health,
):
    router.include_router(part.router)
