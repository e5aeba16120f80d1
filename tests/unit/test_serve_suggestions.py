"""What automatic merging leaves to people, in the API: without texts for those who may not read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from questream.clustering.levels import Levels, Node, leaf
from questream.clustering.mirror import Mirror
from questream.clustering.rules import Rules
from questream.domain import ClusterState
from questream.operations import By, Decisions
from questream.operations.suggesting import Suggestion, find_suggestions
from questream.server.problems import loading
from questream.settings import Settings
from questream.store.protocol import Identity, StoredLevels
from questream.store.reference.store import MemoryStore
from questream.tools.checking import check_labels
from questream.tools.suggestions import unnamed
from tests.kit.serving import DIMENSION, bearer, client_of, store_with, with_tokens
from tests.kit.stream import wait_until

SUGGESTIONS = "/api/v1/namespaces/shop/suggestions"
TEXTS = ["Where is my parcel?", "How do I pay?", "Who are you?"]


def with_low_merge_threshold(settings: Settings | None = None) -> Settings:
    """All clusters are near enough to merge, were they not ruled."""
    settings = settings or Settings()
    clusters = settings.clusters.model_copy(update={"merge_threshold": -1.0, "linkage": "average"})
    return settings.model_copy(update={"clusters": clusters})


def pinned(store: MemoryStore, cluster_id: int) -> MemoryStore:
    decisions = Decisions(store, "shop", By("ann"))
    decisions.commit(decisions.mark("pin", cluster_id))
    return store


def answer(client: TestClient, path: str = SUGGESTIONS, headers: dict[str, str] | None = None) -> Any:
    """What the server says once it has read the centroids."""
    wait_until(lambda: client.get(path, headers=headers).status_code != 503, "the centroids are read")
    return client.get(path, headers=headers)


@pytest.fixture
def shop() -> MemoryStore:
    """A store whose first cluster is pinned, and of which all would merge."""
    store = store_with({"shop": TEXTS})
    store.open("shop", Identity("model", "revision", DIMENSION, "cosine", "average", -1.0))
    return pinned(store, 1)


def test_suggestions_are_listed_the_largest_first(shop: MemoryStore) -> None:
    found = answer(client_of(shop, with_low_merge_threshold())).json()["suggestions"]
    assert [[one["cluster_id"] for one in row["clusters"]] for row in found] == [["c1", "c2"], ["c1", "c3"]]
    assert [row["size"] for row in found] == [5, 4]
    assert {tuple(row["forbidden_by"]) for row in found} == {("pin",)}
    one = answer(client_of(shop, with_low_merge_threshold()), f"{SUGGESTIONS}?limit=1").json()["suggestions"]
    assert one == found[:1]


def test_of_many_clusters_those_that_are_answered_go_at_once(
    shop: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("questream.server.suggesting._MOST_PAIRS_AT_ONCE", 2)
    compared = list[int]()

    def counted(
        mirror: Mirror, states: Mapping[int, ClusterState], rules: Rules, most: int, ruled: Sequence[int]
    ) -> list[Suggestion]:
        compared.append(len(ruled))
        return find_suggestions(mirror, states, rules, most, ruled)

    monkeypatch.setattr("questream.server.analysis.find_suggestions", counted)
    client = client_of(shop, with_low_merge_threshold())

    def pairs() -> list[list[str]]:
        found = answer(client).json()["suggestions"]
        return [[one["cluster_id"] for one in row["clusters"]] for row in found]

    assert pairs() == [["c1", "c2"], ["c1", "c3"]]
    body = {"op": "dismiss", "cluster_id": "c3", "suggestion": "name"}
    assert client.post("/api/v1/namespaces/shop/operations", json=body).status_code == 200
    # What people decided on since is looked at again with the next comparison.
    assert (pairs(), compared) == ([["c1", "c2"]], [1])
    monkeypatch.setattr("questream.server.suggesting._MOST_PAIRS", 2)
    refused = answer(client_of(shop, with_low_merge_threshold()))
    assert (refused.status_code, "pairs of ruled clusters" in refused.text) == (409, True)


def test_many_clusters_are_compared_in_parts(shop: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, label in ((2, "payment"), (3, "people")):
        shop.label("shop", number, label, None)
    whole = answer(client_of(shop, with_low_merge_threshold())).json()
    assert len(whole["suggestions"]) == 3
    for name, most in (("suggesting._MOST_PAIRS_AT_ONCE", 2), ("analysis._MOST_PAIRS", 3)):
        monkeypatch.setattr(f"questream.server.{name}", most)
    assert answer(client_of(shop, with_low_merge_threshold())).json() == whole


def test_a_comparison_that_ends_in_the_middle_is_tried_again(
    shop: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("questream.server.suggesting._MOST_PAIRS_AT_ONCE", 2)
    monkeypatch.setattr("questream.server.failures._FIRST_PAUSE_SECONDS", 0.0)
    find, left = find_suggestions, [1]

    def ends(*given: Any) -> list[Suggestion]:
        if left:
            left.pop()
            raise loading("the centroids of shop")
        return find(*given)

    monkeypatch.setattr("questream.server.analysis.find_suggestions", ends)
    client = client_of(shop, with_low_merge_threshold())
    # Those who ask meanwhile are told to ask again, and not that their request is wrong.
    told = list[Any]()

    def found() -> bool:
        told.append(client.get(SUGGESTIONS))
        return bool(told[-1].status_code == 200)

    wait_until(found, "the clusters are compared")
    assert {one.status_code for one in told} == {503, 200}
    assert all(one.headers["Retry-After"] and one.json()["remedy"] for one in told[:-1])
    assert "the clusters that are near cannot be read now" in {one.json()["detail"] for one in told[:-1]}


def test_many_overlaps_hide_no_other_merges(shop: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("questream.server.pages.suggestions._PAGE", 1)
    for number, label in ((2, "payment"), (3, "people")):
        shop.label("shop", number, label, None)
    client = client_of(shop, with_low_merge_threshold())
    assert 'aria-label="c1 and c2"' in shown_once_read(client)
    assert 'aria-label="c2 and c3"' in client.get("/n/shop/suggestions?kind=overlap").text


def test_who_may_not_read_texts_is_shown_none(shop: MemoryStore, tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}})
    client = client_of(shop, with_low_merge_threshold(settings), peer="10.0.0.1")
    shown = answer(client, headers=bearer(tokens["vera"]))
    assert shown.status_code == 200
    assert len(shown.json()["suggestions"]) == 2
    assert not any(text in shown.text for text in TEXTS)


def test_a_namespace_that_may_not_be_seen_has_none(shop: MemoryStore) -> None:
    assert client_of(shop).get("/api/v1/namespaces/none/suggestions").status_code == 404
    assert client_of(shop).get(f"{SUGGESTIONS}?limit=201").status_code == 422


def shown_once_read(client: TestClient, headers: dict[str, str] | None = None) -> str:
    """The page once the server has read the centroids."""
    page = "/n/shop/suggestions"
    wait_until(lambda: client.get(page, headers=headers).status_code != 503, "the centroids are read")
    return client.get(page, headers=headers).text


def form_token(page: str) -> str:
    return page.partition('name="form_token" value="')[2].partition('"')[0]


def test_a_suggestion_that_is_dismissed_on_the_page_is_made_no_more(shop: MemoryStore) -> None:
    client = client_of(shop, with_low_merge_threshold())
    page = shown_once_read(client)
    assert page.count("one is pinned") == 2
    assert "/n/shop/change?op=merge&c=c1&c=c2" in page
    fields = {"form_token": form_token(page), "id": "one", "c": ["c1", "c2"]}
    for _ in range(2):
        answered = client.post("/n/shop/suggestions/dismiss", data=fields)
        assert answered.status_code == 303
    (newest,) = shop.operations("shop", 1)
    assert (newest.kind, newest.number) == ("separate", 2)
    told = client.get(answered.headers["location"]).text
    assert "This is operation 2." in told
    assert told.count("one is pinned") == 1


@pytest.mark.parametrize("chosen", [[], ["c1"], ["c1", "c2", "c3"], ["c1", "c1"], ["c1", "elsewhere"], ["c1", "c99"]])
def test_what_is_no_suggestion_is_not_dismissed(shop: MemoryStore, chosen: list[str]) -> None:
    client = client_of(shop, with_low_merge_threshold())
    fields = {"form_token": form_token(shown_once_read(client)), "id": "one", "c": chosen}
    assert client.post("/n/shop/suggestions/dismiss", data=fields).status_code in (404, 409, 422)
    assert [one.kind for one in shop.operations("shop", 10)] == ["pin"]


def test_a_viewer_is_shown_suggestions_without_texts_and_dismisses_none(shop: MemoryStore, tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}})
    client = client_of(shop, with_low_merge_threshold(settings), peer="10.0.0.1")
    headers = bearer(tokens["vera"])
    page = shown_once_read(client, headers)
    assert page.count("one is pinned") == 2
    assert not any(text in page for text in TEXTS)
    assert "Dismiss" not in page
    fields = {"form_token": client.cookies["questream_form"], "id": "one", "c": ["c1", "c2"]}
    assert client.post("/n/shop/suggestions/dismiss", data=fields, headers=headers).status_code == 403


def test_large_clusters_without_a_label_are_suggested_until_they_are_named_or_dismissed(tmp_path: Path) -> None:
    store = store_with({"shop": [*TEXTS, "Do you deliver abroad?", "May I pay by card?"]})
    client = client_of(store)
    page = f"{SUGGESTIONS}?kind=name"

    def found() -> list[str]:
        rows = client.get(page).json()["suggestions"]
        assert {(row["suggestion"], row["size"]) for row in rows} <= {("name", size) for size in range(3, 6)}
        return [row["clusters"][0]["cluster_id"] for row in rows]

    assert found() == ["c1", "c2", "c3"]
    shown = client.get("/n/shop/suggestions?kind=name").text
    assert "/n/shop/change?op=label&c=c2" in shown
    fields = {"form_token": form_token(shown), "id": "one", "kind": "name", "c": ["c1"]}
    for _ in range(2):
        answered = client.post("/n/shop/suggestions/dismiss", data=fields)
        assert answered.headers["location"] == "/n/shop/suggestions?kind=name&done=dismiss&operation=1"
    assert "The suggestion was dismissed. This is operation 1." in client.get(answered.headers["location"]).text
    assert found() == ["c2", "c3"]
    body = {"op": "dismiss", "cluster_id": "c2", "suggestion": "name", "reason": "too mixed"}
    done = client.post("/api/v1/namespaces/shop/operations", json=body).json()
    assert (done["operation"], found()) == (2, ["c3"])
    # Neither forgets the other, and both are taken back alone.
    split = {**body, "suggestion": "split"}
    assert client.post("/api/v1/namespaces/shop/operations", json=split).json()["operation"] == 3
    history = client.get("/api/v1/namespaces/shop/clusters/c2/history").json()["operations"]
    assert [one["after"]["c2"]["dismissed"] for one in history] == [["name", "split"], ["name"]]
    assert client.post("/api/v1/namespaces/shop/operations/2/undo", json={}).status_code == 409
    for number in (3, 2):
        assert client.post(f"/api/v1/namespaces/shop/operations/{number}/undo", json={}).status_code == 200
    assert found() == ["c2", "c3"]
    store.label("shop", 2, "payment", None)
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}})
    named = client_of(store, settings).get("/n/shop/suggestions?kind=name", headers=bearer(tokens["vera"])).text
    # As many questions as the cluster with a label has, or more.
    assert ('aria-label="c3"' in named, 'aria-label="c2"' in named) == (False, False)


def test_a_cluster_whose_intent_has_a_label_needs_none() -> None:
    store = store_with({"shop": [*TEXTS, "Do you deliver abroad?"]})
    intent, topic = Node(1, 1), Node(2, 1)
    labelled = {intent: (None, "orders"), topic: ("Delivery", None)}
    found = StoredLevels(Levels({leaf(1): intent, intent: topic, leaf(2): Node(1, 2)}, (3, 2)), 2, named=labelled)
    store.write_levels("shop", store.store_epoch("shop") or "", replace(found, operation=1))
    rows = client_of(store).get(f"{SUGGESTIONS}?kind=name").json()["suggestions"]
    assert [row["clusters"][0]["cluster_id"] for row in rows] == ["c2"]
    assert [one.cluster_id for one in unnamed(store, "shop", 9)] == [2]  # type: ignore[arg-type]  # of both stores
    missing = check_labels(store.summaries("shop"), [], 0, store.levels("shop").labelled())
    assert [[state.cluster_id for state in one.clusters] for one in missing] == [[2]]


@pytest.mark.parametrize(
    "fields",
    [{"kind": "name", "c": ["c1", "c2"]}, {"kind": "split", "c": []}, {"kind": "other", "c": ["c1"]}],
    ids=["two to name", "none to split", "no kind"],
)
def test_a_dismissal_of_no_suggestion_is_refused(shop: MemoryStore, fields: dict[str, object]) -> None:
    client = client_of(shop, with_low_merge_threshold())
    token = form_token(shown_once_read(client))
    assert client.post("/n/shop/suggestions/dismiss", data={"form_token": token, **fields}).status_code == 422


def test_what_overlaps_has_a_place_of_its_own() -> None:
    store = store_with({"shop": TEXTS})
    store.open("shop", Identity("model", "revision", DIMENSION, "cosine", "average", -1.0))
    for number, label in ((1, "parcel"), (2, "payment")):
        store.label("shop", number, label, None)
    client = client_of(pinned(store, 3), with_low_merge_threshold())
    merges = shown_once_read(client)
    assert ('aria-label="c1 and c3"' in merges, 'aria-label="c1 and c2"' in merges) == (True, False)
    overlaps = client.get("/n/shop/suggestions?kind=overlap").text
    assert ('aria-label="c1 and c3"' in overlaps, 'aria-label="c1 and c2"' in overlaps) == (False, True)
    assert "/n/shop/change?op=label&c=c1&c=c2" in overlaps


def test_what_looks_like_two_is_not_told_before_the_model_is_loaded() -> None:
    client = client_of(store_with({"shop": TEXTS}))
    shown = client.get("/n/shop/suggestions?kind=split")
    assert (shown.status_code, "the model" in shown.text) == (503, True)
    assert client.get(f"{SUGGESTIONS}?kind=split").status_code == 503


def test_a_page_without_suggestions_says_so() -> None:
    assert "Nothing to answer" in shown_once_read(client_of(store_with({"shop": TEXTS})))
