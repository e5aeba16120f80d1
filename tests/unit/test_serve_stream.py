"""What the page and the API tell of the stream as a whole: dead letters, lag, the doctor's findings."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from questream.broker.dead_letters import DeadLetter, ReplayCount
from questream.errors import KafkaUnavailable, QuestreamError
from questream.records import Origin
from questream.server import dead_letters as letters
from questream.server.problems import Refused
from questream.server.rates import Rate, Rates
from questream.server.snapshot import Snapshot
from tests.kit.serving import NOW_MS, bearer, client_of, store_with, with_tokens

LETTERS = "/api/v1/dead-letters"
TEXT = "a question that nobody may see"
GRANTS = {"vera": {"*": "viewer"}, "anna": {"*": "operator"}, "ada": {"*": "admin"}, "ben": {"shop": "admin"}}


def letter(offset: int, reason: str) -> DeadLetter:
    return DeadLetter(
        0, offset, NOW_MS + offset, Origin("questions", 0, offset), "decode", "", reason, "1", None,
        TEXT.encode(), [],
    )  # fmt: skip


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Three dead letters, the first sent back; returns the reasons that are sent back from now on."""
    sent: list[str | None] = []
    found = [(letter(1, "empty_text"), True), (letter(2, "empty_text"), False), (letter(3, "invalid_json"), False)]
    monkeypatch.setattr(letters, "dead_letters", lambda _: iter(found))
    monkeypatch.setattr(letters, "count_replayable", lambda *_: ReplayCount(sent=2, gone=1))

    def replay(_: Any, reason: str | None) -> ReplayCount:
        sent.append(reason)
        return ReplayCount(sent=2)

    monkeypatch.setattr(letters, "replay", replay)
    return sent


@pytest.fixture
def logins(tmp_path: Path) -> tuple[TestClient, dict[str, dict[str, str]]]:
    """A client, and the header of each login."""
    settings, tokens = with_tokens(tmp_path, GRANTS)
    return client_of(store_with({"shop": ["x"]}), settings), {name: bearer(token) for name, token in tokens.items()}


@pytest.mark.usefixtures("sent")
def test_dead_letters_are_told_newest_first_with_values_for_who_may_read_them(
    logins: tuple[TestClient, dict[str, dict[str, str]]],
) -> None:
    client, headers = logins
    told = client.get(LETTERS, headers=headers["anna"]).json()
    assert [one["offset"] for one in told["letters"]] == [3, 2, 1]
    assert told["letters"][0]["value"] == TEXT
    assert (told["by_reason"], told["open"]) == (
        {"empty_text": 2, "invalid_json": 1},
        {"empty_text": 1, "invalid_json": 1},
    )
    # Where a value is not shown, the record is named once.
    assert client.get("/dead-letters", headers=headers["vera"]).text.count("questions/0/1<") == 1
    for path in (LETTERS, "/dead-letters"):
        assert TEXT in client.get(path, headers=headers["anna"]).text
        seen = client.get(path, headers=headers["vera"])
        assert seen.status_code == 200
        assert TEXT not in seen.text
        assert client.get(path, headers=headers["ben"]).status_code == 403
    only = client.get(LETTERS, params={"reason": "invalid_json"}, headers=headers["vera"]).json()
    assert [one["offset"] for one in only["letters"]] == [3]


def test_only_an_admin_sends_dead_letters_back_after_a_preview(
    sent: list[str | None], logins: tuple[TestClient, dict[str, dict[str, str]]]
) -> None:
    client, headers = logins
    body = {"reason": "empty_text"}
    assert client.post(f"{LETTERS}/replay", json=body, headers=headers["anna"]).status_code == 403
    told = client.post(f"{LETTERS}/replay", json={**body, "dry_run": True}, headers=headers["ada"]).json()
    assert (told["sent"], told["gone"], sent) == (2, 1, [])
    assert client.post(f"{LETTERS}/replay", json=body, headers=headers["ada"]).json()["sent"] == 2
    page = client.get("/dead-letters?reason=empty_text", headers=headers["ada"])
    assert "Send back" in page.text
    assert "Send back" not in client.get("/dead-letters", headers=headers["anna"]).text
    form = {"form_token": client.cookies["questream_form"], "reason": ""}
    assert client.post("/dead-letters/replay", data=form, headers=headers["anna"]).status_code == 403
    assert "Send back 2 records" in client.post("/dead-letters/preview", data=form, headers=headers["ada"]).text
    done = client.post("/dead-letters/replay", data=form, headers=headers["ada"])
    assert done.headers["location"] == "/dead-letters?sent=2"
    assert "2 records sent back" in client.get("/dead-letters?sent=2", headers=headers["ada"]).text
    assert sent == ["empty_text", None]


def test_health_tells_lag_to_all_and_findings_to_operators(
    logins: tuple[TestClient, dict[str, dict[str, str]]],
) -> None:
    client, headers = logins
    told = client.get("/api/v1/health", headers=headers["anna"]).json()
    assert (told["lag"], told["partitions"][1]["committed"], told["follows_clusters"]) == (7, None, True)
    assert told["findings"] == [
        {"check": "kafka", "status": "fail", "told": "no broker answered", "remedy": "start it"}
    ]
    assert client.get("/api/v1/health", headers=headers["vera"]).json()["findings"] is None
    assert "no broker answered" in client.get("/health", headers=headers["anna"]).text
    assert "no broker answered" not in client.get("/health", headers=headers["vera"]).text
    assert client.get("/health", headers=headers["ben"]).status_code == 403


def test_health_tells_how_many_are_decided_a_second() -> None:
    now, arrives = [100.0], [True]
    decided, dead = Rate(lambda: arrives[0], lambda: now[0]), Rate(lambda: True, lambda: now[0])
    client = client_of(store_with({"shop": ["x"]}), rates=Rates(decided, dead))

    def told() -> tuple[float | None, float | None]:
        rates = client.get("/api/v1/health").json()["rates"]
        assert rates["seconds"] == 60
        return rates["decided_per_second"], rates["dead_letters_per_second"]

    assert told() == (None, None)
    decided.begin()
    assert told() == (None, None)
    for second in range(90):
        now[0] = 101.0 + second
        for _ in range(20):
            decided.take()
        if second == 85:
            dead.begin()
        if second == 87:
            dead.take()
    assert list(told()) == pytest.approx([20, 0.25])
    assert "20/s" in client.get("/health").text
    assert "15/min" in client.get("/health").text
    now[0] += 30
    assert told()[0] == pytest.approx(10)
    # Of a topic that does not arrive, nothing is known; when it does again, what came before is not counted.
    arrives[0] = False
    assert told()[0] is None
    arrives[0] = True
    decided.begin()
    now[0] += 4
    decided.take()
    assert told()[0] == pytest.approx(0.25)


def test_probes_ask_for_no_login(logins: tuple[TestClient, dict[str, dict[str, str]]]) -> None:
    client, _ = logins
    assert [client.get(path).text for path in ("/livez", "/readyz")] == ["ok\n", "ok\n"]


def test_what_takes_long_is_found_out_once_and_kept() -> None:
    going, asked = threading.Event(), []

    def find_out() -> int:
        asked.append(1)
        going.wait(10)
        return len(asked)

    snapshot = Snapshot("it", find_out, 60)
    for _ in range(3):
        with pytest.raises(Refused, match="being read"):
            snapshot.get(0)
    going.set()
    assert [snapshot.get(10).value, snapshot.get(10).value] == [1, 1]
    snapshot.forget()
    assert snapshot.get(10).value == 2


def test_what_cannot_be_found_out_says_why_and_quotes_nothing() -> None:
    def fail() -> int:
        raise KafkaUnavailable("no broker answered")

    def break_down() -> int:
        raise RuntimeError(TEXT)

    with pytest.raises(KafkaUnavailable, match="no broker"):
        Snapshot("it", fail, 60).get(10)
    with pytest.raises(QuestreamError, match="cannot be read") as caught:
        Snapshot("it", break_down, 60).get(10)
    assert TEXT not in str(caught.value)
