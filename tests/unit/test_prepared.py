"""Whatever compares or names questions reads of a prepared mail what it is about, as the model does."""

from __future__ import annotations

from typing import Any

import pytest

from questream.clustering.second_look.conflict import conflict
from questream.clustering.second_look.features import features
from questream.encoder.judge import CrossEncoderJudge
from questream.lab.training.corpus import corpus_of
from questream.naming.making import messages_for, name_in
from questream.naming.names import Vocabulary, keywords
from questream.naming.terms import terms_of
from questream.prepared import about_above
from questream.preparing import without_frame
from questream.records.files import FileQuestion, LabelledPair

ABOUT = "Where is my new card?"
BESIDE = [
    "I have tried to reach you 3 times since 12 May 2026.",
    "I am a customer since 2009 and was never unhappy.",
    "My colleague Anna Keller told me not to write to you by fax.",
    "Ich bin seit 2014 bei Ihnen Kunde und war nie unzufrieden.",
]


def mail(beside: str) -> str:
    return about_above(ABOUT, beside)


def test_a_prepared_mail_has_this_form() -> None:
    said = "A friend of mine told me to write to you."
    assert without_frame(f"Hello,\n\n{said} {ABOUT}\n\nKind regards,\nAnna") == mail(said)


@pytest.mark.parametrize("beside", BESIDE)
def test_numbers_dates_and_names_in_the_frame_of_a_mail_part_no_clusters(beside: str) -> None:
    assert features(mail(beside)) == features(ABOUT)
    assert conflict(features(mail(beside)), features(mail(BESIDE[0]))) is None


@pytest.mark.parametrize("beside", BESIDE)
def test_a_cluster_is_named_by_what_its_mails_are_about(beside: str) -> None:
    text = mail(beside)
    assert terms_of(text) == terms_of(ABOUT)
    assert keywords(text, (features(text),), Vocabulary()) == keywords(ABOUT, (features(ABOUT),), Vocabulary())
    assert messages_for([text]) == messages_for([ABOUT])
    assert name_in("Anna Keller, customer", [text]) is None
    assert name_in("New card", [text]) == "New card"


class _Model:
    """Keeps what a cross-encoder is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def predict(self, pairs: list[tuple[str, str]], **_options: Any) -> list[float]:
        self.asked += pairs
        return [1.0 for _ in pairs]


def test_a_judge_is_asked_what_mails_are_about() -> None:
    model = _Model()
    assert CrossEncoderJudge("judge", "1", 0.5, model).same([(mail(BESIDE[0]), mail(BESIDE[1]))]) == [True]
    assert model.asked == [(ABOUT, ABOUT)]


def test_training_reads_what_mails_are_about() -> None:
    first, second = mail(BESIDE[0]), mail(BESIDE[1])
    corpus = corpus_of(
        [LabelledPair(first, "Is it lost?", same=False), LabelledPair(first, second, same=True)],
        {0: [FileQuestion("7", second, "card")]},
    )
    assert corpus.texts == [ABOUT, "Is it lost?"]
    assert corpus.left_out.unusable_pairs == 1
