"""The quality of preparing mails around questions, and of clustering what it leaves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.lab.bench.mails.making import mails_around, wording_of
from questream.lab.evaluation.agreement import Agreement, Labels, agreement
from questream.lab.evaluation.online import cluster_online
from questream.prepared import about_in
from questream.preparing import KnownSentences, Preparation
from questream.preparing.repeated import LEAST_MAILS, NO_COUNTS, SeenMails
from questream.settings import InputSettings


@dataclass(frozen=True, slots=True)
class Left:
    """Figures of prepared mails: `exact` is the question alone, `lost` not all of it.

    `words_beside` is how many words beside the question each of the others kept, as a mean. `microseconds` are of the
    processor, for one mail.
    """

    mails: int
    exact: int
    lost: int
    words_beside: float
    microseconds: float


@dataclass(frozen=True, slots=True)
class MailFigures:
    """Mails in one language, as they are published: `mail` where they are read as they came, `prepared` where not."""

    language: str
    left: Left
    mail: Agreement
    prepared: Agreement


def in_a_new_namespace(settings: InputSettings) -> Callable[[str], str]:
    """The preparation of a worker with these settings that exchanges its counts of sentences every 32 mails."""
    counts, seen = NO_COUNTS, SeenMails()
    prepare = Preparation(settings, lambda _: KnownSentences(counts.repeated, seen))

    def prepared(mail: str) -> str:
        nonlocal counts, seen
        text = prepare(mail)
        if seen.mails >= LEAST_MAILS:
            counts, seen = counts.added(seen.mails, seen.counts), SeenMails()
        return text

    return prepared


def left_of(questions: Sequence[str], mails: Sequence[str], prepare: Callable[[str], str]) -> tuple[Left, list[str]]:
    """The prepared mails around these questions, in figures and in full.

    The words that the model reads of it are compared.
    """
    began = time.process_time()
    prepared = [prepare(mail) for mail in mails]
    seconds = time.process_time() - began
    read = [about_in(text) for text in prepared]
    asked, kept = ([Counter(text.split()) for text in texts] for texts in (questions, read))
    whole = [question <= text for question, text in zip(asked, kept, strict=True)]
    beside = sum(
        text.total() - question.total() for question, text, is_whole in zip(asked, kept, whole, strict=True) if is_whole
    )
    exact = sum(question == text for question, text in zip(asked, kept, strict=True))
    figures = Left(
        mails=len(mails),
        exact=exact,
        lost=len(mails) - sum(whole),
        words_beside=beside / max(1, sum(whole) - exact),
        microseconds=1e6 * seconds / max(1, len(mails)),
    )
    return figures, prepared


def clustered(texts: Sequence[str], gold: Labels, encode: Callable[[Sequence[str]], Matrix], rules: Rules) -> Agreement:
    """The quality of clustering these texts one after the other, as published."""
    found = cluster_online(encode(texts), rules, texts)
    return agreement(found.as_published.tolist(), gold.tolist())


def measure_mails(
    questions: Sequence[str],
    gold: Labels,
    languages: Sequence[str],
    seed: int,
    preparation: Callable[[], Callable[[str], str]],
    encode: Callable[[Sequence[str]], Matrix],
    rules: Rules,
) -> Iterator[MailFigures]:
    """The figures of each language, in turn, each in a namespace of its own: by a new `preparation`."""
    for language in languages:
        mails = list(mails_around(questions, wording_of(language), seed))
        left, prepared = left_of(questions, mails, preparation())
        yield MailFigures(
            language, left, clustered(mails, gold, encode, rules), clustered(prepared, gold, encode, rules)
        )
