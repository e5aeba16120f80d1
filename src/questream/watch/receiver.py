"""A receiver of webhooks, over HTTP: what became of one request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import httpx2

from questream.watch.retry_after import seconds_to_wait
from questream.watch.trust import trusted_certificates

# Statuses that concern this request alone. All other refusals pass once the receiver or its address is mended.
_REFUSING = frozenset({400, 413, 415, 422})


class Outcome(NamedTuple):
    """`fault` is None where the receiver took the request, else why not, without its address.

    `may_pass`: the same request may be taken later, not before `wait_seconds` if the receiver says so.
    """

    fault: str | None = None
    may_pass: bool = True
    wait_seconds: float = 0.0


class Receiver:
    """Sends to one URL. It follows no redirect, and a request ends within `timeout_seconds`, whatever comes back."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds

    def send(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Blocks until there is an answer or none in time; no body of an answer is read."""
        return asyncio.run(self._send(body, dict(headers)))

    async def _send(self, body: bytes, headers: dict[str, str]) -> Outcome:
        try:
            async with (
                # For all of it: a receiver that sends a byte now and then must not hold on for ever.
                asyncio.timeout(self._timeout_seconds),
                httpx2.AsyncClient(
                    verify=trusted_certificates(), follow_redirects=False, timeout=self._timeout_seconds
                ) as client,
                client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                return _outcome(response.status_code, response.headers.get("retry-after", ""))
        except TimeoutError:
            return Outcome(f"no answer within {self._timeout_seconds:g} s")
        except httpx2.HTTPError as error:
            # Its message may hold the address.
            return Outcome(type(error).__name__)


def _outcome(status: int, retry_after: str) -> Outcome:
    if 200 <= status < 300:
        return Outcome()
    if 300 <= status < 400:
        return Outcome(f"HTTP {status}: it redirects to another address, which is not followed")
    may_pass = status not in _REFUSING
    return Outcome(f"HTTP {status}", may_pass=may_pass, wait_seconds=seconds_to_wait(retry_after))
