"""The health of the stream."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel

from questream.records.times import format_time
from questream.server.access import Role
from questream.server.rates import RATE_SECONDS
from questream.server.services import LoggedIn, Services, Serving, require_everywhere

router = APIRouter(tags=["health"])


class Lag(BaseModel):
    """A partition of the input topic; `committed` is null before the workers' group began."""

    partition: int
    end: int
    committed: int | None
    lag: int


class PublishedRates(BaseModel):
    """Records a second, the mean of `seconds` or of the time since this server follows the topic; null before that."""

    decided_per_second: float | None
    dead_letters_per_second: float | None
    seconds: int = RATE_SECONDS


class FoundByDoctor(BaseModel):
    """A line of `questream doctor`."""

    check: str
    status: str
    told: str
    remedy: str | None


class Health(BaseModel):
    """The lag of the workers, their rates, and for operators the doctor's findings."""

    lag: int
    partitions: list[Lag]
    lag_at: str
    rates: PublishedRates
    follows_clusters: bool
    findings: list[FoundByDoctor] | None
    findings_at: str | None


def rates_of(services: Services) -> PublishedRates:
    """The present rates of decisions and dead letters."""
    rates = services.rates
    return PublishedRates(
        decided_per_second=rates.decided.per_second(), dead_letters_per_second=rates.dead_letters.per_second()
    )


@router.get("/health")
def show_health(services: Serving, login: LoggedIn) -> Health:
    """Lag, as of five seconds ago at most, and the doctor's findings, as of a minute ago."""
    require_everywhere(login, Role.VIEWER)
    lag = services.lag.get()
    partitions = [Lag(partition=p.partition, end=p.end, committed=p.committed, lag=p.lag) for p in lag.value]
    findings = services.findings.get(20.0) if login.may(Role.OPERATOR) else None
    return Health(
        lag=sum(one.lag for one in partitions),
        partitions=partitions,
        lag_at=format_time(lag.at),
        rates=rates_of(services),
        follows_clusters=services.catalogues.is_following(),
        findings=findings and [FoundByDoctor(**asdict(one)) for one in findings.value],
        findings_at=findings and format_time(findings.at),
    )
