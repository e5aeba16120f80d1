"""Questions that vectors call near are the same in other words, or differ in what vectors do not see."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questream.clustering.mirror import ClusterMoved
from questream.clustering.rules import COARSEST_JUDGED, Rules
from questream.clustering.second_look.conflict import conflict
from questream.clustering.second_look.features import MOST_ITEMS, features
from questream.clustering.second_look.kept import (
    MEMBERS,
    conflict_between,
    conflict_with,
    keep,
    keep_both,
    pack,
    unpack,
)
from questream.clustering.second_look.lexicon import LANGUAGES, axes_of, axis_name, read_lexicon
from tests.kit.stepping import Stepper


def rows_of(name: str) -> list[list[str]]:
    path = Path(__file__).parents[1] / "data" / name
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]


ROWS = rows_of("second_look.tsv")
KINDS = {"number", "negation", "antonym", "direction", "name", "code"}
ON, OFF = features("How do I turn dark mode on?"), features("How do I turn dark mode off?")


def reason(one: str, other: str) -> str | None:
    return conflict(features(one), features(other))


def test_the_pairs_are_of_six_kinds_and_four_languages() -> None:
    assert len(ROWS) >= 500
    assert {row[0] for row in ROWS} == KINDS
    assert {row[1] for row in ROWS} == {"en", "de", "fr", "es"}
    assert min(Counter(row[0] for row in ROWS).values()) >= 80


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What time does Anna arrive?", "When do Maria and Anna arrive?"),
        ("What jam does Anna like?", "Which one would Maria and Anna like?"),
        ("Where do I polish my shoes?", "Where do I clean my Italian shoes?"),
        ("Dans quelle année ai-je ouvert mon compte ?", "Quand ai-je ouvert mon compte avec Marie ?"),
        ("Où est mon petit colis ?", "Où est mon colis pour monsieur Roux ?"),
        ("Wo kann ich hier gut essen?", "Wo kann ich in Köln gut speisen?"),
        ("Was kostet das Porto für den Brief?", "Was kostet der Brief nach Köln?"),
        ("¿Dónde compro pilas para Ana?", "¿Dónde compro baterías para María y Ana?"),
    ],
)
def test_common_words_are_no_names(one: str, other: str) -> None:
    assert reason(one, other) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("are colombians welcome", "are nigerians welcome"),
        ("is the berlin office open", "is dublin's office open"),
        ("kann ich mit einer deutschen karte zahlen", "kann ich mit einer schweizer karte zahlen"),
        ("puede entrar mi hermana", "puede entrar mi hermano"),
        ("puede entrar mi esposo", "puede entrar mi esposa"),
    ],
)
def test_names_and_persons_with_endings_are_told_apart(one: str, other: str) -> None:
    assert reason(one, other) == "antonym"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_pairs_that_differ_are_told_from_paraphrases(kind: str) -> None:
    rows = [row for row in ROWS if row[0] == kind]
    differing = sum(reason(row[2], row[3]) is not None for row in rows)
    paraphrases = sum(reason(row[2], row[4]) is not None for row in rows)
    assert differing >= 0.93 * len(rows)
    assert paraphrases <= 0.02 * len(rows)


def test_pairs_that_the_rules_were_not_made_from_are_told_apart_too() -> None:
    rows = rows_of("second_look_unseen.tsv")
    differing = sum(reason(row[2], row[3]) is not None for row in rows)
    paraphrases = sum(reason(row[2], row[4]) is not None for row in rows)
    assert len(rows) >= 650
    assert differing >= 0.85 * len(rows)
    assert paraphrases <= 0.01 * len(rows)


def test_it_is_the_same_both_ways_around() -> None:
    for row in [*ROWS, *rows_of("second_look_unseen.tsv")]:
        for other in row[3:]:
            assert reason(row[2], other) == reason(other, row[2])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I can't log in", "I am unable to log in"),
        ("I can't log in to the portal", "How do I log in to the portal?"),
        ("Refund within 7 days?", "Refund within a week?"),
        ("Is 48 hours enough?", "Are two days enough?"),
        ("Send me 2,500 euros", "Send me €2500"),
        ("Why were Rs. 500 and Rs 1000 notes banned?", "Why were INR 500 and INR 1000 notes banned?"),
        ("Is EUR 20 enough?", "Is 20 euros enough?"),
        ("Le magasin est-il ouvert à 17 heures ?", "Le magasin est-il ouvert à 17:00 ?"),
        ("Is the shop open at 7 pm?", "Is the shop open at 19:00?"),
        ("Is dark mode not enabled?", "Is dark mode disabled?"),
        ("My card is blocked", "How do I unblock my card?"),
        ("Can't I pay by card?", "Can I pay by card?"),
        ("The invoice is not correct", "The invoice is incorrect"),
        ("Transfer from savings to checking", "Transfer to checking from savings"),
        ("Can a tenant sue a landlord?", "Can a landlord be sued by a tenant?"),
        ("What is the difference between Go and Rust?", "What is the difference between Rust and Go?"),
        ("Who won in the United States?", "Who won in the US?"),
        ("Why did Trump win?", "Why did Donald Trump win?"),
        ("Where is order AB-1293?", "Where is order AB1293?"),
        ("How do I reset my password?", "How do I reset the password of my account in 2 steps?"),
        ("Is a refund possible within 30 days?", "Is a refund possible within a month?"),
        ("Is it open before noon?", "Is it open before 12 o'clock?"),
        ("How do I mute a participant?", "How can a participant be muted?"),
        ("Comment installer le pilote sous Windows ?", "Comment installe-t-on le pilote sur Windows ?"),
        ("Comment lier mon compte à Spotify ?", "Que faire pour connecter Spotify à mon compte ?"),
        ("How do I link Outlook to my calendar?", "How can my calendar be linked to Outlook?"),
        ("Is twenty five enough?", "Is 25 enough?"),
        ("Is one hundred twenty enough?", "Is 120 enough?"),
        ("Are a hundred and twenty five euros enough?", "Are 125 euros enough?"),
        ("Is a hundred and one enough?", "Is 101 enough?"),
        ("Is two thousand five hundred enough?", "Is 2,500 enough?"),
        ("Is it between one hundred and two hundred?", "Is it between 100 and 200?"),
        ("Is it between one hundred and one hundred fifty?", "Is it between 100 and 150?"),
        ("Set a one hundred second timer", "Set a 100 second timer"),
        ("Why was I charged twenty twice?", "Why was I charged 20 twice?"),
        ("Why was I charged a hundred twice?", "Why was I charged 100 twice?"),
        ("Sind hundert und fünf Euro genug?", "Sind 105 Euro genug?"),
        ("¿Hay ciento veinte plazas?", "¿Hay 120 plazas?"),
        ("Y a-t-il deux cent trente places ?", "Y a-t-il 230 places ?"),
        ("Y a-t-il quatre vingts places ?", "Y a-t-il 80 places ?"),
        ("Y a-t-il quatre vingt douze places ?", "Y a-t-il quatre-vingt-douze places ?"),
        ("Are forty-two days enough?", "Are 42 days enough?"),
        ("Is twenty a month too much?", "Is 20 a month too much?"),
        ("Set a thirty second timer", "Set a 30 second timer"),
        ("Sind fünfundzwanzig genug?", "Sind 25 genug?"),
        ("Y a-t-il vingt et un jours ?", "Y a-t-il 21 jours ?"),
        ("Y a-t-il vingt-et-un jours ?", "Y a-t-il 21 jours ?"),
        ("Y a-t-il soixante-quinze places ?", "Y a-t-il 75 places ?"),
        ("¿Hay treinta y cinco plazas?", "¿Hay 35 plazas?"),
        ("Can I cancel before I am charged?", "Before I get charged, can I cancel?"),
        ("May I pay in June?", "Can I pay in June?"),
        ("Don't you take cards?", "Do you take cards?"),
        ("My Kindle won't charge", "Kindle won't charge anymore"),
        ("Can I take part if I am not a resident?", "May I take part without being a resident?"),
        ("Von der Überweisung kommt nichts an", "Die Überweisung kommt nicht an"),
        ("jai pas demandé cette option", "je n'ai pas demandé cette option"),
        ("Where's the users' guide for the managers' app?", "Where is the users' guide for the manager's app?"),
        ("My card expired, how do I get a new one?", "How do I renew my card?"),
        ("Où dois-je aller pour rendre mon colis ?", "Où se fait le retour de mon colis ?"),
        ("Wo finde ich meine PIN?", "Ich habe meine PIN verloren, wo steht sie?"),
        ("Who will win IPL 9?", "Who will win IPL 2016?"),
        ("Will the first lady win Ohio?", "Will the lady win Ohio in 2016?"),
        ("Do you ship to Germany?", "Liefern Sie nach Deutschland?"),
        ("Which shops in Munich take cards?", "Which shops in münchen take cards?"),
    ],
)
def test_a_paraphrase_is_no_conflict(one: str, other: str) -> None:
    assert reason(one, other) is None


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Upgrade to 3.10", "Upgrade to 3.1", "number"),
        ("It costs $50", "It costs 50 euros", "number"),
        ("My payment was declined", "My payment was not declined", "negation"),
        ("How do I unpair the headset?", "How do I pair the headset?", "antonym"),
        ("Turn dark mode on", "Turn dark mode off", "antonym"),
        ("Money to my account", "Money from my account", "direction"),
        ("Does Anna report to Bob?", "Does Bob report to Anna?", "direction"),
        ("Where is the button 'x' of \"Save\"?", "Where is the button 'x' of \"Open\"?", "name"),
        ("What does E401 mean?", "What does E402 mean?", "code"),
        ("I am two weeks late with the rent", "I am two months late with the rent", "number"),
        ("I was charged twice", "I was charged three times", "number"),
        ("Do you ship parcels over 30 kg?", "Can you send packages heavier than 20 kg?", "number"),
        ("How do I unmute a participant?", "How can a participant be muted?", "antonym"),
        ("Is it open after noon?", "Are you open before 12 o'clock?", "direction"),
        ("Is Venus bigger than Mars?", "Is Mars larger than Venus?", "direction"),
        ("I want to receive newsletters", "I no longer want to receive newsletters", "negation"),
        ("I have received my refund", "I have yet to receive my refund", "negation"),
        ("The button responds", "The button fails to respond", "negation"),
        ("Is the refundable ticket dearer?", "Is the non-refundable ticket dearer?", "antonym"),
        ("How do I change pounds into dollars?", "How do I change pounds into yen?", "antonym"),
        ("Wie zahle ich mit PayPal?", "Wie zahle ich mit ApplePay?", "name"),
        ("Est-ce que vous livrez en 1 heure ?", "Est-ce que vous livrez en 2 heures ?", "number"),
        ("Est-ce que vous livrez en 24 heures ?", "Est-ce que vous livrez en 2 jours ?", "number"),
        ("Le magasin est-il ouvert à 17 heures ?", "Le magasin est-il ouvert à midi ?", "number"),
        ("La robe bleue est-elle disponible ?", "Avez-vous la robe rouge ?", "antonym"),
        ("¿Puedo devolverlo después de treinta días?", "¿Puedo devolverlo después de noventa días?", "number"),
        ("¿Hay treinta y cinco plazas?", "¿Hay 30 plazas?", "number"),
        ("Sind fünfundzwanzig genug?", "Sind zwanzig genug?", "number"),
        ("Is one hundred twenty enough?", "Is one hundred thirty enough?", "number"),
        ("Is one hundred twenty enough?", "Is 100 enough?", "number"),
        ("Puis-je venir à quatre-vingt-deux ans ?", "Puis-je venir à soixante-douze ans ?", "number"),
        ("Tell me when the flight is delayed", "Don't tell me when the flight is delayed", "negation"),
        ("My parcel from March 3rd is missing", "My parcel from May 3rd is missing", "antonym"),
        ("Can I get a room in May?", "Can I get a room in June?", "antonym"),
        ("Should I pay before I see the flat?", "Should I see the flat before I pay?", "direction"),
        ("Can I pay in cash after paying by card?", "Can I pay by card after paying in cash?", "direction"),
        ("Kann der Mieter dem Vermieter kündigen?", "Kann der Vermieter dem Mieter kündigen?", "direction"),
        ("The page scrolls up by itself", "The page scrolls down by itself", "antonym"),
        ("I can't pay on monday", "I can't pay on friday", "antonym"),
        ("is the office in dublin open", "is the office in cork open", "antonym"),
        ("can i speak to maria", "can i speak to kevin", "antonym"),
        ("was kostet der tarif basis", "was kostet der tarif komfort", "antonym"),
        ("No puedo conectar spotify", "No puedo conectar deezer", "antonym"),
        ("What does 'Pending review' mean?", "What does 'On hold' mean?", "name"),
        ("Reset the password on Fire TV", "Reset the password on Apple Watch", "name"),
        ("Der Techniker ist gekommen", "Der Techniker ist gar nicht gekommen", "negation"),
        ("Is there anyone I can call?", "Is there no one I can call?", "negation"),
        ("Can I withdraw 2000 a day?", "Can I withdraw 50 a day?", "number"),
        ("Is the report of 2015 out?", "Is the report of 2016 out?", "number"),
        ("Can I send 2000 mails?", "Can I send 500 mails?", "number"),
        ("Est-ce ouvert le 1er mai ?", "Est-ce ouvert le 8 mai ?", "number"),
    ],
)
def test_what_differs_is_named(one: str, other: str, why: str) -> None:
    assert reason(one, other) == why


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_any_text_has_few_items_of_32_bits(text: str) -> None:
    found = features(text)
    assert len(found) <= MOST_ITEMS
    assert all(0 <= one < 1 << 32 for one in found)
    assert conflict(found, found) is None


def in_other_letters(phrase: str) -> list[str]:
    """The phrase in letters that `re.IGNORECASE` takes for its own, and that are others in lower case."""
    return [phrase, phrase.upper(), *(phrase.replace(*pair) for pair in ("i\u0131", "i\u0130", "s\u017f", "k\u212a"))]


REWORDED = [
    one for name in LANGUAGES for those in read_lexicon(name)["rewordings"].values() for one in those.split(" / ")
]
PIECES = [
    *(spelled for phrase in REWORDED for spelled in in_other_letters(phrase)),
    *("is", "how", "ist", "wie", "est", "pour", "es", "para", "a", "half", "not", "non", "kein", "pas", "no"),
    *("0", "1", "1.2", "1.2.3", "1,5", "1,2,3", "12:30", "v1.2.3", "9" * 400, "\u0661.\u0662.\u0663", "\u00b2"),
    *("$", "\u20ac", "kg", "am", "pm", "k", "m", "million", "days", "months", "th", "o'clock"),
    *("'s", "-", ".", ",", '"', "\u00ab", "&", "'", "\u2018", "\u2019", "('", "AB-", "a-B"),
    *("\u0301", "\u202e", "\U0001f600", "\u4e2d", "1\u00ba", "\uff11\uff12", "NaN", "1e999", "2016", "1er"),
    *("up", "down", "dem", "vor dem", "without", "before", "monday", "Berlin", "paris", "smith"),
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(["", " "]), st.randoms(use_true_random=False))
def test_words_and_numbers_in_any_form_have_items(pieces: list[str], between: str, random: Random) -> None:
    found = features(between.join(pieces))
    assert all(0 <= one < 1 << 32 for one in found)
    assert unpack(pack((found,) if found else ())) == ((found,) if found else ())
    other = features(between.join(random.sample(pieces, len(pieces))))
    assert conflict(found, other) == conflict(other, found)


@pytest.mark.parametrize(
    "text",
    [
        "Is it open at M\u0130DN\u0130GHT?",
        "Is it open at m\u0131dnight?",
        "Is it five at mo\u017ft?",
        "Is 1.2.3kg too much?",
        "Is it 1.2.3k?",
        "Was it sent at 31.12.2026am?",
    ],
)
def test_no_form_of_a_word_or_a_number_is_an_error(text: str) -> None:
    assert features(text)


@pytest.mark.parametrize(
    "text",
    [
        *('"' + " " * 1_000_000, ('"' + " " * 1_000) * 1_000, "1." * 500_000 + "kg", "A." * 500_000, "a1" * 500_000),
        *("AB-" * 300_000, "it is a-B" + "-aB" * 300_000, "x '" + "a" * 1_000_000, "' 'a" * 250_000),
    ],
    ids=range(9),
)
def test_a_hostile_text_takes_no_more_time_than_to_read_it(text: str) -> None:
    """In processor time: the square of a million would be hours."""
    began = time.process_time()
    features(text)
    assert time.process_time() - began < 3


def test_long_tokens_are_not_kept() -> None:
    tracemalloc.start()
    try:
        for number in range(100):
            features(f"where is {number}{'x' * 100_000}")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000


def test_each_unit_has_one_meaning() -> None:
    names = Counter(name for line in read_lexicon("any")["units"] for name in line.split()[2:])
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_axis_has_a_name_of_its_own(language: str) -> None:
    """Two axes of one name would make opposites of words that have nothing to do with each other."""
    names = Counter(axis_name(poles) for poles in axes_of(language))
    assert [name for name, count in names.items() if count > 1] == []


def test_a_long_text_has_no_items() -> None:
    assert features("the number 7 is not 8. " * 20) == ()


def test_a_question_that_differs_from_half_of_what_is_kept_belongs_there() -> None:
    assert conflict_with(OFF, (ON,)) == "antonym"
    assert conflict_with(OFF, (ON, OFF)) is None
    assert conflict_with(OFF, ()) is None
    assert conflict_between((ON,), (OFF,)) == "antonym"
    assert conflict_between((ON, OFF), (OFF,)) is None


def test_of_two_members_the_one_in_the_same_words_decides() -> None:
    lock = features("How do I lock my bank card?")
    unlock, reworded = (
        features(text) for text in ("How do I unlock my bank card?", "What locks a card that got lost?")
    )
    silent = features("A card that got lost: what is to be done?")
    assert conflict_with(lock, (unlock, silent)) == "antonym"
    assert conflict_with(lock, (silent, unlock)) == "antonym"
    assert conflict_with(lock, (reworded, silent)) is None
    far = features("Lock it now, please, since somebody took that card of mine")
    assert (
        conflict_with(far, (features("Can you unlock it?"), features("Please do so now, since somebody took it")))
        is None
    )


def test_a_member_that_tells_nothing_does_not_let_clusters_merge() -> None:
    silent = features("Is there a dark mode?")
    assert conflict_between((ON, silent), (OFF,)) == "antonym"
    assert conflict_between((OFF,), (silent, ON)) == "antonym"
    assert conflict_between((ON, silent), (features("How do I turn dark mode on, please?"),)) is None


def test_a_cluster_keeps_few_members_that_differ() -> None:
    kept = keep(keep(keep((), ON), ON), ())
    assert kept == (ON,)
    for number in range(20):
        kept = keep(kept, features(f"Is {number} enough?"))
    assert len(kept) == MEMBERS
    assert keep_both(kept, (OFF,))[:2] == (ON, OFF)


def test_what_is_kept_survives_packing() -> None:
    assert unpack(pack((ON, OFF))) == (ON, OFF)
    assert pack(()) == b""
    assert unpack(b"") == ()
    assert unpack(b"\x02later") == ()
    with pytest.raises(ValueError, match="cut short"):
        unpack(pack((ON,))[:-4])


def near_rows(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32) * np.float32(0.15) + np.float32(1)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_a_batch_is_judged_as_one_question_after_another(batch: int) -> None:
    texts = [
        f"Is {number} enough for the {word}?" for number in (3, 8, 12) for word in ("first", "plan", "team", "trip")
    ]
    order = np.random.default_rng(7).permutation(48)
    looks = [features(texts[at % len(texts)]) for at in order]
    vectors, stepper = near_rows(48, 1), Stepper(Rules(0.7, 0.7, similarity="cosine"), 8)
    ids, reasons = [], []
    for start in range(0, 48, batch):
        choices, _ = stepper.assign(vectors[start : start + batch], looks[start : start + batch])
        assert stepper.merge() == []
        ids += [choice.cluster_id for choice in choices]
        reasons += [choice.reason for choice in choices]
    one_by_one = Stepper(Rules(0.7, 0.7, similarity="cosine"), 8)
    expected = [one_by_one.assign(vectors[at : at + 1], looks[at : at + 1])[0][0] for at in range(48)]
    assert ids == [choice.cluster_id for choice in expected]
    assert reasons == [choice.reason for choice in expected]
    assert len(set(ids)) == 3
    assert "number" in reasons


def test_a_cluster_that_is_passed_over_is_the_runner_up() -> None:
    stepper = Stepper(Rules(0.7, 0.7, similarity="cosine"), 8)
    vectors = near_rows(3, 2)
    first, second, third = stepper.assign(vectors, [ON, OFF, OFF])[0]
    assert [one.checked_by for one in (first, second, third)] == [None, "features", "features"]
    assert second.created
    assert second.reason == "antonym"
    assert second.runner_up is not None
    assert second.runner_up.cluster_id == first.cluster_id
    assert third.cluster_id == second.cluster_id


def test_a_coarse_threshold_gets_no_second_look() -> None:
    coarse = COARSEST_JUDGED - 0.01
    stepper = Stepper(Rules(coarse, coarse, similarity="cosine"), 8)
    choices, _ = stepper.assign(near_rows(2, 3), [ON, OFF])
    assert {choice.cluster_id for choice in choices} == {1}


def test_clusters_that_differ_do_not_merge() -> None:
    vectors = near_rows(2, 4)
    for other, merged in ((OFF, []), (ON, [(1, 2)])):
        stepper = Stepper(Rules(0.7, 0.7, similarity="cosine"), 8)
        stepper.mirror.apply(
            [ClusterMoved(1, 1, vectors[0], pack((ON,))), ClusterMoved(2, 1, vectors[1], pack((other,)))]
        )
        stepper.moved, stepper.sizes = [1, 2], {1: 1, 2: 1}
        assert stepper.merge() == merged
        if merged:
            assert unpack(stepper.mirror.kept(1)) == (ON,)
