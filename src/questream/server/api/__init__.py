"""The HTTP API, `/api/v1`: a file for each kind of thing."""

from __future__ import annotations

from fastapi import APIRouter

from questream.server.api import (
    assign,
    binding,
    clusters,
    communities,
    dead_letters,
    decisions,
    events,
    health,
    history,
    intents,
    levels,
    members,
    namespaces,
    operations,
    rules,
    suggestions,
)
from questream.server.problems import ANSWERS

router = APIRouter(prefix="/api/v1", responses=ANSWERS)
PARTS = (
    namespaces,
    clusters,
    levels,
    intents,
    members,
    operations,
    history,
    suggestions,
    rules,
    binding,
    communities,
    assign,
    decisions,
    events,
    dead_letters,
    health,
)
for part in PARTS:
    router.include_router(part.router)
