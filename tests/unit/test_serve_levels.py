"""Intents and topics in the API and on the page."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from questream.clustering.levels import Levels, Node, leaf
from questream.store.protocol import ClusterUpdate, Committed, LedgerRow, PartitionBatch, Proposal, StoredLevels
from questream.store.reference.store import MemoryStore
from tests.kit.serving import NOW_MS, add_clusters, bearer, client_of, store_with, vectors_of, with_tokens

LEVELS = "/api/v1/namespaces/shop/levels"
TEXTS = ["Where is my parcel?", "When does my parcel come?", "How do I pay?", "Can I pay by card?", "<b>Who?</b>"]
DELIVERY, PAYMENT, ORDERS = Node(1, 1), Node(1, 2), Node(2, 1)


@pytest.fixture
def shop() -> MemoryStore:
    """Clusters c1 to c5 of 5 to 1 questions: two of delivery, two of payment, both of one topic, and one alone."""
    store = store_with({"shop": TEXTS, "empty": TEXTS[:1]})
    parents = {leaf(1): DELIVERY, leaf(2): DELIVERY, leaf(3): PAYMENT, leaf(4): PAYMENT}
    levels = Levels({**parents, DELIVERY: ORDERS, PAYMENT: ORDERS}, (9, 2))
    found = StoredLevels(levels, 5, {Node(1, 7): PAYMENT, Node(1, 8): None})
    assert store.write_levels("shop", store.store_epoch("shop") or "", found)
    return store


def test_intents_and_topics_are_listed_the_largest_first(shop: MemoryStore) -> None:
    client = client_of(shop)
    found = client.get(LEVELS).json()
    assert [(one["id"], one["size"], one["clusters"]) for one in found["communities"]] == [
        ("i1", 9, ["c1", "c2"]),
        ("i2", 5, ["c3", "c4"]),
        ("c5", 1, ["c5"]),
    ]
    assert [one["topic_id"] for one in found["communities"]] == ["t1", "t1", "c5"]
    assert found["communities"][0]["representative"] == TEXTS[0]
    topics = client.get(f"{LEVELS}?level=topic").json()
    assert [(one["id"], one["intents"], one["cluster_count"]) for one in topics["communities"]] == [
        ("t1", ["i1", "i2"], 4),
        ("c5", ["c5"], 1),
    ]
    page = client.get(f"{LEVELS}?limit=1&skip=1").json()
    assert (page["communities"], page["total"]) == (found["communities"][1:2], 3)
    assert client.get("/api/v1/namespaces/empty/levels").json() == {"communities": [], "total": 0}


def test_an_id_leads_to_its_intent_or_to_where_its_questions_are(shop: MemoryStore) -> None:
    client = client_of(shop)
    assert client.get(f"{LEVELS}/i2").json()["id"] == "i2"
    assert client.get(f"{LEVELS}/i7").json()["id"] == "i2"
    assert client.get(f"{LEVELS}/t1").json()["intent_count"] == 2
    for missing in ("i8", "i99", "t9", "c1"):
        assert client.get(f"{LEVELS}/{missing}").status_code == 404, missing
    assert client.get(f"{LEVELS}/x1").status_code == 422
    assert client.get("/api/v1/namespaces/empty/levels/i1").status_code == 404


def test_who_may_not_read_texts_sees_the_tree_without_them(shop: MemoryStore, tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}})
    client = client_of(shop, settings, peer="10.0.0.1")
    answers = [client.get(path, headers=bearer(tokens["vera"])) for path in (LEVELS, f"{LEVELS}/i1", "/n/shop/levels")]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert not any("parcel" in answer.text for answer in answers)


def test_the_page_is_a_tree_of_topics_intents_and_clusters(shop: MemoryStore) -> None:
    page = client_of(shop).get("/n/shop/levels").text
    places = [page.index(f">{name}<") for name in ("t1", "i1", "c1", "c2", "i2", "c3", "c4")]
    assert places == sorted(places)
    assert "2</b> topics of <b>3</b> intents" in page
    assert "<b>Who?</b>" not in page
    assert "No intents yet" in client_of(shop).get("/n/empty/levels").text


def test_an_operator_names_an_intent_and_its_clusters_are_shown_by_it(shop: MemoryStore, tmp_path: Path) -> None:
    roles = {"vera": {"shop": "viewer"}, "otto": {"shop": "operator"}}
    settings, tokens = with_tokens(tmp_path, roles)
    client = client_of(shop, settings, peer="10.0.0.1")
    otto, naming = bearer(tokens["otto"]), {"label": "Delivery", "route": "parcels", "id": "mine"}
    assert client.post(f"{LEVELS}/i1/label", json=naming, headers=bearer(tokens["vera"])).status_code == 403
    assert client.post(f"{LEVELS}/i1/label", json={**naming, "dry_run": True}, headers=otto).json()["operation"] is None
    for _ in range(2):
        done = client.post(f"{LEVELS}/i1/label", json=naming, headers=otto).json()
        assert (done["operation"], done["actor"]) == (1, "otto")
        assert done["levels"]["after"] == {"i1": {"label": "Delivery", "route": "parcels"}}
    client.post(f"{LEVELS}/t1/label", json={"label": "Orders", "route": "orders"}, headers=otto)
    found = client.get(LEVELS, headers=otto).json()["communities"]
    assert [(one["name"], one["label"], one["route"], one["named"]) for one in found[:2]] == [
        ("Delivery", "Delivery", "parcels", True),
        (found[1]["name"], "Orders", "orders", False),
    ]
    page = client.get("/n/shop/levels", headers=otto).text
    assert ">Delivery<" in page
    assert "to parcels" in page
    for answer, status in (
        (client.post(f"{LEVELS}/i8/label", json=naming | {"id": ""}, headers=otto), 409),
        (client.post(f"{LEVELS}/c1/label", json=naming | {"id": ""}, headers=otto), 409),
        (client.post(f"{LEVELS}/i1/label", json={}, headers=otto), 422),
        (client.post(f"{LEVELS}/i1/label", json={"label": "two\nlines"}, headers=otto), 422),
    ):
        assert answer.status_code == status, answer.text


class CountingStore(MemoryStore):
    """Counts how often levels are read whole."""

    read = 0

    def levels(self, namespace: str) -> StoredLevels:
        self.read += 1
        return super().levels(namespace)


def test_levels_are_read_once_for_each_version_and_clusters_that_came_since_are_placed() -> None:
    store = CountingStore()
    add_clusters(store, "shop", TEXTS)
    found = StoredLevels(Levels({leaf(1): DELIVERY, leaf(2): DELIVERY}, (2, 1)), 5)
    store_epoch = store.store_epoch("shop") or ""
    assert store.write_levels("shop", store_epoch, found)
    client = client_of(store)
    assert client.get(f"{LEVELS}/i1").json()["clusters"] == ["c1", "c2"]
    # Near to the first cluster, and one that is near to none.
    first = vectors_of(len(TEXTS))[0]
    whole = store.namespace_state("shop")
    assert whole is not None
    updates = [ClusterUpdate(6, 1, 0, 1, first, NOW_MS, "new?"), ClusterUpdate(7, 1, 0, 1, -first, NOW_MS, "other?")]
    rows = [LedgerRow(at, at + 1, 1.0, True, 1, None, False) for at in (5, 6)]
    partitions = [PartitionBatch("questions", 0, rows, 5)]
    proposal = Proposal(store_epoch, whole.seq, partitions, updates, None, "model", 0.7, NOW_MS)
    assert isinstance(store.commit({"shop": proposal})["shop"], Committed)
    client = client_of(store)
    deadline = time.monotonic() + 30
    while client.get(f"{LEVELS}/i1").json()["clusters"] != ["c1", "c2", "c6"]:
        assert time.monotonic() < deadline, "the new cluster is not where the first one is"
    before = store.read
    assert [one["id"] for one in client.get(LEVELS).json()["communities"]].count("c7") == 1
    client.get("/n/shop/levels")
    assert store.read == before
    assert store.write_levels("shop", store_epoch, store.levels("shop"))
    client.get("/n/shop/levels")
    assert store.read == before + 2
