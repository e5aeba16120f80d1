"""The rules of a namespace, in the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from questream.store.reference.store import MemoryStore
from tests.kit.serving import bearer, client_of, store_with, with_tokens

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
    [{}, {"threshold": 2}, {"threshold": "off"}, {"linkage": "some"}, {"max_clusters": 1}, {"similarity": "cosine"}],
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
