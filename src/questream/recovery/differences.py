"""The findings of `questream verify`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """A promise that does not hold in a namespace, and what to do."""

    namespace: str
    promise: str
    told: str
    remedy: str
