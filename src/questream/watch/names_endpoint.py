"""An endpoint that speaks OpenAI's API for chats, asked for one name: what it answered, or why it did not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import httpx2
import orjson

from questream.settings import NameSettings
from questream.watch.retry_after import seconds_to_wait
from questream.watch.trust import trusted_certificates

_MOST_ANSWER_BYTES = 262_144
_MOST_ANSWER_TOKENS = 40


class Answer(NamedTuple):
    """`text` is what the model said; else `fault` says why there is none, without address, key or text.

    `wait_seconds` is how long the endpoint asks to be left alone.
    """

    text: str | None = None
    fault: str | None = None
    wait_seconds: float = 0.0


class NamesEndpoint:
    """Asks one endpoint. It follows no redirect; a request ends within `names.timeout_seconds`, whatever comes back."""

    def __init__(self, names: NameSettings) -> None:
        base = "" if names.endpoint is None else names.endpoint.get_secret_value()
        self._url = f"{base.rstrip('/')}/chat/completions"
        self._model = names.model
        self._timeout_seconds = names.timeout_seconds
        key = names.key
        self._headers = {
            "content-type": "application/json",
            "user-agent": "questream",
            "accept-encoding": "identity",
            **({} if key is None else {"authorization": f"Bearer {key.get_secret_value()}"}),
        }

    def ask(self, messages: Sequence[dict[str, str]]) -> Answer:
        """Blocks until there is an answer, or none in time."""
        request = {
            "model": self._model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": _MOST_ANSWER_TOKENS,
            "stream": False,
        }
        return asyncio.run(self._ask(orjson.dumps(request)))

    async def _ask(self, body: bytes) -> Answer:
        try:
            async with (
                # For all of it: one that sends a byte now and then must not hold on for ever.
                asyncio.timeout(self._timeout_seconds),
                httpx2.AsyncClient(
                    verify=trusted_certificates(), follow_redirects=False, timeout=self._timeout_seconds
                ) as client,
                client.stream("POST", self._url, content=body, headers=self._headers) as response,
            ):
                if response.status_code != 200:
                    wait_seconds = seconds_to_wait(response.headers.get("retry-after", ""))
                    return Answer(fault=f"HTTP {response.status_code}", wait_seconds=wait_seconds)
                read = bytearray()
                # As it comes: a few bytes that are unpacked may be a gigabyte.
                async for part in response.aiter_raw():
                    read += part
                    if len(read) > _MOST_ANSWER_BYTES:
                        return Answer(fault=f"an answer of more than {_MOST_ANSWER_BYTES:,} bytes")
        except TimeoutError:
            return Answer(fault=f"no answer within {self._timeout_seconds:g} s")
        except httpx2.HTTPError as error:
            # Its message may hold the address.
            return Answer(fault=type(error).__name__)
        return _answer(bytes(read))


def _answer(body: bytes) -> Answer:
    try:
        text = orjson.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        text = None
    return Answer(text) if isinstance(text, str) else Answer(fault="an answer that is not a chat completion")
