"""A prepared mail has the vector of what it is about, and the vectors of all other texts are the model's own."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.encoder import Encoder, Tokens
from questream.errors import BadRecord
from questream.prepared import about_in
from questream.preparing import without_frame
from questream.preparing.about import about_first
from questream.preparing.framing import framing
from tests.kit.vectors import ByteTokeniser, hash_encoder, hash_vector

ABOUT = "where is my new card?"
BESIDE = "A friend of mine told me to write to you."
# White space in the empty line: `prepared.py` marks by it what was prepared.
MAIL = f"{ABOUT}\n\t \t\n{BESIDE}"

PLAIN = [
    ABOUT,
    f"{ABOUT} {BESIDE}",
    f"{BESIDE} {ABOUT}",
    f"{ABOUT}\n{BESIDE}",
    f"{ABOUT}\n\n{BESIDE}",
    f"{ABOUT}\r\n\r\n{BESIDE}",
    "def ask(self):\n\t\n\treturn self.question",
    f"{ABOUT}\n \n{BESIDE}",
    f"Hi Tom,\n{ABOUT}\n\t \t\n{BESIDE}",
    f"\n\t \t\n{BESIDE}",
    f"{ABOUT}\n\n",
    BESIDE,
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return hash_encoder()


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_without_the_form_of_a_mail_has_the_vector_of_the_model(encoder: Encoder, text: str) -> None:
    assert encoder.encode([text]).tobytes() == hash_vector(text).tobytes()


def test_a_mail_has_the_vector_of_what_it_is_about(encoder: Encoder) -> None:
    assert encoder.encode([MAIL]).tobytes() == hash_vector(ABOUT).tobytes()
    assert [len(tokens) for tokens in encoder.tokenise([MAIL, ABOUT])] == [len(ABOUT)] * 2


@given(st.permutations([0, 0, 1, 2, 2, 3]), st.integers(1, 6))
def test_a_mail_has_the_same_vector_in_every_batch(order: list[int], size: int) -> None:
    texts = [MAIL, ABOUT, f"is it lost?\n\t \t\n{BESIDE}", BESIDE]
    alone = {at: hash_encoder().encode([text]).tobytes() for at, text in enumerate(texts)}
    rows = hash_encoder().encode([texts[at] for at in order[:size]])
    assert [row.tobytes() for row in rows] == [alone[at] for at in order[:size]]
    assert rows.flags.c_contiguous


class _RefusesShortOnes(ByteTokeniser):
    """As a model that knows too little of a part, though enough of the whole."""

    def __call__(self, texts: list[str]) -> list[Tokens]:  # type: ignore[override]  # no more is asked of it here
        if any(len(text) <= len("de qué?") for text in texts):
            raise BadRecord("tokenise", "mostly_unknown", "too little is known of it")
        return super().__call__(texts)


def test_of_a_mail_whose_first_paragraph_would_be_refused_the_whole_is_read(encoder: Encoder) -> None:
    strict = replace(encoder, tokeniser=_RefusesShortOnes(512))
    unknown = f"de qué?\n\t \t\n{BESIDE}"
    assert [len(tokens) for tokens in strict.tokenise([unknown, MAIL])] == [len(unknown.encode()), len(ABOUT)]
    assert strict.refused([unknown, MAIL]) == {}
    assert list(strict.refused([unknown, "de qué?", MAIL])) == [1]


def test_a_mail_is_refused_for_half_a_surrogate_pair_in_what_is_not_read(encoder: Encoder) -> None:
    broken = f"{MAIL} \ud800"
    with pytest.raises(BadRecord) as refused:
        encoder.tokenise([MAIL, broken])
    assert (refused.value.stage, refused.value.reason) == ("tokenise", "text_not_encodable")
    assert list(encoder.refused([MAIL, broken])) == [1]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (f"{BESIDE} {ABOUT}", MAIL),
        (f"{BESIDE}\n\n{ABOUT}", MAIL),
        (f"{ABOUT} {BESIDE}", MAIL),
        (f"{ABOUT}\n{BESIDE}\n\nIs it lost?", f"{ABOUT} Is it lost?\n\t \t\n{BESIDE}"),
        (
            f"{BESIDE} ¿Dónde está mi tarjeta? Espero noticias suyas.",
            f"¿Dónde está mi tarjeta?\n\t \t\n{BESIDE} Espero noticias suyas.",
        ),
        (
            "Please tell me by the end of this week at the very latest whether\nthe washing machine can be repaired.\n"
            f"{BESIDE}",
            "Please tell me by the end of this week at the very latest whether the washing machine can be repaired."
            f"\n\t \t\n{BESIDE}",
        ),
    ],
)
def test_what_a_mail_is_about_comes_first(text: str, first: str) -> None:
    assert about_first(text) == first
    assert about_in(first) == first.partition("\n")[0]


@pytest.mark.parametrize("text", [ABOUT, f"{ABOUT} Is it lost?", f"{ABOUT}\n\nIs it lost?", BESIDE, ""])
def test_a_text_of_one_kind_of_sentences_stays_as_it_is(text: str) -> None:
    assert about_first(text) == text
    assert about_in(text) == text


@pytest.mark.parametrize("name", ["Anna", "Anna Keller", "Dr. Anna Keller", "-"])
def test_a_name_alone_is_not_what_a_mail_is_about(name: str) -> None:
    asked = "Can you help me?"
    assert without_frame(f"Hi,\n\n{asked}\n\n{name}") == f"{asked}\n\n{name}"
    assert about_in(without_frame(f"Hi,\n\n{asked}\nMy card is lost.\n\n{name}")).startswith("My card is lost.")


def test_a_mail_in_a_language_without_examples_is_read_whole() -> None:
    said = "sono vostro cliente da molti anni. Dov'è la mia nuova carta?"
    for text in (f"Gentile servizio,\n\n{said}\n\nCordiali saluti,\nMarco", f"Buongiorno,\n\n{said}\n\nMarco"):
        assert without_frame(text) == text


# None of them is a sentence of `preparing/sentences`.
@pytest.mark.parametrize(
    "said",
    [
        "I've been a customer of yours since 2009 and was always content.",
        "My neighbour said that you would be able to help me.",
        "I have tried to reach somebody on your hotline for days.",
        "Could you explain to me what I need to do next?",
        "I would rather not have to explain it all again on the phone.",
        "Ich bin schon seit Jahren bei Ihnen und war immer zufrieden.",
        "Am Telefon konnte mir niemand weiterhelfen.",
        "Sagen Sie mir bitte, wie ich nun vorgehen soll.",
        "Je suis cliente chez vous depuis des années.",
        "Une amie m'a dit de vous contacter.",
        "Personne ne m'a répondu au téléphone.",
        "Soy cliente suyo desde hace muchos años.",
        "Una amiga me recomendó que les escribiera.",
        "Díganme, por favor, cómo debo proceder ahora.",
    ],
)
def test_a_sentence_that_frames_a_mail_in_its_own_words_stands_below(said: str) -> None:
    for asked in ("Where is my new card?", "Wo ist meine neue Karte?", "Où est ma carte ?", "¿Dónde está mi tarjeta?"):
        assert about_in(about_first(f"{said} {asked}")) == asked
        assert about_in(about_first(f"{asked}\n\n{said}")) == asked


@pytest.mark.parametrize(
    "said",
    [
        "The parcel was left in the rain.",
        "Nobody in the shop on the high street could exchange the lamp.",
        "I want to cancel the insurance of my car.",
        "Die Lampe aus dem Laden flackert.",
        "Ich möchte meine Versicherung kündigen.",
        "La lampe clignote depuis hier.",
        "La lámpara no se enciende.",
        "Traceback: division by zero in orders.py",
    ],
)
def test_a_sentence_that_says_something_stays_above(said: str) -> None:
    assert about_in(about_first(f"{BESIDE} {said} {ABOUT}")) == f"{said} {ABOUT}"


def test_beside_a_question_a_sentence_that_may_frame_it_stands_below() -> None:
    doubtful = "We are a family of four."
    assert about_first(f"{doubtful} The lamp flickers.") == f"{doubtful} The lamp flickers."
    assert about_first(f"{doubtful} {ABOUT}") == f"{ABOUT}\n\t \t\n{doubtful}"
    assert about_first(f"The lamp flickers. {ABOUT}") == f"The lamp flickers. {ABOUT}"


@pytest.mark.parametrize(
    "named",
    [
        "Kaffeemaschine E-Series",
        "Firewall migration Leipzig",
        "Reisekostenabrechnung Dezember",
        "Samsung Galaxy S23.",
        "Broken screen.",
        "I got billed an extra pound!",
        "Schermo rotto.",
        "Карта украдена.",
    ],
)
@pytest.mark.parametrize("asked", ["When is it done?", "Wie mache ich das?"])
def test_a_question_is_read_with_the_name_of_what_it_is_about(named: str, asked: str) -> None:
    assert about_in(about_first(f"{named}\n{BESIDE}\n{asked}")) == f"{named} {asked}"


def test_a_number_to_look_up_stands_below_a_question_whatever_it_is_called() -> None:
    assert about_in(about_first(f"(tique 2695693)\n{ABOUT}")) == ABOUT


@pytest.mark.parametrize(
    ("one", "other"),
    [("contacted", "contacting"), ("kollegin", "kollegen"), ("envoyée", "envoyés"), ("respondan", "respondiera")],
)
def test_a_word_frames_a_mail_in_all_of_its_forms(one: str, other: str) -> None:
    assert framing(["we", one]) == framing(["we", other]) != framing(["we", "zebra"])


@pytest.mark.parametrize("language", ["en", "de", "fr", "es"])
def test_the_sentences_of_each_language_are_told_apart(language: str) -> None:
    text = (files("questream.preparing") / "sentences" / f"{language}.toml").read_text("utf-8")
    kinds = tomllib.loads(text)
    above = {
        kind: sum(about_in(about_first(f"{ABOUT}\n{said}")) != ABOUT for said in kinds[kind]) / len(kinds[kind])
        for kind in ("beside", "about")
    }
    assert above["beside"] < 0.1
    assert above["about"] > 0.98


@given(
    st.lists(st.sampled_from([ABOUT, BESIDE, "Is it lost?", "no. 4711", "", "\n", "\n\n", "why", "\t", "x" * 60])).map(
        " ".join
    )
)
def test_no_word_is_lost_and_what_was_put_first_is_found(text: str) -> None:
    first = about_first(text)
    assert sorted(first.split()) == sorted(text.split())
    if first != text:
        assert about_in(first) == first.partition("\n")[0]


def test_of_a_mail_the_question_comes_first_and_a_plain_text_stays_as_it_is() -> None:
    said = f"{BESIDE} {ABOUT}"
    assert without_frame(f"Hi,\n\n{said}\n\nKind regards,\nAnna") == MAIL
    assert without_frame(f"<p>{BESIDE}</p><p>{ABOUT}</p>") == MAIL
    for text in (said, f"{BESIDE}\n{ABOUT}", f"{ABOUT}\n\n{BESIDE}", MAIL):
        assert without_frame(text) == text
