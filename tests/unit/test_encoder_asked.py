"""What a mail asks counts more than what it says beside, and the vectors of all other texts are the model's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.encoder import Encoder, Tokens
from questream.errors import BadRecord
from questream.preparing import asked_in, without_frame
from questream.preparing.questions import ask_first
from tests.kit.vectors import ByteTokeniser, hash_encoder, hash_vector

ASKS = "where is my new card?"
BESIDE = "the branch in the high street had no time for me."
# An empty line with a tab: `preparing/asking.py` marks what it made by it.
MAIL = f"{ASKS}\n\t\n{BESIDE}"

PLAIN = [
    ASKS,
    f"{ASKS} {BESIDE}",
    f"{BESIDE} {ASKS}",
    f"{ASKS}\n{BESIDE}",
    f"{ASKS}\n\n{BESIDE}",
    f"{ASKS}\r\n\r\n{BESIDE}",
    f"{BESIDE}\n\n{ASKS}",
    f"Hi Tom,\n{ASKS}\n\t\n{BESIDE}",
    f"{BESIDE}\n\t\n{ASKS}",
    f"{ASKS}\n\n",
    BESIDE,
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return hash_encoder()


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_without_the_form_of_a_mail_has_the_vector_of_the_model(encoder: Encoder, text: str) -> None:
    (tokens,) = encoder.tokenise([text])
    assert tokens.asked is None
    assert encoder.encode([text]).tobytes() == hash_vector(text).tobytes()


def test_what_a_mail_asks_counts_half_as_much_again(encoder: Encoder) -> None:
    (vector,) = encoder.encode([MAIL])
    expected = hash_vector(MAIL) + 0.5 * hash_vector(ASKS)
    assert vector == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    assert vector @ hash_vector(ASKS) > hash_vector(MAIL) @ hash_vector(ASKS) + 0.05


def test_tokens_count_what_the_model_reads_a_second_time(encoder: Encoder) -> None:
    assert [len(tokens) for tokens in encoder.tokenise([MAIL, ASKS])] == [len(MAIL) + len(ASKS), len(ASKS)]


@given(st.permutations([0, 0, 1, 2, 2, 3]), st.integers(1, 6))
def test_a_mail_has_the_same_vector_in_every_batch(order: list[int], size: int) -> None:
    texts = [MAIL, ASKS, f"is it lost?\n\t\n{BESIDE}", BESIDE]
    alone = {at: hash_encoder().encode([text]).tobytes() for at, text in enumerate(texts)}
    rows = hash_encoder().encode([texts[at] for at in order[:size]])
    assert [row.tobytes() for row in rows] == [alone[at] for at in order[:size]]
    assert rows.flags.c_contiguous


def test_a_mail_and_its_question_are_read_once_each(encoder: Encoder) -> None:
    read: list[int] = []

    class Counting:
        batch_tokens = encoder.forward.batch_tokens

        def __call__(self, batches):  # type: ignore[no-untyped-def]  # as Forward
            read.extend(len(ids) for batch in batches for ids in batch)
            return encoder.forward(batches)

    replace(encoder, forward=Counting()).encode([MAIL, ASKS, MAIL])
    assert sorted(read) == [len(ASKS), len(MAIL)]


class _RefusesShortOnes(ByteTokeniser):
    """As a model that knows too little of a part, though enough of the whole."""

    def __call__(self, texts: list[str]) -> list[Tokens]:  # type: ignore[override]  # no more is asked of it here
        if any(len(text) <= len("de qué?") for text in texts):
            raise BadRecord("tokenise", "mostly_unknown", "too little is known of it")
        return super().__call__(texts)


def test_a_part_that_would_be_refused_as_a_text_does_not_count_and_refuses_nothing(encoder: Encoder) -> None:
    strict = replace(encoder, tokeniser=_RefusesShortOnes(512))
    unknown, known = strict.tokenise([f"de qué?\n\t\n{BESIDE}", MAIL])
    assert unknown.asked is None
    assert known.asked is not None
    assert strict.refused([f"de qué?\n\t\n{BESIDE}", MAIL]) == {}


def test_a_row_that_is_not_finite_stays_so_and_costs_no_other(encoder: Encoder) -> None:
    (mail,) = encoder.tokenise([MAIL])

    class Broken:
        batch_tokens = encoder.forward.batch_tokens

        def __call__(self, batches):  # type: ignore[no-untyped-def]  # as Forward
            rows = encoder.forward(batches)
            rows[[ids.tobytes() == mail.ids.tobytes() for batch in batches for ids in batch]] = np.inf
            return rows

    rows = replace(encoder, forward=Broken()).encode([MAIL, ASKS])
    assert np.isfinite(rows).all(axis=1).tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (f"{BESIDE} {ASKS}", MAIL),
        (f"{BESIDE}\n{ASKS}", MAIL),
        (f"{ASKS} {BESIDE}", MAIL),
        (
            f"{BESIDE} {ASKS} {BESIDE}\n\nIs it lost?\n\n\n{BESIDE}",
            f"{ASKS} Is it lost?\n\t\n{BESIDE} {BESIDE}\n\n{BESIDE}",
        ),
        ("No fui yo. ¿Dónde está mi tarjeta?", "¿Dónde está mi tarjeta?\n\t\nNo fui yo."),
        (f'{BESIDE} He said: "Is it lost?"', f'He said: "Is it lost?"\n\t\n{BESIDE}'),
    ],
)
def test_what_asks_comes_first(text: str, first: str) -> None:
    assert ask_first(text) == first
    assert asked_in(first) == first.partition("\n")[0]


@pytest.mark.parametrize("text", [ASKS, f"{ASKS} Is it lost?", f"{ASKS}\n\nIs it lost?", BESIDE, ""])
def test_a_text_that_asks_all_or_nothing_stays_as_it_is(text: str) -> None:
    assert ask_first(text) == text
    assert asked_in(text) is None


@given(st.lists(st.sampled_from([ASKS, BESIDE, "Is it lost?", "no. 4711", "", "\n", "\n\n", "why"])).map(" ".join))
def test_what_was_put_first_is_what_is_found(text: str) -> None:
    first = ask_first(text)
    if first != text:
        assert sorted(first.split()) == sorted(text.split())
        assert asked_in(first) == first.partition("\n")[0]
        assert ask_first(first) == first


def test_of_a_mail_the_question_comes_first_and_a_plain_text_stays_as_it_is() -> None:
    said = f"The branch had no time. {ASKS}"
    assert without_frame(f"Hi,\n\n{said}\n\nKind regards,\nAnna") == f"{ASKS}\n\t\nThe branch had no time."
    assert without_frame(f"<p>{BESIDE}</p><p>{ASKS}</p>") == MAIL
    for text in (said, f"{BESIDE}\n{ASKS}", f"{ASKS}\n\n{BESIDE}", MAIL):
        assert without_frame(text) == text
