"""What operators change through the page and the API, where a question would go, and decisions as they come."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from questream.clustering.levels import Levels, Node, leaf
from questream.domain import ClusterState, Operation
from questream.errors import KafkaUnavailable, QuestreamError, StoreUnavailable
from questream.operations import By, Decisions, merge_clusters
from questream.server.decisions import MOST_SUBSCRIBERS
from questream.server.decisions import Decisions as DecisionFeed
from questream.server.problems import Refused
from questream.store.protocol import ClusterUpdate, Committed, Proposal, ProposedOperation, StoredLevels
from questream.tools.lookup_server import ask_server
from questream.tools.unmerging import Joined
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

OPERATIONS = "/api/v1/namespaces/shop/operations"
ASSIGN = "/api/v1/namespaces/shop/assign"
TEXTS = ["Where is my parcel?", "How do I pay?", "Can I return it?", "Do you deliver abroad?"]


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Previews read questions from Kafka: that there is none is known at once, and not after five seconds each."""

    def refuse(*_: Any, **__: Any) -> AbstractContextManager[Any]:
        raise KafkaUnavailable("no broker answered", "start it")

    monkeypatch.setattr("questream.tools.kept_questions.open_reader", refuse)


def operate(client: TestClient, **body: Any) -> Any:
    return client.post(OPERATIONS, json=body)


def test_a_preview_tells_what_would_be_and_changes_nothing() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    told = operate(client, op="merge", cluster_id="c2", other_id="c1", dry_run=True).json()
    assert (told["after"]["cluster_id"], told["after"]["size"], told["drops_names"]) == ("c1", 7, False)
    told = operate(client, op="label", cluster_id="c1", label="parcel", dry_run=True).json()
    assert (told["before"][0]["label"], told["after"]["label"]) == (None, "parcel")
    assert [(state.size, state.label) for state in store.summaries("shop")] == [
        (4, None),
        (3, None),
        (2, None),
        (1, None),
    ]


def test_what_is_changed_is_in_the_list_at_once() -> None:
    client = client_of(store_with({"shop": TEXTS}))
    client.get("/api/v1/namespaces/shop/clusters")
    assert operate(client, op="label", cluster_id="c2", label=" payment ").json()["after"]["label"] == "payment"
    assert operate(client, op="route", cluster_id="c2", route="payments").json()["after"]["route"] == "payments"
    assert operate(client, op="merge", cluster_id="c1", other_id="c2").json()["after"]["cluster_id"] == "c2"
    listed = client.get("/api/v1/namespaces/shop/clusters").json()["clusters"]
    assert [(one["cluster_id"], one["size"], one["label"]) for one in listed[:2]] == [
        ("c2", 7, "payment"),
        ("c3", 2, None),
    ]
    assert client.get("/api/v1/namespaces/shop/clusters/c2").json()["merged_from"] == ["c1"]
    assert operate(client, op="label", cluster_id="c1", label="").json()["after"]["label"] is None


def test_an_operation_that_comes_again_is_done_once() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    merge = {"op": "merge", "cluster_id": "c1", "other_id": "c2", "id": "7"}
    first, second = operate(client, **merge), operate(client, **merge)
    assert (first.status_code, first.json()) == (200, second.json())
    assert operate(client, op="label", cluster_id="c1", label="x", id="7").status_code == 409
    assert operate(client, op="merge", cluster_id="c1", other_id="c2", id="8").status_code == 409


def test_the_history_tells_who_decided_what_and_takes_it_back() -> None:
    client = client_of(store_with({"shop": TEXTS}))
    pinned = operate(client, op="pin", cluster_id="c1", reason="ours", id="mine").json()
    assert (pinned["operation"], pinned["after"]["cluster_id"], pinned["drops_names"]) == (1, "c1", False)
    assert operate(client, op="separate", cluster_id="c1", other_id="c2").json()["operation"] == 2
    assert operate(client, op="label", cluster_id="c3", label="refunds").json()["operation"] == 3
    (separated, first) = client.get("/api/v1/namespaces/shop/clusters/c1/history").json()["operations"]
    assert (first["kind"], first["id"], first["reason"], first["undone_by"]) == ("pin", "mine", "ours", None)
    assert first["after"]["c1"]["pinned"]
    assert sorted(separated["after"]) == ["c1", "c2"]
    undo = f"{OPERATIONS}/1/undo"
    assert client.post(undo, json={"dry_run": True}).json()["operation"] is None
    taken = client.post(undo, json={"id": "back", "reason": "a mistake"}).json()
    assert (taken["operation"], taken["undoes"], taken["after"]["c1"]["pinned"]) == (4, 1, False)
    assert client.post(undo, json={"id": "back"}).json()["operation"] == 4
    assert client.post(undo, json={}).status_code == 409
    assert client.post(f"{OPERATIONS}/99/undo", json={}).status_code == 409
    listed = client.get("/api/v1/namespaces/shop/clusters/c1/history", params={"limit": 2}).json()["operations"]
    assert [(one["operation"], one["kind"]) for one in listed] == [(4, "undo"), (2, "separate")]


def held(cluster: dict[str, Any]) -> dict[str, Any]:
    """A cluster without what each request draws or counts anew."""
    return {name: value for name, value in cluster.items() if name != "revision"} | {
        "represented_by": None if cluster["represented_by"] is None else cluster["represented_by"]["place"]
    }


@pytest.mark.parametrize(
    ("before", "body"),
    [
        ([], {"op": "label", "label": "parcel"}),
        ([{"op": "route", "route": "cards"}], {"op": "route", "route": ""}),
        ([], {"op": "pin"}),
        ([{"op": "pin"}], {"op": "unpin"}),
        ([], {"op": "mute"}),
        ([{"op": "mute"}], {"op": "unmute"}),
        ([], {"op": "resolve"}),
        ([{"op": "resolve"}], {"op": "reopen"}),
        ([], {"op": "dismiss", "suggestion": "name"}),
        ([], {"op": "separate", "other_id": "c1"}),
        ([], {"op": "represent", "text": "Where are my parcels?"}),
        ([{"op": "represent", "text": "Where are they?"}], {"op": "forget", "irreversible": True}),
        (
            [{"op": "pin", "cluster_id": "c1"}, {"op": "represent", "cluster_id": "c1", "text": "Where is it?"}],
            {"op": "merge", "cluster_id": "c2", "other_id": "c1"},
        ),
        (
            [{"op": "label", "cluster_id": "c1", "label": "parcel"}, {"op": "label", "label": "payment"}],
            {"op": "merge", "other_id": "c1", "keep": "c2"},
        ),
        (
            [{"op": "label", "label": "payment"}, {"op": "merge", "other_id": "c1"}],
            {"op": "unmerge", "cluster_id": "c1"},
        ),
    ],
    ids=lambda value: value["op"] if isinstance(value, dict) else None,
)
def test_a_preview_has_the_cluster_as_the_operation_leaves_it(
    before: list[dict[str, Any]], body: dict[str, Any]
) -> None:
    client = client_of(store_with({"shop": TEXTS}))
    for one in before:
        assert operate(client, **{"cluster_id": "c2", **one}).status_code == 200
    looked = operate(client, **{"cluster_id": "c2", **body}, dry_run=True)
    done = operate(client, **{"cluster_id": "c2", **body})
    assert (looked.status_code, done.status_code) == (200, 200), looked.text
    assert held(looked.json()["after"]) == held(done.json()["after"])


def test_a_preview_of_a_merge_is_refused_as_the_merge_is() -> None:
    client = client_of(store_with({"shop": TEXTS}))
    merge = {"op": "merge", "cluster_id": "c1", "other_id": "c2"}
    operate(client, op="separate", cluster_id="c1", other_id="c2")
    looked, done = operate(client, **merge, dry_run=True), operate(client, **merge)
    assert (looked.status_code, looked.json()) == (409, done.json())


def test_separating_a_cluster_from_itself_is_refused_and_a_preview_changes_nothing() -> None:
    client = client_of(store_with({"shop": TEXTS}))
    assert operate(client, op="separate", cluster_id="c1", other_id="c1").status_code == 409
    assert operate(client, op="separate", cluster_id="c1", other_id="c2", dry_run=True).json()["operation"] is None
    assert operate(client, op="unpin", cluster_id="c1", dry_run=True).status_code == 200
    assert client.get("/api/v1/namespaces/shop/clusters/c1/history").json()["operations"] == []


def test_a_change_may_ask_for_the_revision_that_was_looked_at() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    seen = client.get("/api/v1/namespaces/shop/clusters/c1").headers["etag"]
    store.label("shop", 1, "somebody else's", None)
    body = {"op": "label", "cluster_id": "c1", "label": "mine"}
    assert client.post(OPERATIONS, json=body, headers={"If-Match": seen}).status_code == 412
    now = client.get("/api/v1/namespaces/shop/clusters/c1").headers["etag"]
    done = client.post(OPERATIONS, json=body, headers={"If-Match": now})
    assert (done.status_code, done.json()["after"]["label"]) == (200, "mine")
    assert done.headers["etag"] != now


def test_a_merge_loses_names_only_where_that_is_said() -> None:
    store = store_with({"shop": TEXTS})
    store.label("shop", 1, "parcel", None)
    store.label("shop", 2, "payment", "payments")
    client = client_of(store)
    merge = {"op": "merge", "cluster_id": "c1", "other_id": "c2"}
    assert operate(client, **merge, dry_run=True).json()["drops_names"] is True
    assert operate(client, **merge).status_code == 409
    assert operate(client, **merge, drop_names=True).json()["after"]["label"] == "parcel"


def test_a_cluster_is_resolved_and_muted_and_shown_so() -> None:
    client = client_of(store_with({"shop": TEXTS}))
    shown = "/api/v1/namespaces/shop/clusters/c1"
    assert operate(client, op="resolve", cluster_id="c1", dry_run=True).json()["operation"] is None
    assert client.get(shown).json()["status"] == "open"
    done = operate(client, op="resolve", cluster_id="c1", reason="fixed").json()
    assert (done["after"]["status"], done["after"]["muted"]) == ("resolved", False)
    assert operate(client, op="mute", cluster_id="c1").json()["after"]["muted"] is True
    told = client.get(shown).json()
    assert (told["status"], told["muted"]) == ("resolved", True)
    page = client.get("/n/shop/clusters/c1").text
    assert all(f'<span class="tag">{word}</span>' in page for word in ("resolved", "muted"))
    assert operate(client, op="reopen", cluster_id="c1").json()["after"]["status"] == "open"
    (_, muted, resolved) = client.get(f"{shown}/history").json()["operations"]
    assert (resolved["after"]["c1"]["resolved_size"], muted["after"]["c1"]["muted"]) == (4, True)


def decide(client: TestClient, **body: Any) -> Any:
    return client.post(f"{OPERATIONS}/questions", json=body)


def test_the_texts_of_a_cluster_are_erased_where_that_is_meant() -> None:
    client = client_of(store_with({"shop": TEXTS}))
    shown = "/api/v1/namespaces/shop/clusters/c1"
    for irreversible in ({}, {"irreversible": False}):
        assert operate(client, op="forget", cluster_id="c1", **irreversible).status_code == 422
    looked = operate(client, op="forget", cluster_id="c1", irreversible=True, dry_run=True).json()
    assert (looked["operation"], looked["after"]["representative"]) == (None, None)
    assert client.get(shown).json()["representative"] == TEXTS[0]
    done = operate(client, op="forget", cluster_id="c1", irreversible=True).json()
    assert (done["operation"], done["after"]["representative"]) == (1, None)
    told = client.get(shown).json()
    assert (told["representative"], told["size"]) == (None, 4)
    assert TEXTS[0] not in client.get("/n/shop/clusters").text
    assert client.post(f"{OPERATIONS}/1/undo", json={}).status_code == 409


def test_an_operation_that_comes_again_brings_no_erased_text_back() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    merge = {"op": "merge", "cluster_id": "c1", "other_id": "c2", "id": "7"}
    assert operate(client, **merge).json()["before"][1]["representative"] == TEXTS[1]
    # By a command, of which the server hears by the cluster topic at most.
    decisions = Decisions(store, "shop", By("anna"))
    decisions.commit(decisions.forget(1))
    again = operate(client, **merge)
    assert again.json()["operation"] == 1
    assert not any(text in again.text for text in TEXTS)


def test_questions_are_rejected_moved_and_split_by_their_texts() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store, encoder=encoder_of(TEXTS))
    looked = decide(client, op="reject", texts=[TEXTS[1]], dry_run=True)
    assert (looked.status_code, looked.json()["operation"]) == (200, None), looked.text
    assert store.operations("shop", 10) == []
    rejected = decide(client, op="reject", texts=[TEXTS[1]], reason="another matter", id="mine").json()
    assert [(one["kind"]) for one in rejected["after"]["c2"]["exemplars"]] == ["cannot"]
    assert decide(client, op="reject", texts=[TEXTS[1]], id="mine").json() == rejected
    moved = decide(client, op="move", texts=[TEXTS[2]], cluster_id="c1", target_id="c4").json()
    assert {name: [one["kind"] for one in ruled["exemplars"]] for name, ruled in moved["after"].items()} == {
        "c1": ["cannot"],
        "c4": ["must"],
    }
    # It keeps no question that might go along, and that would have to be read again.
    operate(client, op="forget", cluster_id="c3", irreversible=True)
    assert decide(client, op="split", texts=[TEXTS[0]], cluster_id="c3").json()["kind"] == "split"
    assert TEXTS[1] not in client.get("/api/v1/namespaces/shop/clusters/c2/history").text


@pytest.mark.parametrize(
    "body",
    [
        {"op": "reject"},
        {"op": "split", "texts": ["Where?"]},
        {"op": "move", "texts": ["Where?"]},
        {"op": "reject", "texts": ["Where?"], "target_id": "c1"},
        {"op": "reject", "texts": ["Where?"] * 33},
        {"op": "pin", "texts": ["Where?"]},
    ],
)
def test_what_says_too_little_of_questions_is_refused(body: Any) -> None:
    store = store_with({"shop": TEXTS})
    assert decide(client_of(store, encoder=encoder_of(TEXTS)), **body).status_code == 422
    assert store.operations("shop", 10) == []


def test_what_was_merged_stands_by_itself_again_and_is_listed() -> None:
    client = client_of(store_with({"shop": TEXTS}))
    listed = "/api/v1/namespaces/shop/clusters"
    client.get(listed)
    merged = operate(client, op="merge", cluster_id="c1", other_id="c2").json()["operation"]
    assert [one["cluster_id"] for one in client.get(listed).json()["clusters"]] == ["c1", "c3", "c4"]
    assert operate(client, op="unmerge", cluster_id="c2", dry_run=True).json()["operation"] is None
    parted = operate(client, op="unmerge", cluster_id="c2", id="mine")
    assert parted.status_code == 200, parted.text
    assert operate(client, op="unmerge", cluster_id="c2", id="mine").json() == parted.json()
    sizes = {one["cluster_id"]: one["size"] for one in client.get(listed).json()["clusters"]}
    assert sizes == {"c1": 4, "c2": 3, "c3": 2, "c4": 1}
    (told, _) = client.get(f"{listed}/c2/history").json()["operations"]
    assert (told["kind"], told["parted"], told["undoes"]) == ("unmerge", "c2", merged)
    assert operate(client, op="unmerge", cluster_id="c2").status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {"op": "label", "cluster_id": "c1"},
        {"op": "label", "cluster_id": "c1", "label": "x" * 257},
        {"op": "label", "cluster_id": "c1", "label": "two\nlines"},
        {"op": "label", "cluster_id": "1", "label": "x"},
        {"op": "label", "cluster_id": "c1", "label": "x", "more": 1},
        {"op": "explode", "cluster_id": "c1"},
        {"op": "merge", "cluster_id": "c1", "other_id": "c0"},
        [],
        None,
    ],
)
def test_what_is_no_operation_is_refused(body: Any) -> None:
    store = store_with({"shop": TEXTS})
    assert client_of(store).post(OPERATIONS, json=body).status_code == 422
    assert [state.label for state in store.summaries("shop")] == [None] * 4


def test_a_viewer_changes_nothing_and_is_offered_nothing(tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"*": "viewer"}, "anna": {"shop": "operator"}})
    store = store_with({"shop": TEXTS})
    client = client_of(store, settings)
    vera, anna = bearer(tokens["vera"]), bearer(tokens["anna"])
    body = {"op": "label", "cluster_id": "c1", "label": "x"}
    assert client.post(OPERATIONS, json=body, headers=vera).status_code == 403
    assert client.get("/n/shop/change?op=label&c=c1", headers=vera).status_code == 403
    client.get("/n/shop/clusters", headers=vera)
    form = {"form_token": client.cookies["questream_form"], "op": "label", "c": "c1", "name": "x"}
    assert client.post("/n/shop/change", data=form, headers=vera).status_code == 403
    assert client.get("/n/shop/decide?op=pin&c=c1", headers=vera).status_code == 403
    for page in ("/n/shop/clusters", "/n/shop/clusters/c1"):
        assert "/n/shop/change" not in client.get(page, headers=vera).text
        assert "/n/shop/change" in client.get(page, headers=anna).text
    assert client.post(OPERATIONS, json=body, headers=anna).status_code == 200
    assert client.post(f"{OPERATIONS}/1/undo", json={}, headers=vera).status_code == 403
    told = client.get("/api/v1/namespaces/shop/clusters/c1/history", headers=vera).json()["operations"]
    assert [one["actor"] for one in told] == ["anna"]


def test_the_page_labels_several_clusters_as_one_change() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    fields = fields_of(client.get("/n/shop/change?op=label&c=c1&c=c3&c=c1").text)
    assert fields["c"] == ["c1", "c3"]
    done = client.post("/n/shop/change", data={**fields, "name": "parcel"})
    assert (done.status_code, done.headers["location"]) == (303, "/n/shop/clusters?done=label&count=2&operation=1")
    page = client.get(done.headers["location"]).text
    assert "2 clusters labelled. This is operation 1." in page
    assert 'href="/n/shop/undo/1">Undo</a>' in page
    assert [state.label for state in store.summaries("shop")] == ["parcel", None, "parcel", None]


def test_the_page_merges_and_shows_first_what_becomes_of_it() -> None:
    store = store_with({"shop": TEXTS})
    store.label("shop", 2, "payment", None)
    store.label("shop", 3, "return", None)
    client = client_of(store)
    page = client.get("/n/shop/change?op=merge&c=c1&c=c2&c=c3").text
    assert "Drop the labels and routes that differ" in page
    fields = fields_of(page)
    assert client.post("/n/shop/change", data=fields).status_code == 409
    done = client.post("/n/shop/change", data={**fields, "drop_names": "yes"})
    assert done.headers["location"] == "/n/shop/clusters/c2?done=merge&count=3&operation=1.2"
    assert [(state.cluster_id, state.size) for state in store.summaries("shop")] == [(2, 9), (4, 1)]
    assert 'href="/n/shop/undo/1.2">Undo all</a>' in client.get(done.headers["location"]).text
    # Nothing of it is done while it is only looked at; then both merges are taken back, the last one first.
    looked = client.get("/n/shop/undo/1.2").text
    assert "Undo operations 1, 2" in looked
    assert looked.index('href="/n/shop/clusters/c1"') > 0
    assert looked.index('href="/n/shop/clusters/c3"') > 0
    fields = {**fields_of(looked), "reason": ["a mistake"]}
    for _ in range(2):
        done = client.post("/n/shop/undo/1.2", data=fields)
        assert done.headers["location"] == "/n/shop/clusters?done=undo&operation=3.4"
    assert "It was undone. These are operations 3, 4." in client.get(done.headers["location"]).text
    assert [(one.undoes, one.reason) for one in store.operations("shop", 2)] == [(1, "a mistake"), (2, "a mistake")]
    assert [state.size for state in store.summaries("shop")] == [4, 3, 2, 1]


@pytest.mark.parametrize("numbers", ["2", "1.2"])
def test_a_preview_of_undos_says_once_what_they_leave_as_it_is(numbers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    for name in ("c2", "c3"):
        operate(client, op="merge", cluster_id="c1", other_id=name)
    why = "questions that joined since stay where they were decided: no broker answered"
    monkeypatch.setattr("questream.server.analysis.joined_questions", lambda *_: Joined(unknown=why))
    page = client.get(f"/n/shop/undo/{numbers}").text
    assert page.count(why) == 1
    assert ("each preview is for it alone" in page) is (numbers == "1.2")


def test_of_operations_that_are_taken_back_together_those_that_stand_are() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    for name in ("c1", "c2", "c3"):
        operate(client, op="label", cluster_id=name, label="x")
    client.post(f"{OPERATIONS}/2/undo", json={})
    page = client.get("/n/shop/undo/3.2.1.3").text
    assert "Undo operations 1, 3" in page
    # Meanwhile somebody names one of them again: the other has been taken back by then, and the page says so.
    fields = fields_of(page) | {"seen": [""]}
    operate(client, op="label", cluster_id="c1", label="y")
    refused = client.post("/n/shop/undo/3.2.1.3", data=fields)
    assert (refused.status_code, "operation 1 was not taken back, 3 was" in refused.text) == (409, True)
    # What was done by then is a page away.
    where = "/n/shop/clusters/c3?done=undo&operation=6"
    assert f'href="{where.replace("&", "&amp;")}">operation 6, which took 3 back' in refused.text
    assert "It was undone. This is operation 6." in client.get(where).text
    assert [state.label for state in store.summaries("shop")] == ["y", None, None, None]
    for wrong in ("0", "1.", "x", "1.2.3.", ".".join(["1"] * 51)):
        assert client.get(f"/n/shop/undo/{wrong}").status_code == 422, wrong


def test_the_same_form_again_takes_back_what_it_did_and_not_what_somebody_else_did() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    for name in ("c1", "c2", "c3"):
        operate(client, op="label", cluster_id=name, label="x")
    client.post(f"{OPERATIONS}/3/undo", json={})
    fields = fields_of(client.get("/n/shop/undo/3.2.1").text)
    for _ in range(2):
        done = client.post("/n/shop/undo/3.2.1", data=fields)
        assert (done.status_code, done.headers["location"]) == (303, "/n/shop/clusters?done=undo&operation=5.6")
    assert len(store.operations("shop", 9)) == 6


def test_a_form_that_met_a_store_which_did_not_answer_stays_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    fields = fields_of(client.get("/n/shop/change?op=label&c=c1").text) | {"name": "parcels"}

    def fail(*_: object) -> None:
        raise StoreUnavailable("Redis did not answer", "check redis.url")

    with monkeypatch.context() as patch:
        patch.setattr(store, "operate", fail)
        refused = client.post("/n/shop/change", data=fields)
    # The address of a form has no page of its own, or another one: a browser that went there would lose what was typed.
    assert (refused.status_code, "refresh" in refused.headers) == (503, False)
    assert "check redis.url" in refused.text
    assert "Reload this page to send the form again." in refused.text
    assert client.post("/n/shop/change", data=fields).status_code == 303
    assert next(iter(store.summaries("shop"))).label == "parcels"


def test_where_the_store_ends_between_two_the_same_form_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    for name in ("c1", "c2", "c3", "c4"):
        operate(client, op="label", cluster_id=name, label="x")
    fields = fields_of(client.get("/n/shop/undo/1.2.3.4").text)
    operate_, left = store.operate, [1, 2]

    def fails_third(namespace: str, proposed: ProposedOperation) -> Operation | None:
        if not left:
            raise StoreUnavailable("Redis does not answer", "start it")
        left.pop()
        return operate_(namespace, proposed)

    with monkeypatch.context() as patch:
        patch.setattr(store, "operate", fails_third)
        ended = client.post("/n/shop/undo/1.2.3.4", data=fields)
    assert (ended.status_code, "Retry-After" in ended.headers, "Refresh" in ended.headers) == (503, True, False)
    assert "operation 2 was not taken back, 4, 3 were, by operations 5, 6: Redis does not answer" in ended.text
    done = client.post("/n/shop/undo/1.2.3.4", data=fields)
    assert done.headers["location"] == "/n/shop/clusters?done=undo&operation=5.6.7.8"
    assert [state.label for state in store.summaries("shop")] == [None] * 4


@pytest.mark.parametrize("path", ["decide?op=pin&c=c1", "decide?op=separate&c=c2&c=c1"])
def test_what_somebody_changed_since_the_preview_is_shown_first(path: str) -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    fields = fields_of(client.get(f"/n/shop/{path}").text)
    operate(client, op="label", cluster_id="c1", label="theirs")
    shown = client.post(f"/n/shop/{path}", data=fields | {"reason": "it is so"})
    assert (shown.status_code, "Somebody changed some of it" in shown.text) == (409, True)
    assert 'name="reason" value="it is so"' in shown.text
    assert len(store.operations("shop", 9)) == 1
    assert client.post(f"/n/shop/{path}", data=fields_of(shown.text)).status_code == 303


@pytest.mark.parametrize("path", ["undo/1", "undo/2", "undo/1.2", "undo/3", "undo/4", "undo/5", "unmerge/c3"])
def test_what_somebody_changed_since_the_preview_of_an_undo_is_shown_first(path: str) -> None:
    store = store_with({"shop": TEXTS})
    parents = {leaf(4): Node(1, 1), Node(1, 1): Node(2, 1)}
    assert store.write_levels("shop", store.store_epoch("shop") or "", StoredLevels(Levels(parents, (2, 2)), 4))
    by = Decisions(store, "shop", By("ann"))
    named = by.label_level("i1", None, "first")
    for decided in (by.mark("pin", 1), by.mark("mute", 2), by.merge(2, 3), by.rules({"threshold": 0.8}), named):
        by.commit(decided)
    client = client_of(store)
    fields = fields_of(client.get(f"/n/shop/{path}").text)
    theirs = by.label(1, "theirs", None), by.label(2, "theirs", None), by.rules({"max_clusters": 9}), by.pin_level("i1")
    for decided in theirs:
        by.commit(decided)
    shown = client.post(f"/n/shop/{path}", data=fields | {"reason": "it is so"})
    assert (shown.status_code, "Somebody changed some of it" in shown.text) == (409, True)
    assert 'name="reason" value="it is so"' in shown.text
    assert len(store.operations("shop", 99)) == 9
    for _ in range(2):
        assert client.post(f"/n/shop/{path}", data=fields_of(shown.text) | {"id": ["mine"]}).status_code == 303
    assert len(store.operations("shop", 99)) == 10 + (path == "undo/1.2")


@pytest.mark.parametrize(
    ("op", "told", "kept"),
    [
        ("pin", "pinned", lambda state: state.ruling.pinned),
        ("mute", "muted", lambda state: state.ruling.muted),
        ("resolve", "open → resolved", lambda state: state.ruling.resolved_size is not None),
        ("separate&c=c2", "kept apart", lambda state: bool(state.ruling.separations)),
        ("forget", "This cannot be undone", lambda state: state.representative is None),
    ],
    ids=["pin", "mute", "resolve", "separate", "forget"],
)
def test_the_page_shows_first_what_an_operation_on_a_cluster_does(
    op: str, told: str, kept: Callable[[ClusterState], bool]
) -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    where = f"/n/shop/decide?c=c1&op={op}"
    looked = client.get(where)
    assert (looked.status_code, told in looked.text) == (200, True)
    (state,) = store.states("shop", [1])
    assert not kept(state)
    fields = {**fields_of(looked.text), "reason": "it is so"}
    if op == "forget":
        assert client.post(where, data=fields).status_code == 409
        fields["is_meant"] = "yes"
    done = client.post(where, data=fields)
    assert done.status_code == 303
    page = client.get(done.headers["location"]).text
    assert "This is operation 1." in page
    assert ('href="/n/shop/undo/1"' in page) is (op != "forget")
    (state,) = store.states("shop", [1])
    assert kept(state)
    (committed,) = store.operations("shop", 1)
    assert committed.reason == "it is so"
    # The same form again is the same operation.
    client.post(where, data=fields)
    assert len(store.operations("shop", 10)) == 1


@pytest.mark.parametrize(
    "query",
    [
        "op=pin",
        "op=pin&c=x",
        "op=separate&c=c1",
        "op=move&c=c1&c=c2",
        "op=move&c=c1&q=1",
        "op=reject&c=c1",
        "op=no&c=c1",
    ],
)
def test_a_change_that_says_too_little_is_refused(query: str) -> None:
    assert client_of(store_with({"shop": TEXTS})).get(f"/n/shop/decide?{query}").status_code == 422


def test_what_another_operator_did_meanwhile_is_shown_before_anything_is_done() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    fields = fields_of(client.get("/n/shop/change?op=label&c=c1").text)
    store.label("shop", 1, "theirs", None)
    shown = client.post("/n/shop/change", data={**fields, "name": "mine"})
    assert shown.status_code == 409
    assert "Somebody changed" in shown.text
    assert "theirs" in shown.text
    client.post("/n/shop/change", data={**fields_of(shown.text), "name": "mine"})
    assert next(iter(store.summaries("shop"))).label == "mine"


def test_a_question_that_counts_meanwhile_is_no_change_by_another_operator() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    fields = fields_of(client.get("/n/shop/change?op=merge&c=c1&c=c2").text)
    mirror = store.load("shop")
    joined = ClusterUpdate(1, 1, 1, 2, vectors_of(1)[0], NOW_MS)
    proposal = Proposal(mirror.store_epoch, mirror.seq, [], [joined], None, "model", 0.7, NOW_MS)
    assert isinstance(store.commit({"shop": proposal})["shop"], Committed)
    assert client.post("/n/shop/change", data=fields).status_code == 303


def test_the_nearest_clusters_are_shown_without_the_cluster_itself() -> None:
    client = client_of(store_with({"shop": TEXTS}))
    page = client.get("/n/shop/clusters/c1").text
    nearest = page[page.index('id="near"') : page.index('id="merged"')]
    assert sorted(set(re.findall(r"clusters/(c\d)", nearest))) == ["c2", "c3", "c4"]


def test_a_question_is_answered_by_the_model_that_is_loaded_once(tmp_path: Path) -> None:
    store = store_with({"shop": TEXTS})
    settings, tokens = with_tokens(tmp_path, {"vera": {"*": "viewer"}, "anna": {"*": "operator"}})
    client = client_of(store, settings, encoder=encoder_of(TEXTS))
    answer = client.post(ASSIGN, json={"text": TEXTS[2]}, headers=bearer(tokens["anna"])).json()
    assert (answer["cluster"]["cluster_id"], answer["cluster"]["representative"]) == ("c3", TEXTS[2])
    assert len(answer["nearest"]) == 4
    hidden = client.post(ASSIGN, json={"text": TEXTS[2]}, headers=bearer(tokens["vera"])).json()
    assert hidden["cluster"]["representative"] is None
    store.label("shop", 1, "moved on", None)
    merge_clusters(store, "shop", 2, 3)
    moved = client.post(ASSIGN, json={"text": TEXTS[1]}, headers=bearer(tokens["anna"])).json()
    assert [one["cluster_id"] for one in moved["nearest"]].count("c3") == 0
    assert store.namespace_state("shop").next_cluster == 5  # type: ignore[union-attr]


def test_a_text_that_a_worker_would_refuse_and_a_model_that_is_not_loaded_are_told() -> None:
    store = store_with({"shop": TEXTS})
    ready = client_of(store, encoder=encoder_of(TEXTS))
    refused = ready.post(ASSIGN, json={"text": "   "})
    assert (refused.status_code, "empty_text" in refused.json()["detail"]) == (422, True)
    assert client_of(store).post(ASSIGN, json={"text": TEXTS[0]}).status_code == 503
    add_clusters(store, "other", TEXTS)
    assert ready.post(ASSIGN, json={"text": ""}).status_code == 422
    page = ready.get("/n/shop/ask")
    form = {"form_token": ready.cookies["questream_form"], "text": TEXTS[0]}
    assert page.status_code == 200
    assert "It would join" in ready.post("/n/shop/ask", data=form).text
    assert "empty_text" in ready.post("/n/shop/ask", data=form | {"text": "\u200b"}).text


@pytest.mark.parametrize("server", ["ftp://host", "file:///etc/passwd", "127.0.0.1:8464"])
def test_only_a_server_of_http_is_asked(server: str) -> None:
    with pytest.raises(QuestreamError, match="http"):
        ask_server(server, "shop", "text")


def test_a_server_that_is_not_there_is_told_without_the_question() -> None:
    with pytest.raises(QuestreamError, match="did not answer") as caught:
        ask_server("http://127.0.0.1:9", "shop", "a secret question")
    assert "secret" not in str(caught.value)


@dataclass
class Published:
    """A record of the output topic."""

    value: bytes
    topic: str = "question-clusters"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def test_decisions_reach_who_looks_at_their_namespace_with_texts_for_who_may_read_them() -> None:
    decisions = DecisionFeed(lambda decision: f"text of {decision['question_id']}")

    async def look() -> tuple[Any, Any]:
        async with decisions.subscribe("shop", True) as reader, decisions.subscribe("shop", False) as viewer:
            for value in (b"no JSON", b"[]", orjson.dumps({"namespace": "books", "question_id": "q0"})):
                decisions.take(Published(value))
            decisions.take(Published(orjson.dumps({"namespace": "shop", "question_id": "q1"})))
            return await asyncio.wait_for(reader.waiting.get(), 5), await asyncio.wait_for(viewer.waiting.get(), 5)

    read, seen = asyncio.run(look())
    assert read == {"namespace": "shop", "question_id": "q1", "text": "text of q1"}
    assert seen == {"namespace": "shop", "question_id": "q1"}


def test_one_who_does_not_keep_up_is_told_how_many_were_left_out_and_holds_nobody_up() -> None:
    decisions = DecisionFeed(lambda _: None)

    async def look() -> tuple[int, int]:
        async with decisions.subscribe("shop", False) as slow:
            for number in range(250):
                decisions.take(Published(orjson.dumps({"namespace": "shop", "question_id": str(number)})))
            await asyncio.sleep(0.1)
            return slow.waiting.qsize(), slow.skipped

    assert asyncio.run(look()) == (200, 50)


def test_so_many_may_look_and_no_more() -> None:
    decisions = DecisionFeed(lambda _: None)

    async def look(left: int) -> None:
        if left:
            async with decisions.subscribe("shop", False):
                await look(left - 1)
            return
        with pytest.raises(Refused, match="too many") as refused:
            decisions.require_room()
        assert refused.value.headers["Retry-After"]
        assert refused.value.remedy

    asyncio.run(look(MOST_SUBSCRIBERS))
    decisions.require_room()
