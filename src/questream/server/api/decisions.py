"""Decisions as they come, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from questream.server.decisions import Subscription
from questream.server.services import InNamespace

# A browser asks again at the end, and so shows anew who it is.
_STREAM_SECONDS = 900.0
_BEAT_SECONDS = 10.0
# More than anybody reads: what comes beyond it is counted.
_PER_SECOND = 50

router = APIRouter(tags=["decisions"])


@router.get(
    "/namespaces/{namespace}/decisions",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events `decision` and `skipped`."}},
)
async def follow_decisions(request: Request, scope: InNamespace) -> StreamingResponse:
    """Decisions as they are published: `event: decision`, with the question's text for those who may read it.

    Beyond 50 a second, `event: skipped` has the number of those left out. It ends after 15 minutes; ask again.
    """
    decisions = scope.services.decisions
    # Before the answer begins, so that a refusal is one.
    decisions.require_room()

    async def events() -> AsyncIterator[bytes]:
        async with decisions.subscribe(scope.namespace, scope.reads_texts) as subscription:
            yield b"retry: 2000\n\n"
            async for event in _events(request, subscription):
                yield event

    return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _events(request: Request, subscription: Subscription) -> AsyncIterator[bytes]:
    ends_at = time.monotonic() + _STREAM_SECONDS
    second, sent = 0, 0
    while time.monotonic() < ends_at and not await request.is_disconnected():
        try:
            decision = await asyncio.wait_for(subscription.waiting.get(), _BEAT_SECONDS)
        except TimeoutError:
            yield b": beat\n\n"
            continue
        if int(time.monotonic()) != second:
            second, sent = int(time.monotonic()), 0
            if subscription.skipped:
                count, subscription.skipped = subscription.skipped, 0
                yield _event("skipped", {"count": count})
        if sent >= _PER_SECOND:
            subscription.skipped += 1
            continue
        sent += 1
        yield _event("decision", decision)


def _event(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"
