"""Sentences that stand in many mails of a namespace frame them; what people write about in the same words does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.prepared import about_in
from questream.preparing import KnownSentences, Preparation
from questream.preparing.line import Line
from questream.preparing.repeated import (
    LEAST_MAILS,
    MOST_MAILS,
    MOST_SENTENCES,
    NO_COUNTS,
    SeenMails,
    SentenceCounts,
    digest_of,
)
from questream.settings import InputSettings

FORM = "Kiosk Aldermoor, desk Vantry."


def mail(*said: str) -> str:
    return "\n".join(["Dear support team,", "", *said, "", "Kind regards,", "Anna Meyer"])


def prepared(mails: list[str]) -> list[str]:
    """As one worker prepares them that exchanges its counts after each mail."""
    counts, seen = NO_COUNTS, SeenMails()
    prepare = Preparation(InputSettings(), lambda _: KnownSentences(counts.repeated, seen))
    texts = []
    for one in mails:
        texts.append(about_in(prepare(one)))
        counts, seen = counts.added(seen.mails, seen.counts), SeenMails()
    return texts


def digest(sentence: str) -> str:
    return digest_of(Line(sentence).words)


def test_a_line_of_a_form_frames_once_many_mails_have_had_it() -> None:
    asked = [f"Can I pay {number} dollars?" for number in range(2 * LEAST_MAILS)]
    texts = prepared([mail(FORM, one) for one in asked])
    assert texts[0] == f"{FORM}\n{asked[0]}"
    assert texts[LEAST_MAILS:] == asked[LEAST_MAILS:]


def test_numbers_in_it_may_differ() -> None:
    texts = prepared([mail(f"Kiosk Aldermoor, desk {number}.", "Can I pay in dollars?") for number in range(64)])
    assert texts[-1] == "Can I pay in dollars?"


def test_a_question_of_many_people_is_what_their_mails_are_about() -> None:
    asked = [mail("Can I pay in dollars?", f"Order {number} is blue, Vantry.") for number in range(64)]
    assert prepared(asked)[-1].startswith("Can I pay in dollars?")


@pytest.mark.parametrize(
    "said", ["My card was stolen.", "Ich möchte mein Abo kündigen.", "Ma carte a été volée.", "Me cobraron dos veces."]
)
def test_what_many_people_write_about_stays_beside_what_else_they_ask(said: str) -> None:
    assert prepared([mail(said, f"Can I pay {number} dollars?") for number in range(64)])[-1].startswith(said)


@pytest.mark.parametrize(
    "said",
    [
        "Please change my address.",
        "Bitte ändern Sie meine Adresse.",
        "Veuillez supprimer mes données.",
        "Por favor borren mis datos.",
    ],
)
def test_what_many_people_request_stays_beside_what_else_they_ask(said: str) -> None:
    assert prepared([mail(said, f"Can I pay {number} dollars?") for number in range(64)])[-1].startswith(said)


def test_a_sentence_that_is_often_all_a_mail_says_is_what_it_is_about() -> None:
    for often, frames in ((20, True), (5, False)):
        texts = prepared(
            [mail(FORM) if number % often == 0 else mail(FORM, f"Can I pay {number} dollars?") for number in range(200)]
        )
        assert (texts[-1] == "Can I pay 199 dollars?") is frames


def test_a_mail_of_nothing_but_repeated_sentences_keeps_them() -> None:
    texts = prepared([*(mail(FORM, f"Can I pay {number} dollars?") for number in range(64)), mail(FORM)])
    assert texts[-1] == FORM


def test_a_mail_counts_a_sentence_once() -> None:
    seen = SeenMails()
    Preparation(InputSettings(), lambda _: KnownSentences(frozenset(), seen))(mail(FORM, FORM, "Is it open?"))
    assert (seen.mails, seen.counts) == (1, {digest(FORM): 1})


def test_plain_text_is_neither_counted_nor_changed() -> None:
    seen = SeenMails()
    prepare = Preparation(InputSettings(), lambda _: KnownSentences(frozenset({digest(FORM)}), seen))
    for text in (f"{FORM} Is it open?", f"{FORM}\nIs it open?"):
        assert prepare(text) == text
    assert seen.mails == 0


def test_nothing_is_known_of_few_mails() -> None:
    assert not SentenceCounts(LEAST_MAILS - 1, {"a": LEAST_MAILS - 1}).repeated
    assert SentenceCounts(LEAST_MAILS, {"a": 5, "b": 4}).repeated == {"a"}
    assert SentenceCounts(400, {"a": 20, "b": 19}).repeated == {"a"}


@given(
    added=st.lists(
        st.tuples(st.integers(1, MOST_MAILS), st.dictionaries(st.text("abcd", max_size=6), st.integers(-9, 30))),
        max_size=6,
    )
)
def test_counts_are_bounded_and_none_is_too_high(added: list[tuple[int, dict[str, int]]]) -> None:
    counts, positive = NO_COUNTS, dict[str, int]()
    for mails, seen in added:
        counts = counts.added(mails, seen)
        for one, more in seen.items():
            positive[one] = positive.get(one, 0) + max(0, more)
    assert counts.mails <= MOST_MAILS
    assert len(counts.counts) <= MOST_SENTENCES
    assert all(0 < count <= positive[one] for one, count in counts.counts.items())


def test_a_flood_of_sentences_hides_none_that_is_frequent() -> None:
    seen = SeenMails()
    for number in range(3000):
        seen.add({f"{number}-{one}" for one in range(20)} | {"often"}, alone=False)
    assert len(seen.counts) < 2 * MOST_SENTENCES
    counts = NO_COUNTS.added(seen.mails, seen.counts)
    assert len(counts.counts) <= MOST_SENTENCES
    assert counts.repeated == {"often"}
