"""Intents and topics in the API and on the page."""

from __future__ import annotations

import html
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from questream.clustering.levels import Levels, Node, leaf
from questream.lab.bench.questions import table_encoder
from questream.operations import By, Decisions
from questream.store.protocol import ClusterUpdate, Committed, LedgerRow, PartitionBatch, Proposal, StoredLevels
from questream.store.reference.store import MemoryStore
from tests.kit.counted import counted, decision
from tests.kit.serving import (
    NOW_MS,
    add_clusters,
    bearer,
    client_of,
    encoder_of,
    fields_of,
    store_with,
    vectors_of,
    with_tokens,
)
from tests.kit.stream import wait_until

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


def test_a_label_of_a_small_cluster_does_not_name_the_intent_and_topic_around_it(shop: MemoryStore) -> None:
    made = Decisions(shop, "shop", By("anna"))
    made.commit(made.label(4, "card payment", None))
    named = {one["id"]: one["name"] for one in client_of(shop).get(LEVELS).json()["communities"]}
    assert "card payment" not in named.values()
    assert client_of(shop).get(f"{LEVELS}/t1").json()["labels"] == ["card payment"]
    made.commit(made.label(1, "parcel", None))
    assert client_of(shop).get(f"{LEVELS}/i1").json()["name"] == "parcel"


def test_a_name_has_its_typical_question_beside_it(shop: MemoryStore, tmp_path: Path) -> None:
    made = Decisions(shop, "shop", By("anna"))
    for number in (1, 3, 4):
        made.commit(made.label(number, f"label {number}", None))
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}, "otto": {"shop": "operator"}})
    client = client_of(shop, settings, peer="10.0.0.1")

    def shown(path: str, name: str) -> list[str]:
        page = client.get(f"/n/shop/{path}", headers=bearer(tokens[name])).text
        return re.findall(r'<bdi class="text">(.*?)</bdi>', page)

    # Of the topic, and of each intent and its clusters; the question alone is shown by itself already.
    assert shown("levels", "otto") == [TEXTS[at] for at in (0, 0, 0, 1, 2, 2, 3)]
    assert shown("levels/i2", "otto") == [TEXTS[2], TEXTS[3]]
    assert shown("levels", "vera") == shown("levels/i2", "vera") == []


def test_the_tree_shows_the_largest_clusters_of_an_intent_and_how_many_more_there_are() -> None:
    words = ("parcel", "card", "invoice", "account", "password")
    shop = store_with({"shop": [f"Where is my {word}?" for word in words]})
    found = StoredLevels(Levels({leaf(number): DELIVERY for number in range(1, 6)}, (2, 1)), 5)
    shop.write_levels("shop", shop.store_epoch("shop") or "", found)
    page = client_of(shop).get("/n/shop/levels").text
    assert [f">c{number}<" in page for number in range(1, 6)] == [True, True, True, False, False]
    assert "and 2 smaller ones" in page


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
        (client.post(f"{LEVELS}/i1/label", json=naming | {"label": "Other"}, headers=otto), 409),
        (client.post(f"{LEVELS}/i8/label", json=naming | {"id": ""}, headers=otto), 409),
        (client.post(f"{LEVELS}/c1/label", json=naming | {"id": ""}, headers=otto), 409),
        (client.post(f"{LEVELS}/i1/label", json={}, headers=otto), 422),
        (client.post(f"{LEVELS}/i1/label", json={"label": "two\nlines"}, headers=otto), 422),
    ):
        assert answer.status_code == status, answer.text


def name_levels(store: MemoryStore) -> None:
    """Delivery (i1) and orders (t1) are named, and what is routed of t1."""
    decisions = Decisions(store, "shop", By("ann"))
    decisions.commit(decisions.label_level("i1", "Delivery", None))
    decisions.commit(decisions.label_level("t1", "Orders", "orders"))


def test_a_cluster_tells_what_it_is_in_and_what_it_inherits(shop: MemoryStore) -> None:
    client = client_of(shop)
    name_levels(shop)
    shown = client.get("/api/v1/namespaces/shop/clusters/c1").json()
    assert (shown["label"], shown["route"], shown["path"]) == (None, None, ["t1", "i1", "c1"])
    assert shown["inherited"] == {"label": "Delivery", "route": "orders"}
    assert shown["levels"] == [
        {"id": "i1", "level": "intent", "label": "Delivery", "route": None, "name": "Delivery"},
        {"id": "t1", "level": "topic", "label": "Orders", "route": "orders", "name": "Orders"},
    ]
    unnamed = client.get("/api/v1/namespaces/shop/clusters/c3").json()["levels"][0]
    listed = next(one for one in client.get(LEVELS).json()["communities"] if one["id"] == "i2")
    assert (unnamed["label"], unnamed["name"]) == (None, listed["name"])
    alone = client.get("/api/v1/namespaces/shop/clusters/c5").json()
    assert (alone["path"], alone["levels"]) == (["c5", "c5", "c5"], [])
    early = client.get("/api/v1/namespaces/empty/clusters/c1").json()
    assert (early["path"], early["levels"]) == (None, [])
    page = client.get("/n/shop/clusters/c1").text
    assert all(text in page for text in (">i1<", ">t1<", "<bdi>Delivery</bdi>", "<bdi>orders</bdi>", "inherited"))


def test_who_may_not_read_texts_is_told_levels_by_labels_alone(shop: MemoryStore, tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}})
    client = client_of(shop, settings, peer="10.0.0.1")
    shown = client.get("/api/v1/namespaces/shop/clusters/c1", headers=bearer(tokens["vera"])).json()
    assert [one["name"] for one in shown["levels"]] == [None, None]


def test_a_question_is_told_the_names_that_its_decision_would_inherit(shop: MemoryStore) -> None:
    client = client_of(shop, encoder=encoder_of([*TEXTS[:4], "Who?"]))
    name_levels(shop)
    decisions = Decisions(shop, "shop", By("ann"))
    decisions.commit(decisions.label(2, "Arrival", None))
    asked = [ready(client, text) for text in (TEXTS[0], TEXTS[1], "Who?")]
    assert [(one["label"], one["route"]) for one in asked] == [
        ("Delivery", "orders"),
        ("Arrival", "orders"),
        (None, None),
    ]
    assert [[level["id"] for level in one["levels"]] for one in asked] == [["i1", "t1"], ["i1", "t1"], []]
    first = asked[0]["cluster"]
    assert (first["label"], first["inherited"], first["path"]) == (
        None,
        {"label": "Delivery", "route": "orders"},
        ["t1", "i1", "c1"],
    )
    form = {"form_token": client.cookies["questream_form"], "text": TEXTS[0]}
    page = client.post("/n/shop/ask", data=form).text
    assert all(text in page for text in (">i1<", "<bdi>Delivery</bdi>", "<bdi>orders</bdi>"))


def test_a_question_that_would_open_a_cluster_inherits_from_where_that_would_be() -> None:
    near = ["Where is my parcel?", "My parcel, where is it?", "Parcel, where?"]
    store = MemoryStore()
    add_clusters(store, "shop", near[:2])
    first, second = vectors_of(2)
    # Near to the first, and not near enough to join it.
    aside = vectors_of(3)[2] - float(vectors_of(3)[2] @ first) * first
    other = (0.6 * first + 0.8 * aside / np.linalg.norm(aside)).astype(np.float32)
    found = StoredLevels(Levels({leaf(1): DELIVERY, leaf(2): DELIVERY, DELIVERY: ORDERS}, (2, 2)), 2)
    assert store.write_levels("shop", store.store_epoch("shop") or "", found)
    name_levels(store)
    encoder = replace(table_encoder(near, np.stack([first, second, other])), name="model", revision="revision")
    client = client_of(store, encoder=encoder)
    answer = ready(client, near[2])
    assert (answer["outcome"], answer["label"], answer["route"]) == ("created", "Delivery", "orders")


def ready(client: TestClient, text: str) -> dict[str, Any]:
    """What the API answers once it has read the centroids."""
    deadline = time.monotonic() + 30
    while (answer := client.post("/api/v1/namespaces/shop/assign", json={"text": text})).status_code == 503:
        assert time.monotonic() < deadline, "the centroids are not read"
    client.get("/n/shop/ask")
    found: dict[str, Any] = answer.json()
    assert answer.status_code == 200, found
    return found


def test_an_operator_names_an_intent_by_the_form_of_the_page(shop: MemoryStore) -> None:
    client = client_of(shop)
    assert 'href="/n/shop/levels/i1"' in client.get("/n/shop/levels").text
    form = client.get("/n/shop/levels/i1").text
    fields = {name: hidden(form, name) for name in ("form_token", "id", "seen")}
    names = {"label": "Delivery", "route": "parcels"}
    for _ in range(2):
        saved = client.post("/n/shop/levels/i1", data=fields | names)
        if saved.status_code != 303:
            break
        assert "It was named. This is operation 1." in client.get(saved.headers["location"]).text
    assert shop.levels("shop").named == {DELIVERY: ("Delivery", "parcels")}
    assert len(shop.operations("shop", 9)) == 1
    # Somebody else's name is shown before it is overwritten.
    late = client.post("/n/shop/levels/i1", data=fields | {"id": "other", "label": "Late", "route": ""})
    assert (late.status_code, "computed again" in late.text, 'value="Delivery"' in late.text) == (
        409,
        True,
        True,
    )
    assert len(shop.operations("shop", 9)) == 1
    bad = client.post("/n/shop/levels/i1", data={**fields, "seen": hidden(late.text, "seen"), "label": "two\nlines"})
    assert bad.status_code == 422
    assert client.get("/n/shop/levels/i8").status_code == 404


def test_a_viewer_is_shown_no_form_of_names(shop: MemoryStore, tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}})
    client = client_of(shop, settings, peer="10.0.0.1")
    assert "/n/shop/levels/i1" not in client.get("/n/shop/levels", headers=bearer(tokens["vera"])).text
    page = client.get("/n/shop/levels/i1", headers=bearer(tokens["vera"]))
    assert (page.status_code, "<form" in page.text.partition("<main")[2]) == (200, False)
    assert 'href="/n/shop/clusters/c2"' in page.text
    assert client.post("/n/shop/levels/i1", headers=bearer(tokens["vera"])).status_code in (403, 415)
    assert shop.operations("shop", 9) == []


def test_one_level_is_shown_flat_with_the_questions_of_its_clusters_by_day(shop: MemoryStore) -> None:
    now_ms = time.time_ns() // 1_000_000
    volumes = counted((decision(at, now_ms, f"c{one}") for at, one in enumerate((1, 1, 2, 3, 5))), now_ms)
    client = client_of(shop, volumes=volumes)
    intents = client.get("/n/shop/levels?level=intent").text
    rows = [row.partition("</tr>")[0] for row in intents.split("<tr data-row>")[1:]]
    assert [re.search(r'class="title[^"]*" href="([^"]*)"', row)[1] for row in rows] == [  # type: ignore[index]
        "/n/shop/levels/i1",
        "/n/shop/levels/i2",
        "/n/shop/clusters/c5",
    ]
    # Nothing a week ago, and all of them today.
    assert '<path class="before" d="M0 19h4V20h-4z' in rows[0]
    assert 'M72 19h4V20h-4zM78 1h4V20h-4z"/>' in rows[0]
    assert ["3 questions in" in rows[0], "1 questions in" in rows[1], "1 questions in" in rows[2]] == [True] * 3
    topics = client.get("/n/shop/levels?level=topic").text
    assert topics.count("<tr data-row>") == 2
    assert "4 questions in" in topics
    tree = client.get("/n/shop/levels").text
    assert "4 questions in" in tree
    assert 'href="/n/shop/levels?level=topic"' in client.get("/n/shop/clusters").text
    assert "No intents yet" in client.get("/n/empty/levels?level=intent").text


def test_the_tree_is_searched_filtered_and_selected_from_as_the_list_is(shop: MemoryStore, tmp_path: Path) -> None:
    client = client_of(shop, encoder=encoder_of(TEXTS))
    word = TEXTS[3].split()[-1].strip("?")

    def shown(**query: str) -> list[str]:
        page = client.get("/n/shop/levels", params=query).text
        return re.findall(r'name="c" value="(c\d+)"', page)

    assert shown() == ["c1", "c2", "c3", "c4", "c5"]
    assert shown(q=word) == ["c4"]
    assert shown(label="") == ["c1", "c2", "c3", "c4", "c5"]
    assert shown(activity="quiet") == []
    assert "Nothing matches" in client.get("/n/shop/levels?activity=resolved").text
    made = Decisions(shop, "shop", By("anna"))
    made.commit(made.mark("resolve", 2))
    client = client_of(shop, encoder=encoder_of(TEXTS))
    assert shown(activity="resolved") == ["c2"]
    page = client.get("/n/shop/levels?activity=resolved").text
    assert '<span class="tag">resolved</span>' in page
    assert 'href="/n/shop/clusters?sort=size&amp;activity=resolved"' in page
    wait_until(lambda: client.get(f"/n/shop/levels?sort=meaning&q={TEXTS[2]}").status_code == 200, "centroids are read")
    # The nearest comes first, and with it the intent and the topic that it is in.
    found = client.get(LEVELS, params={"q": TEXTS[2], "by_meaning": True}).json()["communities"]
    assert found[0]["clusters"][0] in ("c3", "c4")
    assert client.get(LEVELS, params={"q": word}).json()["total"] == 1
    assert client.get(LEVELS, params={"q": "nothing of that kind"}).json() == {"communities": [], "total": 0}
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}})
    viewer = client_of(shop, settings).get("/n/shop/levels", headers=bearer(tokens["vera"])).text
    assert 'type="checkbox"' not in viewer


def test_several_intents_or_topics_are_labelled_and_routed_at_once(shop: MemoryStore) -> None:
    client = client_of(shop)
    for page, ids in (("", ["t1", "i1", "i2"]), ("?level=intent", ["i1", "i2"]), ("?level=topic", ["t1"])):
        shown = client.get(f"/n/shop/levels{page}").text
        assert re.findall(r'name="c" value="([it]\d+)"', shown) == ids, page
    assert 'name="c" value="c5"' in client.get("/n/shop/levels?level=intent").text
    for op, name in (("label", "Orders"), ("route", "team")):
        form = client.get(f"/n/shop/change?op={op}&c=i1&c=i2&c=i7")
        assert f"{op.capitalize()} 2 intents" in form.text
        fields = fields_of(form.text)
        done = client.post("/n/shop/change", data={**fields, "name": name})
        assert done.headers["location"].startswith("/n/shop/levels?level=intent&done=")
        page = client.get(done.headers["location"]).text
        assert f"2 intents {op}" in page
        assert re.search(r'href="/n/shop/undo/\d\.\d">Undo all<', page)
        # A browser that sends it again is told what it did.
        again = client.post("/n/shop/change", data={**fields, "name": name})
        assert again.headers["location"] == done.headers["location"]
    assert shop.levels("shop").named == {DELIVERY: ("Orders", "team"), PAYMENT: ("Orders", "team")}
    assert [one.kind for one in shop.operations("shop", 9)] == ["label"] * 4
    one = client.post(
        "/n/shop/change", data={**fields_of(client.get("/n/shop/change?op=label&c=t1").text), "name": "T"}
    )
    assert one.headers["location"] == "/n/shop/levels/t1?done=label&count=1&of=topic&operation=5"
    assert 'href="/n/shop/undo/5"' in client.get(one.headers["location"]).text
    looked = client.get("/n/shop/undo/3.4").text
    assert ("Undo operations 3, 4" in looked, looked.count("<bdi>team</bdi> → <bdi>none</bdi>")) == (True, 2)
    done = client.post("/n/shop/undo/3.4", data=fields_of(looked))
    assert done.headers["location"] == "/n/shop/levels?done=undo&operation=6.7"
    named = shop.levels("shop").named
    assert {node: named[node] for node in (DELIVERY, PAYMENT)} == {
        DELIVERY: ("Orders", None),
        PAYMENT: ("Orders", None),
    }


def test_a_merge_of_several_intents_is_taken_back_at_once(shop: MemoryStore) -> None:
    parents = {leaf(at): Node(1, at) for at in range(1, 6)}
    alone = replace(shop.levels("shop"), levels=Levels(parents, (9, 2)))
    assert shop.write_levels("shop", shop.store_epoch("shop") or "", alone)
    client = client_of(shop)
    done = client.post("/n/shop/change", data=fields_of(client.get("/n/shop/change?op=merge&c=i3&c=i1&c=i2").text))
    assert done.headers["location"] == "/n/shop/levels/i1?done=merge&count=3&of=intent&operation=1.2"
    assert client.get(f"{LEVELS}/i1").json()["clusters"] == ["c1", "c2", "c3"]
    client.post("/n/shop/undo/1.2", data=fields_of(client.get("/n/shop/undo/1.2").text))
    found = client.get(LEVELS).json()["communities"]
    assert [one["clusters"] for one in found] == [[f"c{at}"] for at in range(1, 6)]


def test_what_somebody_changed_of_intents_since_the_preview_is_shown_first(shop: MemoryStore) -> None:
    client = client_of(shop)
    path = "/n/shop/decide/levels?op=separate&level_id=i1&other_id=i2"
    fields = fields_of(client.get(path).text)
    decisions = Decisions(shop, "shop", By("ann"))
    decisions.commit(decisions.label_level("i2", "Payment", None))
    shown = client.post(path, data=fields)
    assert (shown.status_code, "Somebody changed some of it" in shown.text) == (409, True)
    assert client.post(path, data=fields_of(shown.text)).status_code == 303


def test_several_intents_are_merged_once_what_names_they_lose_is_agreed(shop: MemoryStore) -> None:
    client = client_of(shop)
    decisions = Decisions(shop, "shop", By("ann"))
    decisions.commit(decisions.label_level("i2", "Payment", None))
    decisions.commit(decisions.label_level("i1", "Delivery", None))
    page = client.get("/n/shop/change?op=merge&c=i1&c=i2").text
    assert "Drop the labels and routes that differ from those of i1" in page
    assert client.post("/n/shop/change", data=fields_of(page)).status_code == 409
    done = client.post("/n/shop/change", data={**fields_of(page), "drop_names": "yes"})
    assert done.headers["location"] == "/n/shop/levels/i1?done=merge&count=2&of=intent&operation=3"
    assert client.get(f"{LEVELS}/i2").json()["clusters"] == ["c1", "c2", "c3", "c4"]
    page = client.get(done.headers["location"]).text
    assert "2 intents merged into one. This is operation 3." in page
    assert 'href="/n/shop/undo/3"' in page
    client.post("/n/shop/undo/3", data=fields_of(client.get("/n/shop/undo/3").text))
    assert client.get(f"{LEVELS}/i2").json()["clusters"] == ["c3", "c4"]


def test_a_merge_of_intents_that_one_of_them_forbids_is_refused_before_any_is_merged(shop: MemoryStore) -> None:
    client = client_of(shop)
    decisions = Decisions(shop, "shop", By("ann"))
    decisions.commit(decisions.separate_levels("i1", "i2"))
    refused = client.get("/n/shop/change?op=merge&c=i1&c=i2")
    assert (refused.status_code, "were separated" in refused.text) == (409, True)
    for wrong in ("c=i1&c=c3", "c=i1&c=t1", "c=x1", "c=i", "c="):
        assert client.get(f"/n/shop/change?op=label&{wrong}").status_code == 422, wrong
    assert client.get("/n/shop/change?op=label&c=i8").status_code == 404


def test_a_name_that_somebody_changed_meanwhile_is_not_overwritten_by_the_api(shop: MemoryStore) -> None:
    client = client_of(shop)
    for path, url, body in (
        (f"{LEVELS}/i1", f"{LEVELS}/i1/label", {"label": "Delivery"}),
        ("/api/v1/namespaces/shop/rules", "/api/v1/namespaces/shop/operations/rules", {"rules": {"threshold": 0.5}}),
    ):
        stood = {"If-Match": client.get(path).headers["ETag"]}
        changing = {**body, "dry_run": False, "id": f"of {path}"}
        answers = [client.post(url, json={**changing, "id": id}, headers=stood) for id in (f"of {path}", "late")]
        assert [answer.status_code for answer in answers] == [200, 412]
        # What comes again is told again, and what asks for no state is done.
        assert client.post(url, json=changing, headers=stood).json()["operation"] == answers[0].json()["operation"]
        assert client.post(url, json={**changing, "id": ""}, headers={"If-Match": "*"}).status_code == 200


def hidden(page: str, name: str) -> str:
    """The value of a field that a form hides."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, name
    return html.unescape(found[1])


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


DECIDE = "/api/v1/namespaces/shop/operations/levels"


def test_an_operator_decides_what_is_in_an_intent(shop: MemoryStore, tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}, "otto": {"shop": "operator"}})
    client = client_of(shop, settings, peer="10.0.0.1")
    otto, moving = bearer(tokens["otto"]), {"op": "move", "ids": ["c3"], "target_id": "i1", "id": "mine"}
    assert client.post(DECIDE, json=moving, headers=bearer(tokens["vera"])).status_code == 403
    told = client.post(DECIDE, json={**moving, "dry_run": True}, headers=otto).json()
    assert (told["operation"], told["levels"]["places"]) == (None, {"c3": {"before": "i2", "after": "i1"}})
    for _ in range(2):
        done = client.post(DECIDE, json=moving, headers=otto).json()
        assert (done["operation"], done["kind"], done["after"]["c3"]["kept_in"]) == (1, "move", ["i1"])
    assert client.get("/api/v1/namespaces/shop/clusters/c3", headers=otto).json()["path"] == ["t1", "i1", "c3"]
    for op, more in (
        ("pin", {"level_id": "i1"}),
        ("unpin", {"level_id": "i1"}),
        ("separate", {"level_id": "i1", "other_id": "i2"}),
    ):
        answer = client.post(DECIDE, json={"op": op, **more}, headers=otto)
        assert (answer.status_code, answer.json()["kind"]) == (200, op), answer.text
    for wrong, status in (
        ({**moving, "op": "pin", "level_id": "i1"}, 422),
        ({"op": "pin", "level_id": "i1", "id": "mine"}, 409),
        ({"op": "merge", "level_id": "i1", "other_id": "i2"}, 409),
        ({"op": "move", "ids": ["c77"], "target_id": "i1"}, 404),
        ({"op": "move", "ids": ["c1"], "target_id": "t1"}, 409),
    ):
        answer = client.post(DECIDE, json=wrong, headers=otto)
        assert answer.status_code == status, answer.text


def test_intents_that_are_named_differently_are_merged_where_that_is_said(shop: MemoryStore) -> None:
    client = client_of(shop)
    decisions = Decisions(shop, "shop", By("ann"))
    decisions.commit(decisions.label_level("i1", "Delivery", None))
    decisions.commit(decisions.label_level("i2", "Payment", None))
    merging = {"op": "merge", "level_id": "i1", "other_id": "i2"}
    assert client.post(DECIDE, json=merging).status_code == 409
    done = client.post(DECIDE, json={**merging, "keep": "i2"}).json()
    assert {name: one["label"] for name, one in done["levels"]["after"].items()} == {"i1": "Payment", "i2": None}


def test_the_page_of_an_intent_previews_what_people_decide_of_it(shop: MemoryStore) -> None:
    client = client_of(shop)
    assert "Decide what is in it" in client.get("/n/shop/levels/i1").text
    assert "Move to intent" in client.get("/n/shop/clusters/c3").text
    decide = "/n/shop/decide/levels"

    def do(**asked: str) -> Any:
        form = {"form_token": client.cookies["questream_form"], "id": "-".join(asked.values()), "reason": "read it"}
        return client.post(decide, params=asked, data=form)

    shown = client.get(decide, params={"op": "move", "ids": "c3 c4", "target_id": "i1"}).text
    assert "Move c3, c4 to i1" in shown
    assert "read it" not in shown
    assert "kept in none → i1" in shown
    assert shop.operations("shop", 9) == []
    answer = do(op="move", ids="c3", target_id="i1")
    assert "The change was applied. This is operation 1." in client.get(answer.headers["location"]).text
    assert do(op="move", ids="c3", target_id="own", keep=" ").status_code == 303
    do(op="pin", level_id="i1")
    client.get(decide, params={"op": "separate", "level_id": "i1", "other_id": "i2"})
    do(op="separate", level_id="i1", other_id="i2", target_id="", keep="")
    done = shop.operations("shop", 9)
    assert [one.kind for one in done] == ["separate", "pin", "move", "move"]
    assert {one.reason for one in done} == {"read it"}
    assert client.get(decide, params={"op": "merge", "level_id": "i1", "other_id": "x"}).status_code == 422
