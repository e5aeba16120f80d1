"""Mails around questions: what people write above and below what they ask."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from html import escape
from importlib.resources import files
from random import Random

LANGUAGES = ("en", "de", "fr", "es")

# How many mails of a hundred have what not every mail has.
_COURTESY, _REFERENCE, _ANSWER, _HEADER, _SIGNATURE, _NOTICE, _THREAD = 60, 30, 50, 15, 40, 30, 40
_ONE_PARAGRAPH, _BLANK_LINES, _HTML = 40, 30, 25


@dataclass(frozen=True, slots=True)
class Wording:
    """The phrases of a language around a question; `{name}` and the like are filled in.

    `courtesies` and `references` are above the question, `answers` (what is wanted of the reader) below it.
    """

    names: Sequence[str]
    greetings: Sequence[str]
    courtesies: Sequence[str]
    references: Sequence[str]
    answers: Sequence[str]
    closings: Sequence[str]
    signatures: Sequence[str]
    notices: Sequence[str]
    threads: Sequence[str]
    headers: Sequence[str]


def wording_of(language: str) -> Wording:
    """The wording of one of LANGUAGES."""
    text = (files("questream.lab.bench.mails") / "wording" / f"{language}.toml").read_text("utf-8")
    read = tomllib.loads(text)
    return Wording(**{field.name: read[field.name] for field in fields(Wording)})


def mails_around(questions: Sequence[str], wording: Wording, seed: int) -> Iterator[str]:
    """A mail around each question, plain or HTML; the same ones for the same seed."""
    random = Random(seed)  # noqa: S311 - the same mails again, no secret
    for question in questions:
        mail = _mail(question, wording, random)
        yield _html(mail) if _happens(random, _HTML) else mail


def _mail(question: str, wording: Wording, random: Random) -> str:
    name, other = random.sample(list(wording.names), 2)
    known = {
        "name": name,
        "first": name.split()[0],
        "other": other,
        "number": random.randrange(10_000, 10_000_000),
        "short": random.randrange(100, 1000),
    }

    def said(those: Sequence[str], of_hundred: int = 100) -> list[str]:
        return [random.choice(those).format_map(known)] if _happens(random, of_hundred) else []

    # A text that is no sentence is on a line of its own.
    above = [one + "\n" * (one[-1] not in ".)") for one in said(wording.references, _REFERENCE)]
    sentences = [*said(wording.courtesies, _COURTESY), *above, question, *said(wording.answers, _ANSWER)]
    between = " " if _happens(random, _ONE_PARAGRAPH) else "\n\n" if _happens(random, _BLANK_LINES) else "\n"
    return "\n".join(
        [
            *said(wording.headers, _HEADER),
            *said(wording.greetings),
            "",
            between.join(sentences),
            "",
            *said(wording.closings),
            name,
            *said(wording.signatures, _SIGNATURE),
            "",
            *said(wording.notices, _NOTICE),
            "",
            *said(wording.threads, _THREAD),
        ]
    )


def _happens(random: Random, of_hundred: int) -> bool:
    return random.randrange(100) < of_hundred


def _html(mail: str) -> str:
    lines = (f"<p>{escape(line)}</p>" if line else "<br>" for line in mail.split("\n"))
    return f"<html><body>{''.join(lines)}</body></html>"
