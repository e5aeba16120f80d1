"""The page: server-rendered, a file for each view, with styles and scripts of its own."""

from __future__ import annotations

from fastapi import APIRouter

from questream.server.pages import (
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
    lookup,
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
    lookup,
    rules,
    dead_letters,
    health,
):
    router.include_router(part.router)
