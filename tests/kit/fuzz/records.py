"""Hostile records from a seed: valid ones of every kind, then broken in one way or several."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.kit.stream import RawName

Header = tuple[str, bytes | None]

WORDS = (
    "where",
    "is",
    "my",
    "card",
    "how",
    "do",
    "I",
    "close",
    "an",
    "account",
    "why",
    "was",
    "it",
    "declined",
    "¿dónde?",
    "卡",
)
NAMESPACES = ("acme", "a.b-c_d", "0", "X" * 64)
ODD_NAMESPACES = ("", "a/b", "-a", "a b", "é", "a\x00b", "X" * 65, "{a}", "a:b", "..", "a\nb", "questream:{x}")
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -0.0, -1, 2**53, 2**63, 2**64, -(2**70), 10**400, 1e308, 5e-324, 0.1),
    *("", " ", "\x00", "\u200b", "\ud800", "\udc00\ud800", "\ufeff", "\U0010ffff", "a\x00b", "NaN", "null"),
    *([], {}, [[]], [None], {"text": "inner"}, [{"id": 1}]),
)
# What json.dumps cannot write: numbers without a double, words that are no JSON, escapes that are no character.
ODD_LITERALS: tuple[bytes, ...] = (
    *(b"NaN", b"-Infinity", b"1e999", b"-1e999", b"0x10", b"01", b"1.", b".5", b"+1", b"1e", b"9" * 400, b"undefined"),
    *(b'"\\ud800"', b'"\\u0000"', b'"\\x41"', b"'single'", b'"\xff"', b'"\xed\xa0\x80"', b'"\t"'),
)
MEDIA_TYPES: tuple[bytes, ...] = (
    *(b"application/json", b"text/plain", b"application/cloudevents+json", b"application/cloudevents", b"/json"),
    *(b"application/json; charset=utf-16", b"image/png", b"", b"\xff", b"text/plain;charset=\xff"),
)
TIMESTAMPS_MS = (-(2**62), -(10**15), -1, 0, 1, 1_700_000_000_000, 1_700_000_000_000_000, 10**18, 2**62)
HUGE_BYTES = 1_200_000


@dataclass(frozen=True, slots=True)
class Hostile:
    """What is sent; `timestamp_ms` None leaves it to the producer."""

    value: bytes | None
    key: bytes | None
    headers: tuple[Header, ...]
    timestamp_ms: int | None


def hostile_record(seed: int, number: int) -> Hostile:
    """The record of this number in the stream of this seed; the same on every machine."""
    rng = random.Random(f"{seed}/{number}")
    value, headers = rng.choice(KINDS)(rng)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        value = rng.choice(BREAKS)(rng, value)
    headers = _break_headers(rng, headers)
    sent = None if rng.random() < 0.01 else value
    key = rng.choice((None, b"", b"k", b"\x00\xff", rng.randbytes(8)))
    return Hostile(sent, key, tuple(headers), rng.choice(TIMESTAMPS_MS) if rng.random() < 0.2 else None)


def _text(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 4)))


def _document(rng: random.Random) -> dict[str, Any]:
    document: dict[str, Any] = {"id": f"q{rng.randint(0, 999)}", "text": _text(rng)}
    if rng.random() < 0.3:
        document["ns"] = rng.choice(NAMESPACES) if rng.random() < 0.7 else rng.choice(ODD_NAMESPACES)
    if rng.random() < 0.3:
        document[rng.choice(("id", "text", "ns", "more"))] = rng.choice(ODD_VALUES)
    if rng.random() < 0.1:
        document = {"q": document}
    return document


def _dump(rng: random.Random, document: Any) -> bytes:
    """JSON as several producers write it, surrogates as escapes or as (invalid) UTF-8 included."""
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, None, 1)))
    return text.encode("utf-8", "surrogatepass")


def _json(rng: random.Random) -> tuple[bytes, list[Header]]:
    headers: list[Header] = [("content-type", rng.choice(MEDIA_TYPES))] if rng.random() < 0.2 else []
    return _dump(rng, _document(rng)), headers


def _plain(rng: random.Random) -> tuple[bytes, list[Header]]:
    return _text(rng).encode(), []


def _attributes(rng: random.Random) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"e{rng.randint(0, 999)}",
        "source": "/s",
        "type": "asked",
    }
    if rng.random() < 0.3:
        attributes[rng.choice((*attributes, "datacontenttype", "time"))] = rng.choice(ODD_VALUES)
    if rng.random() < 0.15:
        del attributes[rng.choice(tuple(attributes))]
    return attributes


def _structured_event(rng: random.Random) -> tuple[bytes, list[Header]]:
    event = _attributes(rng)
    data = rng.choice((_document(rng), _text(rng), rng.choice(ODD_VALUES)))
    if rng.random() < 0.3:
        event["data_base64"] = base64.b64encode(_dump(rng, data)).decode() + rng.choice(("", "", "=", "é", "!"))
    if "data_base64" not in event or rng.random() < 0.2:
        event["data"] = data
    headers: list[Header] = [("content-type", rng.choice(MEDIA_TYPES))] if rng.random() < 0.5 else []
    return _dump(rng, event), headers


def _binary_event(rng: random.Random) -> tuple[bytes, list[Header]]:
    value, headers = rng.choice((_json, _plain))(rng)
    named = [(f"ce_{name}", str(given).encode("utf-8", "replace")) for name, given in _attributes(rng).items()]
    return value, [*headers, *named]


def _cut(rng: random.Random, value: bytes) -> bytes:
    return value[: rng.randint(0, len(value))]


def _flip(rng: random.Random, value: bytes) -> bytes:
    damaged = bytearray(value or b"\x00")
    for _ in range(rng.randint(1, 3)):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _insert(rng: random.Random, value: bytes) -> bytes:
    at = rng.randint(0, len(value))
    piece = rng.choice((b"\x00", b"\xff", b"{", b"}", b'"', b"\\", b"\xef\xbb\xbf", b"\r\n", rng.randbytes(4)))
    return value[:at] + piece + value[at:]


def _odd_literal(rng: random.Random, value: bytes) -> bytes:
    """A value of the document replaced by something that is not JSON, or hardly."""
    before, colon, after = value.partition(b":")
    return before + colon + rng.choice(ODD_LITERALS) + after[after.find(b",") :] if colon else rng.choice(ODD_LITERALS)


def _repeat_key(rng: random.Random, value: bytes) -> bytes:
    name = rng.choice((b"text", b"id", b"ns", b"specversion", b"data"))
    return value.replace(b"{", b'{"%b": %b, ' % (name, rng.choice((b'"first"', b"1", b"null"))), 1)


def _deep(rng: random.Random, value: bytes) -> bytes:
    depth = rng.choice((100, 1023, 1024, 1025, 5000))
    opened, closed = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return (
        b'{"text": "deep", "more": ' + opened * depth + (b"1" if rng.random() < 0.5 else value) + closed * depth + b"}"
    )


def _huge(rng: random.Random, value: bytes) -> bytes:
    # Rare: each is a thousand times an ordinary record.
    if rng.random() > 0.002:
        return value
    return value.replace(b"w", b"long " * rng.randint(1, HUGE_BYTES // 5), 1)


def _noise(rng: random.Random, value: bytes) -> bytes:
    return rng.randbytes(rng.randint(0, 64))


def _break_headers(rng: random.Random, headers: list[Header]) -> list[Header]:
    broken = list(headers)
    if rng.random() < 0.3:
        broken.append(("ns", rng.choice((*NAMESPACES, *ODD_NAMESPACES)).encode()))
    if rng.random() < 0.1:
        broken.append(("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
    if rng.random() < 0.1:
        broken.append((RawName(rng.randbytes(rng.randint(0, 6))), rng.choice((None, b"", b"\xff", rng.randbytes(5)))))
    if rng.random() < 0.05:
        broken.append((rng.choice(("questream-reason", "questream-offset", "questream-mine")), rng.randbytes(3)))
    if broken and rng.random() < 0.1:
        at = rng.randrange(len(broken))
        broken[at] = (broken[at][0], rng.choice((None, b"", b"\xff\xfe", b"\x00")))
    if rng.random() < 0.1:
        rng.shuffle(broken)
    return broken


def _batch(rng: random.Random) -> tuple[bytes, list[Header]]:
    """An array of events or of messages, of one more often than not."""
    kind = rng.choice((_attributes, _document))
    messages = [kind(rng) | {"data": _document(rng)} for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    headers: list[Header] = [("content-type", b"application/cloudevents-batch+json")] if rng.random() < 0.5 else []
    return _dump(rng, messages), headers


def _change(rng: random.Random) -> tuple[bytes, list[Header]]:
    """What Debezium sends, in Connect's envelope or bare, with one part of it odd now and then."""
    rows = [None, _document(rng), _document(rng), json.dumps(_document(rng)), rng.choice(ODD_VALUES)]
    change: dict[str, Any] = {
        "before": rng.choice(rows),
        "after": rng.choice(rows),
        "source": {"db": rng.choice(NAMESPACES)},
        "op": rng.choice(("c", "r", "u", "d", "t", "m", "x", *ODD_VALUES)),
    }
    if rng.random() < 0.2:
        del change[rng.choice(tuple(change))]
    if rng.random() < 0.2:
        change["__deleted"] = rng.choice(("true", "false", True, *ODD_VALUES))
    if rng.random() < 0.5:
        return _dump(rng, {"schema": rng.choice((None, {"type": "struct"}, *ODD_VALUES)), "payload": change}), []
    return _dump(rng, change), []


def _framed(rng: random.Random) -> tuple[bytes, list[Header]]:
    """A schema registry's frame around JSON or around bytes of no text."""
    frame = rng.choice((b"\0", b"\x03\0", b"\x03\x05", b"\x01", b"Obj\x01")) + rng.randbytes(rng.choice((4, 8, 16)))
    headers: list[Header] = [("__value_schema_id", rng.randbytes(17))] if rng.random() < 0.2 else []
    return frame + rng.choice((_dump(rng, _document(rng)), rng.randbytes(20))), headers


KINDS: tuple[Callable[[random.Random], tuple[bytes, list[Header]]], ...] = (
    *(_json, _json, _plain, _structured_event, _binary_event, _batch, _change, _framed),
)
BREAKS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(_cut, _flip, _flip, _insert, _odd_literal, _repeat_key, _deep, _huge, _noise),
)
