"""Intents that people know, brought in and told again through the API and the page."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from questream.store.reference.store import MemoryStore
from tests.kit.serving import bearer, client_of, encoder_of, store_with, with_tokens

INTENTS = "/api/v1/namespaces/shop/intents"
PAGE = "/n/shop/intents"
KNOWN = ["Where is my parcel?", "How do I pay?"]
EXAMPLES = ["I have lost my card", "My card was stolen", "May I close my account?"]
CARD = {"name": "Lost card", "route": "security", "examples": EXAMPLES[:2]}


@pytest.fixture
def shop() -> MemoryStore:
    """A store with two clusters that have no label."""
    return store_with({"shop": KNOWN})


def served(store: MemoryStore, **more: Any) -> TestClient:
    """A server whose model knows the questions and the examples."""
    return client_of(store, encoder=encoder_of([*KNOWN, *EXAMPLES]), **more)


def post(client: TestClient, *intents: dict[str, Any], **more: Any) -> Any:
    return client.post(f"{INTENTS}/import", json={"intents": list(intents), **more})


def fields_of(page: str) -> dict[str, str]:
    """The hidden fields of the form that imports."""
    form = page.partition('class="card fields bring"')[2]
    return {
        name: html.unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    }


def test_intents_are_previewed_imported_once_and_told_again(shop: MemoryStore) -> None:
    client = served(shop)
    assert client.get(INTENTS).json() == {"intents": [], "labels_without_examples": 0}
    looked = post(client, CARD, dry_run=True).json()
    assert (looked["operations"], looked["dry_run"], shop.operations("shop", 9)) == ([], True, [])
    (planned,) = looked["intents"]
    assert (planned["name"], planned["change"], planned["examples_added"]) == ("Lost card", "new", 2)
    done = post(client, CARD, id="mine", reason="the desk's list").json()
    assert done["operations"] == [1]
    (committed,) = shop.operations("shop", 9)
    assert (committed.kind, committed.reason) == ("intents", "the desk's list")
    told = client.get(INTENTS).json()["intents"]
    assert told == [{**CARD, "threshold": None}]
    assert {state.route for state in shop.summaries("shop") if state.label == "Lost card"} == {"security"}
    again = post(client, CARD).json()
    assert (again["operations"], again["intents"][0]["change"]) == ([], "none")
    shown = client.get("/api/v1/namespaces/shop/clusters?label=Lost+card").json()["clusters"]
    assert shown


@pytest.mark.parametrize(
    "intents",
    [[], [{"name": ""}], [{"name": "a\nb"}], [{"name": "x", "threshold": 2}], [{"name": "x", "examples": [""]}]],
    ids=["none", "no name", "two lines", "threshold", "empty example"],
)
def test_what_is_no_intent_is_refused(shop: MemoryStore, intents: list[dict[str, Any]]) -> None:
    assert post(served(shop), *intents).status_code == 422
    assert shop.operations("shop", 9) == []


def test_an_example_of_two_intents_is_refused_without_its_text(shop: MemoryStore) -> None:
    refused = post(served(shop), CARD, {"name": "Stolen", "examples": EXAMPLES[:1]})
    assert (400 <= refused.status_code < 500, EXAMPLES[0] in refused.text) == (True, False)


def test_who_only_looks_imports_nothing_and_reads_no_example(shop: MemoryStore, tmp_path: Path) -> None:
    assert post(served(shop), CARD).status_code == 200
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}, "anna": {"shop": "operator"}})
    client, vera = served(shop, settings=settings), bearer(tokens["vera"])
    assert client.get(INTENTS, headers=vera).json()["intents"] == [{**CARD, "threshold": None, "examples": []}]
    assert client.post(f"{INTENTS}/import", json={"intents": [CARD]}, headers=vera).status_code == 403
    page = client.get(PAGE, headers=vera).text
    assert ("Lost card" in page, EXAMPLES[0] in page, "<textarea" in page) == (True, False, False)
    assert client.get(f"{PAGE}/file.csv", headers=vera).status_code == 403
    assert client.get(f"{PAGE}/file.csv", headers=bearer(tokens["anna"])).status_code == 200


def test_the_page_previews_imports_and_exports_lines_of_a_file(shop: MemoryStore) -> None:
    client = served(shop)
    lines = f"name,route,examples\nLost card,security,{EXAMPLES[0]}\nLost card,security,{EXAMPLES[1]}\n"
    page = client.get(PAGE).text
    assert "No intent is known yet" in page
    looked = client.post(PAGE, data={**fields_of(page), "lines": lines}).text
    assert ("What it would do" in looked, shop.operations("shop", 9)) == (True, [])
    fields = {**fields_of(looked), "agreed": "yes", "reason": "ours"}
    other = client.post(PAGE, data={**fields, "lines": lines + f"Closing,,{EXAMPLES[2]}\n"})
    # What was typed since is shown first.
    assert (other.status_code, shop.operations("shop", 9)) == (200, [])
    done = client.post(PAGE, data={**fields, "lines": lines.replace("\n", "\r\n")})
    assert (done.status_code, done.headers["location"]) == (303, f"{PAGE}?done=intents&operation=1")
    shown = client.get(done.headers["location"]).text
    assert "The intents were imported. This is operation 1." in shown
    rows = list(csv.DictReader(io.StringIO(client.get(f"{PAGE}/file.csv").text)))
    assert [(row["name"], row["route"], row["examples"]) for row in rows] == [
        ("Lost card", "security", text) for text in EXAMPLES[:2]
    ]
    told = client.get(f"{PAGE}/file.jsonl")
    assert orjson.loads(told.text) == CARD
    again = client.post(PAGE, data={**fields_of(shown), "lines": told.text})
    assert "as it is" in again.text
    refused = client.post(PAGE, data={**fields_of(shown), "lines": "name,examples\n,nothing\n"})
    assert (refused.status_code, "what you gave, line 2" in refused.text) == (422, True)
