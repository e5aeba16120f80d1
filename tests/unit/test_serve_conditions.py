"""`If-Match`: of two who decide at once, the second is told before anything is done."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from questream.clustering.levels import Levels, Node, leaf
from questream.domain import ClusterState, Operation
from questream.operations import By, Decisions
from questream.operations.requests import Propose
from questream.server.services import Services
from questream.store.protocol import ProposedOperation, StoredLevels
from questream.store.reference.store import MemoryStore
from questream.store.retention import Retention
from tests.kit.serving import add_clusters, client_of, encoder_of, fields_of, store_with

SHOP = "/api/v1/namespaces/shop"
TEXTS = ["Where is my parcel?", "When does my parcel come?", "How do I pay?", "Can I pay by card?", "Who are you?"]
INTENT, OTHER, TOPIC = Node(1, 1), Node(1, 2), Node(2, 1)
OF_CLUSTER: dict[str, dict[str, Any]] = {
    "label": {"label": "mine"},
    "route": {"route": "mine"},
    "merge": {"other_id": "c3"},
    "separate": {"other_id": "c3"},
    "pin": {},
    "unpin": {},
    "mute": {},
    "unmute": {},
    "resolve": {},
    "reopen": {},
    "dismiss": {"suggestion": "name"},
    "represent": {"text": "Where is it?"},
    "forget": {"irreversible": True},
}
# What is asked of whom: the path, the body, and what it is about.
REQUESTS: dict[str, tuple[str, dict[str, Any], str]] = {
    **{op: ("operations", {"op": op, "cluster_id": "c1", **more}, "clusters/c1") for op, more in OF_CLUSTER.items()},
    "merge into": ("operations", {"op": "merge", "cluster_id": "c3", "other_id": "c1"}, "clusters/c1"),
    "reject": ("operations/questions", {"op": "reject", "texts": TEXTS[:1], "cluster_id": "c1"}, "clusters/c1"),
    "split": ("operations/questions", {"op": "split", "texts": TEXTS[:1], "cluster_id": "c1"}, "clusters/c1"),
    "move": (
        "operations/questions",
        {"op": "move", "texts": TEXTS[2:3], "cluster_id": "c3", "target_id": "c1"},
        "clusters/c1",
    ),
    "label a level": ("levels/i1/label", {"label": "mine"}, "levels/i1"),
    "move into a level": ("operations/levels", {"op": "move", "ids": ["c3"], "target_id": "i1"}, "levels/i1"),
    "move from a level": ("operations/levels", {"op": "move", "ids": ["c1"], "target_id": "i2"}, "clusters/c1"),
    "merge levels": ("operations/levels", {"op": "merge", "level_id": "i1", "other_id": "i2"}, "levels/i1"),
    "separate levels": ("operations/levels", {"op": "separate", "level_id": "i2", "other_id": "i1"}, "levels/i1"),
    "pin a level": ("operations/levels", {"op": "pin", "level_id": "i1"}, "levels/i1"),
    "undo": ("operations/1/undo", {}, "clusters/c1"),
    "undo of a name": ("operations/2/undo", {}, "levels/i2"),
}


@pytest.fixture
def shop() -> MemoryStore:
    """Clusters c1 to c5, of two intents and a topic; c1 is routed by operation 1, i2 by operation 2."""
    store = store_with({"shop": TEXTS})
    parents = {leaf(1): INTENT, leaf(2): INTENT, leaf(3): OTHER, leaf(4): OTHER, INTENT: TOPIC, OTHER: TOPIC}
    assert store.write_levels("shop", store.store_epoch("shop") or "", StoredLevels(Levels(parents, (9, 2)), 5))
    by = Decisions(store, "shop", By("ann"))
    by.commit(by.label(1, None, "first"))
    by.commit(by.label_level("i2", None, "first"))
    return store


def decided_by_somebody_else(store: MemoryStore, about: str) -> None:
    """Somebody mutes a cluster, or names an intent."""
    by, name = Decisions(store, "shop", By("ben")), about.rpartition("/")[2]
    by.commit(by.mark("pin", int(name[1:])) if name[0] == "c" else by.label_level(name, "theirs", None))


def decide_before(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, number: int, decide: Callable[[], None]) -> None:
    """Have somebody else decide just before the commit of this number, once."""
    operate, left = store.operate, [number]

    def operate_late(namespace: str, proposed: ProposedOperation) -> Operation | None:
        left[0] -= 1
        if left[0] == 0:
            decide()
        return operate(namespace, proposed)

    monkeypatch.setattr(store, "operate", operate_late)


@pytest.mark.parametrize("asked", REQUESTS)
def test_what_somebody_else_changed_meanwhile_is_not_decided_again(shop: MemoryStore, asked: str) -> None:
    client = client_of(shop, encoder=encoder_of(TEXTS))
    path, body, about = REQUESTS[asked]
    stood = {"If-Match": client.get(f"{SHOP}/{about}").headers["ETag"]}
    decided_by_somebody_else(shop, about)
    for dry_run in (True, False):
        refused = client.post(f"{SHOP}/{path}", json={**body, "dry_run": dry_run}, headers=stood)
        assert refused.status_code == 412, refused.text
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert "get it again" in refused.json()["remedy"]
    assert [one.actor for one in shop.operations("shop", 10)] == ["ben", "ann", "ann"]


@pytest.mark.parametrize("asked", REQUESTS)
def test_what_stands_as_it_was_seen_is_decided_once(shop: MemoryStore, asked: str) -> None:
    client = client_of(shop, encoder=encoder_of(TEXTS))
    path, body, about = REQUESTS[asked]
    stood = {"If-Match": client.get(f"{SHOP}/{about}").headers["ETag"]}
    # A cluster that keeps a question has it read again for a split.
    if asked == "split":
        by = Decisions(shop, "shop", By("ann"))
        by.commit(by.forget(1))
        stood = {"If-Match": client.get(f"{SHOP}/{about}").headers["ETag"]}
    done = client.post(f"{SHOP}/{path}", json={**body, "id": "mine"}, headers=stood)
    assert done.status_code == 200, done.text
    # It has changed itself: what is asked again is answered again, also by another server.
    for again in (client, client_of(shop, encoder=encoder_of(TEXTS))):
        answer = again.post(f"{SHOP}/{path}", json={**body, "id": "mine"}, headers=stood)
        assert (answer.status_code, answer.json()["operation"]) == (200, done.json()["operation"]), answer.text


@pytest.mark.parametrize("op", OF_CLUSTER)
@pytest.mark.parametrize("is_retired", [False, True], ids=["merged", "retired"])
def test_what_cannot_be_any_more_has_changed_since_it_was_seen(shop: MemoryStore, op: str, is_retired: bool) -> None:
    client, by = client_of(shop, encoder=encoder_of(TEXTS)), Decisions(shop, "shop", By("ben"))
    stood = {"If-Match": client.get(f"{SHOP}/clusters/c1").headers["ETag"]}
    body = {"op": op, "cluster_id": "c1", **OF_CLUSTER[op]}
    if is_retired:
        by.commit(by.label(1, None, ""))
        assert shop.retire("shop", Retention(max_clusters=4), 9).ids == {"full": [1]}
    else:
        by.commit(by.merge(3, 1, lambda *_: True))
    for dry_run in (True, False):
        refused = client.post(f"{SHOP}/operations", json={**body, "dry_run": dry_run}, headers=stood)
        assert refused.status_code == 412, refused.text


def test_what_changes_after_the_look_is_not_overwritten(shop: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(shop)
    stood = {"If-Match": client.get(f"{SHOP}/clusters/c1").headers["ETag"]}
    decide_before(shop, monkeypatch, 1, lambda: decided_by_somebody_else(shop, "clusters/c1"))
    refused = client.post(f"{SHOP}/operations", json={"op": "label", "cluster_id": "c1", "label": "x"}, headers=stood)
    assert refused.status_code == 412, refused.text
    assert [state.label for state in shop.states("shop", [1])] == [None]


# What is asked for on a page, what is typed there, and what somebody else decides on meanwhile.
ON_PAGES: dict[str, tuple[str, dict[str, str], str]] = {
    "label a cluster": ("change?op=label&c=c1", {"name": "mine"}, "clusters/c1"),
    "route several clusters": ("change?op=route&c=c2&c=c1", {"name": "mine"}, "clusters/c1"),
    "merge clusters": ("change?op=merge&c=c3&c=c1", {}, "clusters/c1"),
    "label an intent": ("change?op=label&c=i1", {"name": "mine"}, "levels/i1"),
    "label several intents": ("change?op=label&c=i1&c=i2", {"name": "mine"}, "levels/i1"),
    "merge intents": ("change?op=merge&c=i1&c=i2", {"drop_names": "yes"}, "levels/i1"),
    "name an intent": ("levels/i1", {"label": "mine", "route": ""}, "levels/i1"),
}


@pytest.mark.parametrize("asked", ON_PAGES)
def test_of_two_who_use_a_page_at_the_same_moment_the_second_is_told(
    shop: MemoryStore, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    client = client_of(shop)
    path, typed, about = ON_PAGES[asked]
    fields = fields_of(client.get(f"/n/shop/{path}").text)
    fields = {name: given for name, given in fields.items() if name not in typed}
    decide_before(shop, monkeypatch, 1, lambda: decided_by_somebody_else(shop, about))
    told = client.post(f"/n/shop/{path.partition('?')[0]}", data=fields | typed)
    assert (told.status_code, "since you opened this page" in told.text) == (409, True), told.text
    assert [one.actor for one in shop.operations("shop", 10)] == ["ben", "ann", "ann"]
    # What is shown then is what the next form rests on.
    shown = {name: given for name, given in fields_of(told.text).items() if name not in typed}
    done = client.post(f"/n/shop/{path.partition('?')[0]}", data=shown | {"drop_names": "yes"} | typed)
    assert done.status_code == 303, done.text


@pytest.mark.parametrize("asked", ON_PAGES)
def test_who_sends_a_form_twice_is_told_what_it_did_and_of_nobody_else(shop: MemoryStore, asked: str) -> None:
    client = client_of(shop)
    path, typed, _ = ON_PAGES[asked]
    fields = fields_of(client.get(f"/n/shop/{path}").text)
    fields = {name: given for name, given in fields.items() if name not in typed}
    first, again = (client.post(f"/n/shop/{path.partition('?')[0]}", data=fields | typed) for _ in range(2))
    assert (first.status_code, again.status_code) == (303, 303), again.text
    told = [parse_qs(urlsplit(one.headers["location"]).query) for one in (first, again)]
    assert told[0] == told[1]
    assert told[0]["operation"]


@pytest.mark.parametrize(
    ("path", "typed", "about", "told", "where"),
    [
        ("label&c=i1&c=i2", {"name": "mine"}, "levels/i2", "1 of 2 intents were changed", "levels?level=intent"),
        ("merge&c=c1&c=c3&c=c5", {}, "clusters/c5", "2 of 3 clusters were changed", "clusters?"),
    ],
    ids=["named", "merged"],
)
def test_what_was_done_before_somebody_else_was_faster_is_told_with_a_link(
    shop: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    typed: dict[str, str],
    about: str,
    told: str,
    where: str,
) -> None:
    client = client_of(shop)
    fields = fields_of(client.get(f"/n/shop/change?op={path}").text)
    decide_before(shop, monkeypatch, 2, lambda: decided_by_somebody_else(shop, about))
    ended = client.post("/n/shop/change", data=fields | typed)
    assert (ended.status_code, told in ended.text) == (412, True), ended.text
    assert [one.actor for one in shop.operations("shop", 10)] == ["ben", "local", "ann", "ann"]
    (link,) = re.findall(r'<li><a href="([^"]+)">What was done</a>', ended.text)
    assert link.startswith(f"/n/shop/{where}")
    page = client.get(unescape(link)).text
    assert "This is operation 3." in page
    assert 'href="/n/shop/undo/3"' in page


def test_an_etag_changes_with_what_people_decide_and_not_with_questions(shop: MemoryStore) -> None:
    client = client_of(shop)

    def tag(path: str) -> str:
        return client.get(f"{SHOP}/{path}").headers["ETag"]

    cluster, intent = tag("clusters/c1"), tag("levels/i1")
    by = Decisions(shop, "shop", By("ann"))
    moved = client.post(f"{SHOP}/operations/levels", json={"op": "move", "ids": ["c3"], "target_id": "i1"})
    assert moved.status_code == 200, moved.text
    assert (tag("clusters/c1") == cluster, tag("levels/i1") == intent) == (True, False)
    by.commit(by.merge(1, 2))
    assert tag("clusters/c2") == tag("clusters/c1")


DECIDED: dict[str, tuple[str, Callable[[Decisions], Propose]]] = {
    "a cluster is moved into it": ("levels/i1", lambda by: by.move_nodes(["c3"], "i1")),
    "it is pinned and a cluster is moved out of it": ("levels/i1", lambda by: by.move_nodes(["c2"], "i2")),
    "it is pinned": ("levels/i1", lambda by: by.pin_level("i1")),
    "its topic is pinned": ("levels/i1", lambda by: by.pin_level("t1")),
    "an intent of it is pinned": ("levels/t1", lambda by: by.pin_level("i1")),
    "it is pinned and separated": ("levels/i1", lambda by: by.separate_levels("i1", "i2")),
    "its intent is pinned and separated": ("clusters/c1", lambda by: by.separate_levels("i1", "i2")),
    "it loses its texts": ("clusters/c1", lambda by: by.forget(1)),
}


@pytest.mark.parametrize("decided", DECIDED)
def test_an_etag_changes_at_once_with_what_is_decided_elsewhere(shop: MemoryStore, decided: str) -> None:
    client, by = client_of(shop, encoder=encoder_of(TEXTS)), Decisions(shop, "shop", By("ben"))
    about, ask = DECIDED[decided]
    if " and " in decided:
        by.commit(by.pin_level("i1"))
    stood = client.get(f"{SHOP}/{about}").headers["ETag"]
    by.commit(ask(by))
    path, body = (
        (f"{about}/label", {"label": "mine"})
        if about[:6] == "levels"
        else ("operations", {"op": "mute", "cluster_id": "c1"})
    )
    refused = client.post(f"{SHOP}/{path}", json=body, headers={"If-Match": stood})
    assert refused.status_code == 412, refused.text
    assert client.get(f"{SHOP}/{about}").headers["ETag"] != stood


def test_the_etag_of_a_topic_is_told_without_reading_its_clusters(
    shop: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, by = client_of(shop), Decisions(shop, "shop", By("ben"))
    stood = client.get(f"{SHOP}/levels/t1").headers["ETag"]
    by.commit(by.pin_level("i1"))
    by.commit(by.label(4, "elsewhere", None))
    reads = list[int]()
    states = shop.states

    def counted(namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        reads.append(len(cluster_ids))
        return states(namespace, cluster_ids)

    monkeypatch.setattr(shop, "states", counted)
    now = client.get(f"{SHOP}/levels/t1").headers["ETag"]
    assert (now == stood, reads) == (False, [])
    # Once a worker has published what was decided, it is found in the list.
    services: Services = client.app.state.services  # type: ignore[attr-defined]  # the client's application is ours
    for state in states("shop", [1, 2, 3, 4, 5]):
        services.catalogues.follow(state)
    asked = list[int]()
    since = shop.operations_from

    def noted(namespace: str, number: int, limit: int) -> list[Operation]:
        asked.append(number)
        return since(namespace, number, limit)

    monkeypatch.setattr(shop, "operations_from", noted)
    assert [client.get(f"{SHOP}/levels/t1").headers["ETag"] for _ in range(2)] == [now, now]
    assert asked == [3, 5]
    # A merge elsewhere counts before the list has it, and so does what the store no longer tells of.
    by.commit(by.merge(1, 2))
    reads.clear()
    merged = client.get(f"{SHOP}/levels/t1").headers["ETag"]
    assert (merged == now, reads) == (False, [])
    by.commit(by.unpin_level("i1"))
    reads.clear()
    monkeypatch.setattr(shop, "operations_from", lambda *_: since("shop", 6, 9))
    assert (client.get(f"{SHOP}/levels/t1").headers["ETag"] == merged, reads) == (False, [4])


@pytest.mark.parametrize("given", ['W/"{}"', '"c1.0"', '"{}", "c3.0"', '"nothing"', '""', '"i99.0"', "{other}"])
def test_a_tag_that_is_none_of_what_is_asked_about_is_refused(shop: MemoryStore, given: str) -> None:
    client = client_of(shop)
    tags = [client.get(f"{SHOP}/clusters/{name}").headers["ETag"] for name in ("c1", "c2")]
    header = given.format(tags[0].strip('"'), other=tags[1])
    body = {"op": "label", "cluster_id": "c1", "label": "x"}
    assert client.post(f"{SHOP}/operations", json=body, headers={"If-Match": header}).status_code == 412


@pytest.mark.parametrize("given", [("{0}", "{1}"), ("{0},", "", " ,{1}"), ("{1}, {0}",)])
def test_all_lines_of_the_header_are_heeded(shop: MemoryStore, given: tuple[str, ...]) -> None:
    client = client_of(shop)
    tags = [client.get(f"{SHOP}/clusters/{name}").headers["ETag"] for name in ("c1", "c3")]
    lines = [("If-Match", line.format(*tags)) for line in given]
    body = {"op": "separate", "cluster_id": "c1", "other_id": "c3"}
    assert client.post(f"{SHOP}/operations", json={**body, "dry_run": True}, headers=lines).status_code == 200
    decided_by_somebody_else(shop, "clusters/c3")
    assert client.post(f"{SHOP}/operations", json=body, headers=lines).status_code == 412


def test_a_move_of_many_may_have_to_find_each_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Question {number} of many?" for number in range(101)]
    store = store_with({"shop": texts})
    parents = {leaf(at): INTENT if at < 101 else OTHER for at in range(1, 102)}
    assert store.write_levels("shop", store.store_epoch("shop") or "", StoredLevels(Levels(parents, (9, 2)), 101))
    client, names = client_of(store), [f"c{number}" for number in range(1, 101)]
    asked = [*(f"clusters/{name}" for name in names), "levels/i2"]
    tags = [client.get(f"{SHOP}/{path}").headers["ETag"] for path in asked]
    body = {"op": "move", "ids": names, "target_id": "i2"}
    reads = list[int]()
    states = store.states

    def counted(namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        reads.append(len(cluster_ids))
        return states(namespace, cluster_ids)

    url, header = f"{SHOP}/operations/levels", {"If-Match": ", ".join(tags)}
    with monkeypatch.context() as patch:
        patch.setattr(store, "states", counted)
        assert client.post(url, json={**body, "dry_run": True}).status_code == 200
        without = len(reads)
        assert client.post(url, json={**body, "dry_run": True}, headers=header).status_code == 200
        assert len(reads) - 2 * without == 1
    decided_by_somebody_else(store, "clusters/c100")
    assert client.post(url, json=body, headers=header).status_code == 412
    many = {"If-Match": ", ".join(f'"c{number}."' for number in range(1, 2002))}
    assert client.post(f"{SHOP}/operations/1/undo", json={}, headers=many).status_code == 422


def test_both_clusters_of_a_merge_may_have_to_stand(shop: MemoryStore) -> None:
    client = client_of(shop)
    tags = [client.get(f"{SHOP}/clusters/{name}").headers["ETag"] for name in ("c1", "c3")]
    body = {"op": "separate", "cluster_id": "c1", "other_id": "c3"}
    decided_by_somebody_else(shop, "clusters/c3")
    asked = {"If-Match": ", ".join(tags)}
    assert client.post(f"{SHOP}/operations", json=body, headers=asked).status_code == 412
    asked = {"If-Match": f"{tags[0]},{client.get(f'{SHOP}/clusters/c3').headers['ETag']}"}
    assert client.post(f"{SHOP}/operations", json=body, headers=asked).status_code == 200


def test_the_document_tells_of_it() -> None:
    store = store_with({"shop": TEXTS})
    add_clusters(store, "more", TEXTS)
    paths = client_of(store).get("/openapi.json").json()["paths"]
    here = "/api/v1/namespaces/{namespace}"
    for path in ("operations", "operations/questions", "operations/levels", "operations/{number}/undo"):
        told = paths[f"{here}/{path}"]["post"]
        assert "application/problem+json" in told["responses"]["412"]["content"], path
        (header,) = [one for one in told["parameters"] if one["in"] == "header"]
        assert (header["name"].lower(), "412" in header["description"]) == ("if-match", True), path
