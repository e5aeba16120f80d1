"""Events on the page, in the API and as a tool: the newest first, without texts for those who may not read them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from questream.broker.port import Message
from questream.domain import Unread
from questream.events.detector import DetectedEvent
from questream.events.kinds import EventKind
from questream.records.events import event_document, read_event
from questream.server.board import MOST_EVENTS, EventBoard
from tests.kit.serving import NOW_MS, bearer, client_of, store_with, with_tokens

TEXTS = ["Where is my parcel?", "How do I pay?"]


class Recorded:
    """A record as a consumer hands it out."""

    topic, partition, timestamp, key, headers = "cluster-events", 0, NOW_MS, b"key", ()

    def __init__(self, value: bytes | Unread | None, offset: int = 0) -> None:
        self.value, self.offset = value, offset


def record(kind: EventKind, cluster: str, minute: int, namespace: str = "shop") -> Message:
    event = DetectedEvent(kind, cluster, NOW_MS + minute * 60_000, NOW_MS, 8, 1.25)
    return Recorded(orjson.dumps(event_document(namespace, event, "question-clusters")))


def board_of(*records: Message) -> EventBoard:
    board = EventBoard()
    for one in records:
        board.take(one)
    return board


BOARD = board_of(
    record("emerging", "c1", 1),
    record("quiet", "c9", 3),
    record("spiking", "c2", 2),
    record("spiking", "c1", 5, "books"),
)


def test_events_of_a_namespace_are_listed_the_newest_first() -> None:
    client = client_of(store_with({"shop": TEXTS, "books": []}), board=BOARD)
    listed = client.get("/api/v1/namespaces/shop/events").json()["events"]
    told = [(one["kind"], one["cluster_id"]) for one in listed]
    assert told == [("quiet", "c9"), ("spiking", "c2"), ("emerging", "c1")]
    assert (listed[1]["count"], listed[1]["expected"]) == (8, 1.25)
    spiking = client.get("/api/v1/namespaces/shop/events?kind=spiking&limit=1").json()["events"]
    assert [one["cluster_id"] for one in spiking] == ["c2"]
    assert client.get("/api/v1/namespaces/shop/events?limit=501").status_code == 422
    assert client.get("/api/v1/namespaces/none/events").status_code == 404


def test_the_page_links_each_event_to_its_cluster_and_shows_no_text_to_a_viewer(tmp_path: Path) -> None:
    settings, tokens = with_tokens(tmp_path, {"vera": {"shop": "viewer"}, "anna": {"shop": "operator"}})
    client = client_of(store_with({"shop": TEXTS}), settings, board=BOARD)
    shown = client.get("/n/shop/events", headers=bearer(tokens["anna"])).text
    assert shown.index("/n/shop/clusters/c9") < shown.index("/n/shop/clusters/c2") < shown.index("/n/shop/clusters/c1")
    assert TEXTS[0] in shown
    assert "8 askers where" in shown
    hidden = client.get("/n/shop/events", headers=bearer(tokens["vera"])).text
    assert "/n/shop/clusters/c1" in hidden
    assert TEXTS[0] not in hidden
    assert "Nothing is returned" in client.get("/n/shop/events?kind=returned", headers=bearer(tokens["anna"])).text


def test_a_board_keeps_the_newest_and_each_once() -> None:
    board = board_of(*(record("spiking", "c1", minute) for minute in (*range(MOST_EVENTS + 5), MOST_EVENTS)))
    kept = board.newest("shop", None, 1000)
    assert len(kept) == len({one.id for one in kept}) == MOST_EVENTS
    assert kept[0].time_ms == NOW_MS + (MOST_EVENTS + 4) * 60_000


@pytest.mark.parametrize(
    "change",
    [
        {"cluster_id": "c1/../../x"},
        {"cluster_id": "c0"},
        {"kind": "<b>"},
        {"namespace": "a b"},
        {"count": -1},
        {"expected": float("inf")},
        {"since": "yesterday"},
        {"schema_version": 99},
    ],
)
def test_what_is_no_event_is_passed_over(change: dict[str, object]) -> None:
    document = orjson.loads(record("spiking", "c1", 1).value or b"")
    document["data"] |= change
    with pytest.raises(ValueError, match=r"no event|isoformat"):
        read_event(orjson.dumps(document))


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{}", b'{"data": 1}', b"\xff", Unread(1)])
def test_a_record_that_holds_none_changes_no_board(value: bytes | Unread | None) -> None:
    board = board_of(Recorded(value), record("quiet", "c1", 1))
    assert len(board.newest("shop", None, 10)) == 1
