"""Names of clusters, made of what their questions share and others' do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.clustering.second_look.features import features
from questream.clustering.second_look.kept import Kept, keep, pack
from questream.domain import ClusterState, Ruling
from questream.naming.names import Vocabulary, keywords, name_of
from questream.naming.terms import terms_of
from questream.server.catalogue import Catalogue
from tests.kit.serving import bearer, client_of, store_with, with_tokens

CARDS = ["Where is my new card?", "My card is lost", "Can I order a second card", "The card was declined"]


def kept_of(texts: Sequence[str]) -> Kept:
    kept: Kept = ()
    for text in texts:
        kept = keep(kept, features(text))
    return kept


def vocabulary_of(*clusters: Sequence[str]) -> Vocabulary:
    vocabulary = Vocabulary()
    for texts in clusters:
        vocabulary.add(kept_of(texts))
    return vocabulary


def named(texts: Sequence[str], *others: Sequence[str]) -> str:
    """The name of a cluster of these questions among others, by the first of them."""
    return keywords(texts[0], kept_of(texts), vocabulary_of(texts, *others))


def cluster(size: int, texts: Sequence[str], label: str | None = None) -> ClusterState:
    kept = pack(kept_of(texts))
    return ClusterState(
        1, "shop", "updated", size, 1, None, None, texts[0], 0, 0, "m", 1, ruling=Ruling(label), features=kept
    )


def test_a_name_has_what_the_questions_share_and_others_do_not() -> None:
    questions = [
        "Hello, I was wondering about the fee that my card was charged yesterday?",
        "why was a fee charged",
        "I do not understand this fee that you charged",
    ]
    assert named(questions, *([one] for one in CARDS * 3)) == "fee charged"


def test_what_all_clusters_have_is_in_no_name_that_can_do_without() -> None:
    questions = ["My card PIN is blocked", "PIN of the card blocked"]
    assert named(questions, *([one] for one in CARDS * 10)) == "PIN blocked"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Does it work with Google Pay?", "work Google Pay"),
        ("my iPhone 15 is not supported", "iPhone 15 not supported"),
        ("Error E-4711 when paying", "error E-4711 paying"),
        ("I can't be logged in", "not logged"),
        ("Wo ist meine Karte?", "Karte"),
        ("Comment activer ma carte bancaire ?", "activer carte bancaire"),
        ("¿Dónde está mi tarjeta?", "tarjeta"),
        ("カードはどこですか", "カードはどこですか"),
        ("where is it?", "where is it?"),
    ],
)
def test_names_and_numbers_survive_and_small_words_of_each_language_do_not(text: str, name: str) -> None:
    assert named([text]) == name


def test_a_cluster_of_three_has_a_name_and_a_label_always_wins() -> None:
    vocabulary = Vocabulary()
    assert name_of(cluster(2, CARDS), vocabulary) is None
    assert name_of(cluster(3, CARDS), vocabulary) == "card"
    assert name_of(cluster(1, CARDS, label="Cards"), vocabulary) == "Cards"
    assert name_of(replace(cluster(9, CARDS), representative=None), vocabulary) is None


def test_a_name_stays_when_a_namespace_grows_by_a_few_clusters() -> None:
    texts = ["My card PIN is blocked", "PIN of the card blocked"]
    vocabulary = vocabulary_of(texts, *([one] for one in CARDS * 25))
    name = keywords(texts[0], kept_of(texts), vocabulary)
    for at in range(5):
        vocabulary.add(kept_of([CARDS[at % 4]]))
        assert keywords(texts[0], kept_of(texts), vocabulary) == name


@given(st.lists(st.text(), max_size=5), st.text(min_size=1))
def test_any_text_has_a_name_of_sixty_characters_at_most(texts: list[str], text: str) -> None:
    assert len(keywords(text, kept_of([text, *texts]), vocabulary_of(texts))) <= 60


def test_what_was_removed_from_a_vocabulary_weighs_as_if_it_had_never_been() -> None:
    first, item = kept_of(CARDS), terms_of("My card is lost")[-1].item
    vocabulary = vocabulary_of(["How do I pay?"])
    before = vocabulary.weight(item)
    vocabulary.add(first)
    vocabulary.remove(first)
    assert vocabulary.weight(item) == before


def test_a_catalogue_counts_the_words_of_the_clusters_that_live() -> None:
    catalogue, item = Catalogue("shop"), terms_of("My card is lost")[-1].item
    one = cluster(3, CARDS)
    catalogue.put([one, *(replace(cluster(3, ["Can I pay by bank?"]), cluster_id=at) for at in range(2, 20))])
    rare = catalogue.vocabulary.weight(item)
    catalogue.put(replace(one, cluster_id=at, revision=2) for at in range(2, 20))
    assert catalogue.vocabulary.weight(item) < rare
    catalogue.put(replace(one, cluster_id=at, event="retired") for at in range(1, 19))
    assert len(catalogue) == 1
    assert catalogue.vocabulary.weight(item) == 1


def test_names_are_shown_to_those_who_may_read_texts(tmp_path: Path) -> None:
    store = store_with({"shop": ["Where is my parcel?", "How do I pay?", "Can I return it?"]})
    store.label("shop", 2, "payment", None)
    settings, tokens = with_tokens(tmp_path, {"vera": {"*": "viewer"}})
    client = client_of(store)
    listed = client.get("/api/v1/namespaces/shop/clusters").json()["clusters"]
    assert [one["name"] for one in listed] == ["parcel", "payment", None]
    assert ">parcel</bdi>" in client.get("/n/shop/clusters").text
    assert client.get("/api/v1/namespaces/shop/clusters/c1").json()["name"] == "parcel"
    viewer = client_of(store, settings)
    told = viewer.get("/api/v1/namespaces/shop/clusters", headers={"Authorization": f"Bearer {tokens['vera']}"}).text
    assert "payment" in told
    assert "parcel" not in told


def test_keywords_are_told_beside_a_label_and_to_those_who_may_read_texts(tmp_path: Path) -> None:
    store = store_with({"shop": ["Where is my parcel?", "How do I pay?", "Can I return it?"]})
    store.label("shop", 1, "Delivery", None)
    settings, tokens = with_tokens(tmp_path, {"vera": {"*": "viewer"}, "otto": {"*": "operator"}})
    client = client_of(store, settings)
    for name, told in (("otto", ["parcel"]), ("vera", [])):
        shown = client.get("/api/v1/namespaces/shop/clusters/c1", headers=bearer(tokens[name])).json()
        assert (shown["name"], shown["keywords"]) == ("Delivery", told)
        page = client.get("/n/shop/clusters/c1", headers=bearer(tokens[name])).text
        assert ("<dt>Keywords</dt>" in page, '<bdi class="tag">parcel</bdi>' in page) == (bool(told), bool(told))
    two = client.get("/api/v1/namespaces/shop/clusters/c2", headers=bearer(tokens["otto"])).json()
    assert two["keywords"] == []
