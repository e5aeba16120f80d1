"""The rules of a namespace, in the API and on the page."""

from __future__ import annotations

import html
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from questream.clustering.kept_members import KeptMember, KeptMembers
from questream.store.protocol import ClusterUpdate, Committed, Identity, Proposal
from questream.store.reference.store import MemoryStore
from tests.kit.serving import DIMENSION, NOW_MS, bearer, client_of, store_with, with_tokens

RULES = "/api/v1/namespaces/shop/rules"
SET = "/api/v1/namespaces/shop/operations/rules"


@pytest.fixture
def shop() -> MemoryStore:
    return store_with({"shop": ["Where is my parcel?", "How do I pay?"]})


def test_rules_are_set_told_and_taken_back(shop: MemoryStore) -> None:
    client = client_of(shop)
    assert client.get(RULES).json() == {"rules": {}, "operation": None}
    asked = {"rules": {"threshold": 0.8, "max_clusters": "off"}, "reason": "finer", "id": "one"}
    seen = client.post(SET, json=asked | {"dry_run": True}).json()
    assert (seen["operation"], seen["rules"]["after"]) == (None, {"threshold": 0.8, "max_clusters": 0})
    assert client.get(RULES).json()["rules"] == {}
    for _ in range(2):
        done = client.post(SET, json=asked).json()
        assert (done["operation"], done["kind"], done["reason"]) == (1, "rules", "finer")
    assert client.get(RULES).json() == {"rules": {"threshold": 0.8, "max_clusters": 0.0}, "operation": 1}
    client.post(SET, json={"rules": {"threshold": None, "linkage": "average"}})
    assert shop.rules("shop").values() == {"linkage": "average", "max_clusters": 0}
    undone = client.post("/api/v1/namespaces/shop/operations/2/undo", json={}).json()
    assert undone["rules"]["after"] == {"threshold": 0.8, "max_clusters": 0}


@pytest.mark.parametrize(
    "rules",
    [
        *(
            {},
            {"threshold": 2},
            {"threshold": "off"},
            {"linkage": "some"},
            {"max_clusters": 1},
            {"similarity": "cosine"},
        ),
        *({"intent_resolution": 0}, {"topic_resolution": "off"}),
    ],
    ids=str,
)
def test_rules_that_are_none_or_out_of_range_are_refused(shop: MemoryStore, rules: dict[str, object]) -> None:
    assert client_of(shop).post(SET, json={"rules": rules}).status_code == 422
    assert shop.operations("shop", 1) == []


def test_who_only_looks_sets_no_rules(shop: MemoryStore, tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}, "otto": {"shop": "operator"}})
    client = client_of(shop, settings, peer="10.0.0.1")
    asked = {"rules": {"threshold": 0.8}}
    assert client.get(RULES, headers=bearer(tokens["vera"])).status_code == 200
    assert client.post(SET, json=asked, headers=bearer(tokens["vera"])).status_code == 403
    assert client.post(SET, json=asked, headers=bearer(tokens["otto"])).json()["actor"] == "otto"


def near_twins() -> MemoryStore:
    """Clusters c1 and c2 of three that are .8 near to each other, of questions that joined at .72 and .9."""
    store = MemoryStore()
    vectors = np.zeros((3, DIMENSION), np.float32)
    vectors[0, 0] = vectors[2, 2] = 1
    vectors[1, :2] = 0.8, 0.6
    store.open("shop", Identity("model", "revision", DIMENSION, "cosine", "adaptive", 0.85))
    store.recover("shop", store.begin_recovery("shop"), None, {})
    kept = str(KeptMembers.of([KeptMember(("q", 0, 1), 0.72), KeptMember(("q", 0, 2), 0.9)]))
    texts = ["Where is my parcel?", "When does my parcel come?", "How do I pay?"]
    updates = [
        ClusterUpdate(at + 1, 3 - at, 0, 1, vectors[at], NOW_MS, text, kept_members=kept if at == 0 else "")
        for at, text in enumerate(texts)
    ]
    fresh = store.load("shop")
    proposal = Proposal(fresh.store_epoch, fresh.seq, [], updates, None, "model", 0.85, NOW_MS)
    assert isinstance(store.commit({"shop": proposal})["shop"], Committed)
    return store


def effect(client: TestClient, **thresholds: float) -> dict[str, Any]:
    """What thresholds would do, once the centroids are read."""
    until = time.monotonic() + 10
    while (answer := client.get(f"{RULES}/effect", params=thresholds)).status_code == 503:
        assert time.monotonic() < until
    found: dict[str, Any] = answer.json()
    return found


def test_a_threshold_is_previewed_and_changes_nothing() -> None:
    store = near_twins()
    client = client_of(store)
    lower = effect(client, threshold=0.75)
    assert lower["in_force"] == {"threshold": 0.85, "merge_threshold": 0.85, "linkage": "adaptive"}
    assert (lower["would_merge"], lower["examples"]) == (1, [["c1", "c2"]])
    assert (lower["kept_questions"], lower["kept_questions_that_would_not_join"]) == (2, 1)
    higher = effect(client, threshold=0.95)
    assert (higher["would_merge"], higher["kept_questions_that_would_not_join"]) == (0, 2)
    assert (higher["compared"], higher["clusters"]) == (3, 3)
    assert client.get(f"{RULES}/effect", params={"threshold": 2}).status_code == 422
    assert store.operations("shop", 1) == []


def test_of_many_clusters_the_largest_are_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(near_twins())
    monkeypatch.setattr("questream.server.analysis._MOST_PAIRS", 3)
    found = effect(client, threshold=0.75)
    assert (found["compared"], found["clusters"], found["would_merge"]) == (1, 3, 1)


def test_taking_rules_back_is_previewed() -> None:
    client = client_of(near_twins())
    client.post(SET, json={"rules": {"threshold": 0.75}})
    assert effect(client)["would_merge"] == 0
    undo = "/api/v1/namespaces/shop/operations/1/undo"
    assert client.post(undo, json={"dry_run": True}).json()["rules_effect"] is None
    told = client.post(undo, json={"dry_run": True, "questions": 10}).json()
    assert (told["operation"], told["effect"]) == (None, None)
    assert (told["rules_effect"]["clusters"], told["rules_effect"]["would_merge"]) == (3, 0)
    client.post(undo, json={"id": "back"})
    again = client.post("/api/v1/namespaces/shop/operations/2/undo", json={"dry_run": True, "questions": 10}).json()
    assert again["rules_effect"]["would_merge"] == 1
    assert "pairs would be near enough" in client.get("/n/shop/undo/2").text


def test_an_operator_previews_and_sets_a_threshold_on_the_page() -> None:
    store = near_twins()
    client = client_of(store)
    effect(client, threshold=0.75)
    page = client.get("/n/shop/rules", params={"threshold": 0.75}).text
    assert "What 0.750 would do, in place of 0.850" in page
    assert "When does my parcel come?" in page
    fields = {name: hidden(page, name) for name in ("form_token", "id", "threshold")} | {"reason": "too fine"}
    for _ in range(2):
        done = client.post("/n/shop/rules", data=fields)
        assert done.headers["location"] == "/n/shop/rules?done=rules&operation=1"
    assert store.rules("shop").values() == {"threshold": 0.75}
    (only,) = store.operations("shop", 9)
    assert (only.kind, only.reason) == ("rules", "too fine")
    shown = client.get(done.headers["location"]).text
    assert "This is operation 1." in shown
    unset = {"form_token": fields["form_token"], "id": "back", "threshold": ""}
    assert client.post("/n/shop/rules", data=unset).status_code == 303
    assert store.rules("shop").values() == {}
    assert client.post("/n/shop/rules", data=fields | {"id": "x", "threshold": "nan"}).status_code == 422


def test_rules_that_somebody_else_set_since_the_preview_are_shown_first() -> None:
    store = near_twins()
    client = client_of(store)
    effect(client, threshold=0.75)
    page = client.get("/n/shop/rules", params={"threshold": 0.75}).text
    fields = {name: hidden(page, name) for name in ("form_token", "id", "seen", "threshold")} | {"reason": "too fine"}
    client.post(SET, json={"rules": {"max_clusters": 9}})
    shown = client.post("/n/shop/rules", data=fields)
    assert (shown.status_code, "Somebody changed some of it" in shown.text) == (409, True)
    assert "What 0.750 would do" in shown.text
    assert 'name="reason" value="too fine"' in shown.text
    assert store.rules("shop").values() == {"max_clusters": 9}
    again = fields | {name: hidden(shown.text, name) for name in ("id", "seen")}
    assert client.post("/n/shop/rules", data=again).status_code == 303
    assert store.rules("shop").values() == {"max_clusters": 9, "threshold": 0.75}


def test_a_viewer_previews_without_texts_and_sets_nothing(tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}})
    store = near_twins()
    client = client_of(store, settings, peer="10.0.0.1")
    client.headers.update(bearer(tokens["vera"]))
    effect(client, threshold=0.75)
    page = client.get("/n/shop/rules", params={"threshold": 0.75}).text
    assert "pair of clusters would become one" in page
    assert "parcel" not in page
    assert "Set it" not in page
    fields = {"form_token": hidden(client.get("/n/shop/ask").text, "form_token"), "threshold": "0.5"}
    assert client.post("/n/shop/rules", data=fields).status_code == 403
    assert store.operations("shop", 1) == []


def hidden(page: str, name: str) -> str:
    """The value of a field that a form hides."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return html.unescape(found[1])
