"""Dead letters, and their replay. They belong to the stream, not to a namespace."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from questream.broker.dead_letters import DeadLetter
from questream.server.access import Role
from questream.server.problems import CONFLICT
from questream.server.services import LoggedIn, Serving, require_everywhere

MOST_VALUE_CHARACTERS = 2000

router = APIRouter(tags=["dead letters"])


class Letter(BaseModel):
    """A dead letter; `value` is null for those who may not read texts, and where it is kept by reference."""

    partition: int
    offset: int
    time: str
    reason: str
    stage: str
    origin: dict[str, Any] | None
    bytes: int | None
    replayed: bool
    value: str | None


class LetterList(BaseModel):
    """The newest dead letters, and how many there are for each reason; `open` counts those that were not sent back."""

    letters: list[Letter]
    by_reason: dict[str, int]
    open: dict[str, int]


class ReplayRequest(BaseModel):
    """A choice of dead letters to send back; without a reason all of them."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str | None, Field(max_length=100)] = None
    dry_run: bool = False


class ReplayResult(BaseModel):
    """The dead letters that were sent, or would be, and those that stay, by cause."""

    dry_run: bool
    sent: int
    other_reason: int
    other_topic: int
    no_origin: int
    gone: int
    too_large: int


def as_dead_letter(letter: DeadLetter, replayed: bool, reads_texts: bool) -> Letter:
    """A dead letter as it is shown to somebody."""
    value = None if letter.value is None or not reads_texts else letter.value[: 4 * MOST_VALUE_CHARACTERS]
    return Letter(
        partition=letter.partition,
        offset=letter.offset,
        time=datetime.fromtimestamp(max(0, letter.timestamp) / 1000, UTC).isoformat(timespec="seconds"),
        reason=letter.reason,
        stage=letter.stage,
        origin=letter.origin._asdict() if letter.origin else None,
        bytes=letter.reference.value_bytes if letter.reference else len(letter.value or b""),
        replayed=replayed,
        value=None if value is None else value.decode(errors="replace")[:MOST_VALUE_CHARACTERS],
    )


@router.get("/dead-letters")
def list_dead_letters(
    services: Serving,
    login: LoggedIn,
    reason: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> LetterList:
    """The newest dead letters, at most the 500 newest of all reasons, as of ten seconds ago at most."""
    require_everywhere(login, Role.VIEWER)
    found = services.letters.letters().value
    chosen = [one for one in found.newest if reason is None or one[0].reason == reason]
    return LetterList(
        letters=[as_dead_letter(letter, replayed, login.reads_texts()) for letter, replayed in chosen[:limit]],
        by_reason=dict(found.by_reason),
        open=dict(found.open_by_reason),
    )


@router.post("/dead-letters/replay", responses=CONFLICT)
def replay_dead_letters(services: Serving, login: LoggedIn, request: ReplayRequest) -> ReplayResult:
    """Send dead letters back to the input topic, each once: a second replay sends only what is new."""
    require_everywhere(login, Role.ADMIN)
    count = (services.letters.count if request.dry_run else services.letters.replay)(request.reason)
    return ReplayResult(dry_run=request.dry_run, **asdict(count))
