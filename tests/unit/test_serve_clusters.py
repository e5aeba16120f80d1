"""Lists of clusters and single ones, in the API and on the page."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from questream.domain import ClusterState, Ruling
from questream.errors import StoreUnavailable
from questream.lab.bench.questions import in_letters
from questream.naming.names import name_of
from questream.operations import By, Decisions, KnownQuestion, merge_clusters
from questream.server.catalogue import Catalogue, Query, decode_cursor, encode_cursor
from questream.server.catalogues import Catalogues
from questream.store.reference.store import MemoryStore
from questream.tools.communities import Clusters
from questream.tools.listing import Listed, list_clusters
from questream.tools.sorting import Sort
from tests.kit.serving import add_clusters, bearer, client_of, encoder_of, store_with, with_tokens

CLUSTERS = "/api/v1/namespaces/shop/clusters"
TEXTS = ["Where is my parcel?", "How do I pay?", "Can I return it?", "Do you deliver abroad?"]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}",
    "\u202egnp.exe\x00\x1b[31m",
    "</title></style></textarea><svg onload=alert(1)>",
]


def state(number: int, size: int, revision: int = 1, **more: object) -> ClusterState:
    whole = ClusterState(
        number, "shop", "updated", size, 1, None, None, f"question {number}", number, number, "m", revision
    )
    ruling = Ruling(**{name: more.pop(name) for name in ("label", "route") if name in more})  # type: ignore[arg-type]
    return replace(whole, ruling=ruling, **more)  # type: ignore[arg-type]


def ids(catalogue: Catalogue, query: Query = Query()) -> list[int]:  # noqa: B008 - it is frozen
    return [one.cluster_id for one in catalogue.find(query).states]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_list_finds_has_the_columns_of_its_clusters() -> None:
    catalogue = Catalogue("shop")
    labels = ["parcel", None, "card", "parcel", "", "card"]
    catalogue.put(state(number, 2**62 // number, label=label) for number, label in enumerate(labels, 1))
    for query in (Query(), Query(Sort.NEW, text="question 3"), Query(label="parcel"), Query(label="", limit=1)):
        found = catalogue.find(query).clusters
        expected = Clusters.of(found.states)
        assert found.states
        assert (found.ids.tolist(), found.sizes.tolist()) == (expected.ids.tolist(), expected.sizes.tolist())
        alike = [np.equal.outer(one.labels, one.labels).tolist() for one in (found, expected)]
        assert alike[0] == alike[1]


def test_a_list_is_sorted_and_of_equals_the_older_comes_first() -> None:
    catalogue = Catalogue("shop")
    catalogue.put([state(3, 5), state(1, 5), state(2, 9)])
    assert ids(catalogue) == [2, 1, 3]
    assert ids(catalogue, Query(Sort.NEW)) == [3, 2, 1]


def test_what_grew_fastest_comes_first_and_pages_of_it_follow_each_other() -> None:
    day = 86_400_000
    catalogue = Catalogue("shop")
    catalogue.put(
        [
            state(1, 90, created_at=0, last_seen_at=90 * day),
            state(2, 40, created_at=0, last_seen_at=4 * day),
            state(3, 5, created_at=7, last_seen_at=7),
            state(4, 1, created_at=0, last_seen_at=9 * day),
        ]
    )
    assert ids(catalogue, Query(Sort.GROWTH)) == [2, 3, 1, 4]
    first = catalogue.find(Query(Sort.GROWTH, limit=2))
    assert ids(catalogue, Query(Sort.GROWTH, after=first.next)) == [1, 4]
    catalogue.put([state(4, 500, 2, created_at=0, last_seen_at=9 * day)])
    assert ids(catalogue, Query(Sort.GROWTH))[0] == 4


@pytest.mark.parametrize("sort", Sort)
def test_a_list_of_the_server_and_one_of_the_command_have_one_order(sort: Sort) -> None:
    day = 86_400_000
    states = [
        state(1, 90, label="card arrival", last_seen_at=90 * day, kept_members=";;t/0/1:0.9000:00"),
        state(2, 40, created_at=80 * day, last_seen_at=84 * day, kept_members=";;t/0/3:0.7200:00 t/0/4:0.7300:00"),
        state(3, 5, created_at=89 * day, last_seen_at=89 * day + 1000),
        state(4, 40, created_at=10 * day, last_seen_at=50 * day, kept_members=";;t/0/5:-0.1000:00"),
        state(5, 40, label="fees", created_at=10 * day, last_seen_at=50 * day, kept_members=";;t/0/6:0.7200:00"),
    ]
    catalogue = Catalogue("shop")
    catalogue.put(states)
    listed = [one.cluster_id for one in list_clusters(iter(states), Listed(sort))]
    assert ids(catalogue, Query(sort)) == listed
    place, paged = None, []
    for _ in states:
        page = catalogue.find(Query(sort, limit=1, after=place))
        paged += [one.cluster_id for one in page.states]
        place = page.next
    assert paged == listed
    api = client_of(store_with({"shop": TEXTS})).get(CLUSTERS, params={"sort": sort.value})
    assert api.status_code == 200


def test_the_name_that_a_cluster_is_shown_by_finds_it() -> None:
    catalogue = Catalogue("shop")
    questions = ["Why doesn't my iPhone charge with the cable?", "How do I charge my card?", "Is my PIN wrong?"]
    catalogue.put(state(at, 5, representative=text) for at, text in enumerate(questions, 1))
    for number in (1, 2, 3):
        shown = catalogue.get(number)
        assert shown is not None
        name = name_of(shown, catalogue.vocabulary)
        assert name is not None
        assert ids(catalogue, Query(text=name)) == [number]
        assert ids(catalogue, Query(text=" ".join(reversed(name.split())))) == [number]
        assert ids(catalogue, Query(text=name, in_questions=False)) == []


def test_pages_follow_each_other_without_gap_or_overlap() -> None:
    catalogue = Catalogue("shop")
    catalogue.put(state(number, number % 7) for number in range(1, 1501))
    whole = ids(catalogue, Query(limit=2000))
    paged: list[int] = []
    after = None
    while True:
        listing = catalogue.find(Query(limit=100, after=after))
        paged += [one.cluster_id for one in listing.states]
        if listing.next is None:
            break
        after = decode_cursor(Sort.SIZE, encode_cursor(Sort.SIZE, listing.next))
    assert len(whole) == 1500
    assert paged == whole


@pytest.mark.parametrize(
    "cursor", ["", "x", "c2l6ZTox", "c2l6ZTphOmI", "\u00e9", encode_cursor(Sort.NEW, (1, 1)), "=" * 9]
)
def test_a_cursor_that_no_list_gave_is_refused(cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        decode_cursor(Sort.SIZE, cursor)
    assert client_of(store_with({"shop": TEXTS})).get(CLUSTERS, params={"cursor": cursor}).status_code == 422


def test_of_two_states_the_later_revision_stands_whatever_comes_last() -> None:
    catalogue = Catalogue("shop")
    catalogue.put([state(1, 5, 7), state(1, 4, 6)])
    assert [one.size for one in catalogue.find(Query()).states] == [5]


def test_what_was_merged_or_retired_does_not_come_back_by_an_older_state() -> None:
    catalogue = Catalogue("shop")
    catalogue.put([state(1, 5), state(2, 4), state(3, 3)])
    catalogue.put([state(2, 0, 9, merged_into=1, event="merged"), state(3, 0, 0, event="retired")])
    catalogue.put([state(2, 4, 8), state(3, 3, 99)])
    assert ids(catalogue) == [1]
    assert catalogue.merged_into(1) == [2]
    catalogue.put([state(2, 4, 10)])
    assert ids(catalogue) == [1, 2]


def test_what_is_searched_for_is_found_in_names_and_questions_of_any_case() -> None:
    catalogue = Catalogue("shop")
    catalogue.put([state(1, 1, label="Card ARRIVAL"), state(2, 1, route="cards-team"), state(12, 1)])
    assert ids(catalogue, Query(text=" card ")) == [1, 2]
    assert ids(catalogue, Query(text="QUESTION 1")) == [1, 12]
    assert ids(catalogue, Query(text="question", in_questions=False)) == []
    assert ids(catalogue, Query(text="c12")) == [12]
    assert ids(catalogue, Query(label="Card ARRIVAL")) == [1]
    assert ids(catalogue, Query(label="")) == [2, 12]


def test_any_timestamp_that_a_producer_sent_is_sorted() -> None:
    catalogue = Catalogue("shop")
    catalogue.put([state(1, 1, last_seen_at=-(2**63)), state(2, 1, last_seen_at=2**63 - 1), state(3, 1)])
    assert ids(catalogue, Query(Sort.SEEN)) == [2, 3, 1]


def test_a_question_that_was_moved_is_no_member_of_its_cluster_any_longer() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)
    decisions = Decisions(store, "shop", By("ann", "", ""))

    def members() -> list[int]:
        return [one["offset"] for one in client.get(f"{CLUSTERS}/c2/members").json()["members"]]

    assert members() == [1]
    question = KnownQuestion(2, encoder_of(TEXTS).encode([TEXTS[1]])[0], ("questions", 0, 1), None, "q1")
    moved = decisions.commit(decisions.move([question], 1))
    assert members() == []
    decisions.commit(decisions.undo(moved.number))
    assert members() == [1]


def test_the_api_lists_and_shows_clusters() -> None:
    store = store_with({"shop": TEXTS})
    store.label("shop", 2, "payment", "payments")
    client = client_of(store)
    page = client.get(CLUSTERS, params={"limit": 2}).json()
    assert [one["cluster_id"] for one in page["clusters"]] == ["c1", "c2"]
    assert (page["total"], page["clusters"][1]["label"]) == (4, "payment")
    rest = client.get(CLUSTERS, params={"limit": 2, "cursor": page["next"]}).json()
    assert [one["cluster_id"] for one in rest["clusters"]] == ["c3", "c4"]
    assert rest["next"] is None
    one = client.get(f"{CLUSTERS}/c2")
    assert (one.json()["representative"], one.headers["etag"][:4]) == (TEXTS[1], '"c2.')


def test_the_api_and_the_page_tell_what_a_cluster_keeps_also_while_kafka_is_away() -> None:
    store = store_with({"shop": TEXTS})
    merge_clusters(store, "shop", 1, 2, lambda *_: True)
    client = client_of(store)
    told = client.get(f"{CLUSTERS}/c2/members", params={"order": "newest"}).json()
    assert (told["cluster_id"], told["size"]) == ("c1", 7)
    assert [(one["offset"], one["outcome"], one["similarity"]) for one in told["members"]] == [
        (0, "created", None),
        (1, "created", None),
    ]
    assert {(one["topic"], one["partition"], one["text"]) for one in told["members"]} == {("questions", 0, None)}
    assert client.get(f"{CLUSTERS}/c1/members", params={"order": "best"}).status_code == 422
    assert client.get(f"{CLUSTERS}/c9/members").status_code == 404
    assert "questions/0/1" in client.get("/n/shop/clusters/c1", params={"order": "newest"}).text


def test_an_id_that_was_merged_away_leads_to_what_stands_for_it() -> None:
    store = store_with({"shop": TEXTS})
    merge_clusters(store, "shop", 1, 2)
    client = client_of(store)
    answer = client.get(f"{CLUSTERS}/c2").json()
    assert (answer["cluster_id"], answer["asked_for"], answer["size"]) == ("c1", "c2", 7)
    moved = client.get("/n/shop/clusters/c2")
    assert (moved.status_code, moved.headers["location"]) == (303, "/n/shop/clusters/c1?merged=c2")
    assert "<b>c2</b> was merged into c1" in client.get("/n/shop/clusters/c1?merged=c2").text


@pytest.mark.parametrize(("cluster", "status"), [("c99", 404), ("c0", 422), ("x", 422), ("c" + "9" * 40, 404)])
def test_a_cluster_that_is_not_there_is_told_as_a_problem(cluster: str, status: int) -> None:
    client = client_of(store_with({"shop": TEXTS}))
    answer = client.get(f"{CLUSTERS}/{cluster}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    page = client.get(f"/n/shop/clusters/{cluster}")
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"sort": "colour"}, {"q": "x" * 201}])
def test_what_is_out_of_range_is_refused_without_being_quoted(query: dict[str, str]) -> None:
    answer = client_of(store_with({"shop": TEXTS})).get(CLUSTERS, params=query)
    assert answer.status_code == 422
    assert next(iter(query)) in answer.json()["detail"]
    assert "xxx" not in answer.text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_shown_as_text(text: str) -> None:
    store = store_with({"shop": [text, "other"]})
    store.label("shop", 2, text, text)
    client = client_of(store)
    for path in ("/n/shop/clusters", "/n/shop/clusters/c1", "/n/shop/clusters/c2"):
        page = client.get(path, params={"q": text} if path.endswith("clusters") else {}).text
        for markup in ("<script>alert", "<img src=x", "<svg onload", "' onmouseover='", "49"):
            assert markup not in page.replace("&#39; onmouseover=&#39;", "")
    assert client.get(f"{CLUSTERS}/c2").json()["label"] == text


def test_a_namespace_without_clusters_and_a_server_without_namespaces_say_so() -> None:
    store = MemoryStore()
    client = client_of(store)
    assert "Nothing to see yet" in client.get("/").text
    add_clusters(store, "shop", [])
    assert client.get("/").headers["location"] == "/n/shop/clusters"
    assert "No clusters yet" in client.get("/n/shop/clusters").text
    assert client.get(CLUSTERS).json() == {"clusters": [], "total": 0, "next": None}


def test_a_list_follows_what_workers_publish_and_a_lost_store_is_read_anew() -> None:
    store = store_with({"shop": TEXTS})
    clock = [0.0]
    catalogues = Catalogues(store, lambda: True, lambda: clock[0])
    assert ids(catalogues.get("shop", 5)) == [1, 2, 3, 4]
    catalogues.follow(state(4, 99, 100))
    assert ids(catalogues.get("shop"))[0] == 4
    store.require_recovery("shop")
    store.recover("shop", store.begin_recovery("shop"), None, {})
    clock[0] = 11.0
    until(lambda: ids(catalogues.get("shop")) == [1, 2, 3, 4])


def test_changes_that_were_missed_are_read_from_the_store() -> None:
    store = store_with({"shop": TEXTS})
    catalogues = Catalogues(store, lambda: True)
    catalogues.get("shop", 5)
    store.label("shop", 4, "abroad", None)
    assert ids(catalogues.get("shop"), Query(label="abroad")) == []
    catalogues.reload()
    until(lambda: ids(catalogues.get("shop"), Query(label="abroad")) == [4])


def test_a_store_that_does_not_answer_is_a_problem_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store)

    def fail(*_: object) -> None:
        raise StoreUnavailable("Redis did not answer", "check redis.url")

    monkeypatch.setattr(store, "namespace_state", fail)
    answer = client.get(CLUSTERS)
    assert (answer.status_code, answer.json()["remedy"]) == (503, "check redis.url")
    assert "retry-after" in answer.headers
    assert client.get("/n/shop/clusters").headers["refresh"]


def test_the_api_describes_itself() -> None:
    document = client_of(store_with({"shop": TEXTS})).get("/openapi.json").json()
    assert f"{CLUSTERS.replace('shop', '{namespace}')}" in document["paths"]
    assert not [path for path in document["paths"] if not path.startswith("/api/v1/")]


def by_meaning(client: TestClient, text: str, **query: str | int) -> list[dict[str, Any]]:
    """The clusters that are nearest to a text, once the centroids are read."""
    parameters: dict[str, str | int] = {"sort": "meaning", "q": text, **query}
    until(lambda: client.get(CLUSTERS, params=parameters).status_code == 200)
    found: list[dict[str, Any]] = client.get(CLUSTERS, params=parameters).json()["clusters"]
    return found


def test_clusters_are_found_by_meaning_whatever_words_they_have() -> None:
    store = store_with({"shop": TEXTS})
    client = client_of(store, encoder=encoder_of([*TEXTS[:3], "Do you ship to Norway?"]))
    found = by_meaning(client, "Do you ship to Norway?")
    assert found[0]["representative"] == "Do you deliver abroad?"
    assert found[0]["similarity"] == pytest.approx(1.0, abs=1e-3)
    similarities = [one["similarity"] for one in found]
    assert similarities == sorted(similarities, reverse=True)
    assert len(found) == len(TEXTS)
    page = client.get("/n/shop/clusters", params={"sort": "meaning", "q": "Do you ship to Norway?"}).text
    assert page.index("Do you deliver abroad?") < page.index("Where is my parcel?")
    assert client.get(CLUSTERS, params={"q": "Norway"}).json()["total"] == 0


def test_pages_by_meaning_follow_each_other_and_end_at_the_nearest_two_hundred() -> None:
    texts = [f"question {in_letters(number)}" for number in range(230)]
    client = client_of(store_with({"shop": texts}), encoder=encoder_of(texts))
    whole = [one["cluster_id"] for one in by_meaning(client, texts[7], limit=200)]
    paged: list[str] = []
    cursor = ""
    while cursor is not None:
        query = {"sort": "meaning", "q": texts[7], "limit": "90", "cursor": cursor}
        if not cursor:
            del query["cursor"]
        answer = client.get(CLUSTERS, params=query).json()
        assert answer["total"] == 200
        paged += [one["cluster_id"] for one in answer["clusters"]]
        cursor = answer["next"]
    assert whole[0] == "c8"
    assert paged == whole


def test_by_meaning_a_label_is_filtered_by_as_well() -> None:
    store = store_with({"shop": TEXTS})
    store.label("shop", 2, "payment", None)
    client = client_of(store, encoder=encoder_of(TEXTS))
    assert [one["cluster_id"] for one in by_meaning(client, TEXTS[0], label="payment")] == ["c2"]
    assert {one["cluster_id"] for one in by_meaning(client, TEXTS[0], label="")} == {"c1", "c3", "c4"}


def test_a_meaning_of_no_words_is_refused_and_is_no_search_on_the_page() -> None:
    client = client_of(store_with({"shop": TEXTS}), encoder=encoder_of(TEXTS))
    assert client.get(CLUSTERS, params={"sort": "meaning", "q": " "}).status_code == 422
    assert "Where is my parcel?" in client.get("/n/shop/clusters", params={"sort": "meaning", "q": " "}).text


def test_by_meaning_no_text_is_told_to_those_who_may_not_read_it(tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"*": "viewer"}})
    client = client_of(store_with({"shop": TEXTS}), settings, encoder=encoder_of(TEXTS))
    client.headers.update(bearer(tokens["vera"]))
    found = by_meaning(client, TEXTS[1])
    assert found[0]["cluster_id"] == "c2"
    assert all(one["representative"] is None for one in found)
