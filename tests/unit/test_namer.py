"""Names that a language model makes, with a server on this machine that speaks its API and fails in many ways."""

from __future__ import annotations

import gzip
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from questream.clustering.kept_members import KeptMember
from questream.errors import SettingsError
from questream.logs import secrets_of
from questream.metrics import EventMetrics
from questream.naming.making import place_of
from questream.operations import By, Decisions, KnownQuestion
from questream.records import load_schema
from questream.settings import Settings, load_settings
from questream.store.protocol import MadeName
from questream.store.reference.store import MemoryStore
from questream.tools.members import Member
from questream.watch.names_endpoint import NamesEndpoint
from questream.watch.naming import Namer, Read, check_names
from tests.kit.command import questream
from tests.kit.receiver import HttpReceiver, Received, Reply
from tests.kit.serving import client_of, store_with, vectors_of, with_tokens
from tests.kit.stream import wait_until

# Sizes 12, 11, ... 1.
TEXTS = ["Where is my parcel?", "How do I pay?", *(f"Something {word}" for word in "abcdefghij")]
NOW_MS = 1_800_000_000_000


def said(text: str) -> Reply:
    """A completion of a chat, as the API has it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Reply(200, (("Content-Type", "application/json"),), json.dumps({"choices": [choice]}).encode())


def shared(request: Received) -> Reply:
    """A name of the first question's own words."""
    questions = json.loads(json.loads(request.body)["messages"][1]["content"])
    return said(f"Name of {' '.join(questions[0].split()[-2:]).strip('?')}")


def no_texts(cluster_id: int, namespace: str, kept: Sequence[KeptMember]) -> list[Member]:
    return []


@pytest.fixture
def model() -> Iterator[HttpReceiver]:
    with HttpReceiver(shared) as receiver:
        yield receiver


class Naming:
    """A store and what names its clusters; the clock is turned by hand."""

    def __init__(
        self, model: HttpReceiver, store: MemoryStore | None = None, read: Read = no_texts, **names: Any
    ) -> None:
        self.store = store or store_with({"shop": TEXTS})
        self.metrics = EventMetrics()
        self.now_ms = NOW_MS
        own = {"endpoint": f"{model.url}/v1", "model": "small", **names}
        self.settings = Settings.model_validate({"names": own})
        self.namer = Namer(self.settings, self.store, read, self.metrics, lambda: self.now_ms)

    def look(self) -> dict[int, str]:
        """The names after a look."""
        self.namer.look()
        return {cluster_id: made.name for cluster_id, made in self.store.made_names("shop").items()}

    def count(self, outcome: str) -> float:
        found = self.metrics.registry.get_sample_value("questream_names_total", {"outcome": outcome})
        assert found is not None
        return found

    def move(self, cluster_id: int) -> None:
        """Have it look as if the cluster was named long ago, somewhere else."""
        made = self.store.made_names("shop")[cluster_id]
        elsewhere = place_of(-np.ones(8, np.float32) * np.arange(1, 9))
        epoch = self.store.store_epoch("shop") or ""
        self.store.write_names("shop", epoch, {cluster_id: made._replace(place=elsewhere, size=1, name="Before")})


def test_large_clusters_without_a_label_are_named_the_largest_first(model: HttpReceiver) -> None:
    store = store_with({"shop": TEXTS})
    store.label("shop", 2, "Payment", None)
    naming = Naming(model, store, key="sesame", least_questions=10)
    assert naming.look() == {1: "Name of my parcel", 3: "Name of Something a"}
    first = model.received[0]
    assert (first.path, first.headers["authorization"]) == ("/v1/chat/completions", "Bearer sesame")
    asked = json.loads(first.body)
    assert (asked["model"], asked["messages"][1]["content"]) == ("small", json.dumps(["Where is my parcel?"]))
    assert naming.look() == {1: "Name of my parcel", 3: "Name of Something a"}
    assert (len(model.received), naming.count("made")) == (2, 2)
    assert naming.namer.take() == [], "a first name is no event"


def test_no_name_is_made_of_a_question_that_people_moved_out_of_the_cluster(model: HttpReceiver) -> None:
    store = store_with({"shop": TEXTS})
    decisions = Decisions(store, "shop", By("ann"))
    first = KnownQuestion(1, vectors_of(len(TEXTS))[0], ("questions", 0, 0), None, "q0", None)
    decisions.commit(decisions.move([first], 2))
    read: list[tuple[int, int]] = []

    def offsets(cluster_id: int, namespace: str, kept: Sequence[KeptMember]) -> list[Member]:
        read.extend((cluster_id, one.place[2]) for one in kept)
        return []

    Naming(model, store, offsets, least_questions=10).look()
    assert read == [(2, 1), (3, 2)]


def test_no_name_is_kept_of_texts_that_somebody_erased_while_the_model_was_asked(model: HttpReceiver) -> None:
    naming = Naming(model, least_questions=12)

    def answer_late(request: Received) -> Reply:
        model.reply = shared
        decisions = Decisions(naming.store, "shop", By("ann"))
        decisions.commit(decisions.forget(1))
        return shared(request)

    model.reply = answer_late
    assert naming.look() == {}
    assert naming.count("made") == 0
    # It has no text any more; one that somebody chose is one to name it by.
    decisions = Decisions(naming.store, "shop", By("ann"))
    decisions.commit(decisions.represent(1, "Where are my shoes?"))
    assert naming.look() == {1: "Name of my shoes"}


def test_a_cluster_that_moved_is_named_anew_and_that_is_an_event_once(model: HttpReceiver) -> None:
    naming = Naming(model)
    naming.look()
    naming.move(1)
    again = Naming(model, naming.store)
    again.now_ms += 60_000
    assert again.look()[1] == "Name of my parcel"
    (event,) = again.namer.take()
    Draft202012Validator(load_schema("cluster-event")).validate(event)
    assert (event["data"]["kind"], event["subject"], event["data"]["renamed_by"]) == ("renamed", "c1", "model")
    assert "parcel" not in json.dumps(event)
    assert "Before" not in json.dumps(event)
    again.look()
    assert again.namer.take() == []
    # One that ended before it was told tells it again, by the same id.
    after = Naming(model, naming.store)
    after.now_ms += 120_000
    after.look()
    assert [one["id"] for one in after.namer.take()] == [event["id"]]


def test_a_cluster_that_grew_where_it_was_keeps_its_name_without_a_request(model: HttpReceiver) -> None:
    naming = Naming(model)
    naming.look()
    asked = len(model.received)
    made = naming.store.made_names("shop")[1]
    naming.store.write_names("shop", naming.store.store_epoch("shop") or "", {1: made._replace(size=1)})
    assert Naming(model, naming.store).look()[1] == made.name
    assert len(model.received) == asked


def test_requests_of_an_hour_are_limited_also_over_a_new_start(model: HttpReceiver) -> None:
    naming = Naming(model, per_hour=2, least_questions=3)
    assert len(naming.look()) == 2
    again = Naming(model, naming.store, per_hour=2, least_questions=3)
    again.now_ms += 3_599_000
    assert len(again.look()) == 2
    again.now_ms += 2_000
    assert len(again.look()) == 4
    assert len(model.received) == 4


@pytest.mark.parametrize(
    ("reply", "fault", "wait_seconds"),
    [
        (Reply(429, (("Retry-After", "120"),)), "HTTP 429", 120),
        (Reply(500), "HTTP 500", 0),
        (Reply(401, body=b"bad key sesame"), "HTTP 401", 0),
        (Reply(307, (("Location", "http://127.0.0.1:1/"),)), "HTTP 307", 0),
        (Reply(200, body=b"<html>"), "an answer that is not a chat completion", 0),
        (Reply(200, body=b'{"choices": []}'), "an answer that is not a chat completion", 0),
        (
            Reply(200, body=b'{"choices": [{"message": {"content": 7}}]}'),
            "an answer that is not a chat completion",
            0,
        ),
        (Reply(200, body=b"x" * 300_000), "an answer of more than 262,144 bytes", 0),
        (
            Reply(200, (("Content-Encoding", "gzip"),), body=gzip.compress(b" " * 50_000_000)),
            "an answer that is not a chat completion",
            0,
        ),
    ],
)
def test_an_endpoint_that_fails_is_left_alone_for_a_while(
    model: HttpReceiver, reply: Reply, fault: str, wait_seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    naming = Naming(model, key="sesame")
    model.reply = lambda _: reply
    answer = NamesEndpoint(naming.settings.names).ask([{"role": "user", "content": "parcel"}])
    assert answer == (None, fault, wait_seconds)
    with caplog.at_level(logging.INFO):
        assert naming.look() == {}
    assert (len(model.received), naming.count("failed")) == (2, 1), "one request, not one for each cluster"
    told = " ".join(str(record.__dict__) for record in caplog.records if record.name.startswith("questream"))
    assert fault in told
    for secret in ("sesame", "parcel", model.url):
        assert secret not in told
    model.reply = shared
    assert naming.look()[1] == "Name of my parcel"


@pytest.mark.parametrize(
    "text", ["my parcel\x1b[31m", "my parcel " * 1000, "my parcel <script>", "Visit evil now", "parcel\nparcel", " "]
)
def test_a_hostile_answer_is_no_name_and_is_not_asked_for_again_at_once(model: HttpReceiver, text: str) -> None:
    naming = Naming(model, least_questions=12)
    model.reply = lambda _: said(text)
    assert naming.look() == {}
    assert naming.look() == {}
    assert (len(model.received), naming.count("refused")) == (1, 1)


def test_a_slow_endpoint_is_waited_for_no_longer_than_the_setting_says(model: HttpReceiver) -> None:
    naming = Naming(model, timeout_seconds=0.5)
    model.reply = lambda _: Reply(200, body=b"x" * 100, byte_seconds=0.1)
    answer = NamesEndpoint(naming.settings.names).ask([{"role": "user", "content": "parcel"}])
    assert answer == (None, "no answer within 0.5 s", 0)


def test_an_endpoint_that_is_not_there_is_told_without_its_address(model: HttpReceiver) -> None:
    naming = Naming(model)
    model.stop()
    assert naming.look() == {}
    assert naming.count("failed") == 1


def test_the_name_of_a_cluster_that_is_gone_goes(model: HttpReceiver) -> None:
    naming = Naming(model)
    gone = MadeName("Gone", "small", NOW_MS, 12, "")
    naming.store.write_names("shop", naming.store.store_epoch("shop") or "", {99: gone})
    assert 99 not in naming.look()


def test_it_names_in_the_background_until_it_is_stopped(model: HttpReceiver) -> None:
    naming = Naming(model)
    naming.namer.start()
    wait_until(lambda: len(naming.store.made_names("shop")) == 3, "all that are due are named")
    naming.namer.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "namer"]


def test_the_name_is_shown_found_and_never_before_a_label(model: HttpReceiver) -> None:
    naming = Naming(model)
    naming.look()
    store = naming.store
    client = client_of(store)
    clusters = "/api/v1/namespaces/shop/clusters"
    assert client.get(f"{clusters}/c1").json()["name"] == "Name of my parcel"
    found = client.get(clusters, params={"q": "name parcel"}).json()["clusters"]
    assert [one["cluster_id"] for one in found] == ["c1"]
    assert "Name of my parcel" in client.get("/n/shop/clusters").text
    store.label("shop", 1, "Parcels", None)
    assert client_of(store).get(f"{clusters}/c1").json()["name"] == "Parcels"


def test_who_may_not_read_texts_is_shown_no_made_name(model: HttpReceiver, tmp_path: Path) -> None:
    naming = Naming(model)
    naming.look()
    settings, tokens = with_tokens(tmp_path, {"vera": {"*": "viewer"}})
    client = client_of(naming.store, settings)
    headers = {"authorization": f"Bearer {tokens['vera']}"}
    shown = client.get("/api/v1/namespaces/shop/clusters", params={"q": "name"}, headers=headers)
    assert (shown.status_code, shown.json()["clusters"]) == (200, [])
    assert client.get("/api/v1/namespaces/shop/clusters/c1", headers=headers).json()["name"] is None


@pytest.mark.parametrize(
    "given",
    [
        {"names.endpoint": "https://host/v1"},
        {"names.endpoint": "https://host/v1", "names.model": "small", "clusters.keep_texts": "false"},
    ],
)
def test_names_that_cannot_be_made_are_refused_at_the_start(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"names\.endpoint"):
        check_names(load_settings(None, given))
    flags = [f"--{key}={value}" for key, value in given.items()]
    assert questream("events", "run", *flags).code == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [("endpoint", "ftp://host"), ("endpoint", "https://user:sesame@host/v1"), ("per_hour", 0), ("least_questions", 2)],
)
def test_a_setting_out_of_range_is_refused_without_a_login_in_the_message(key: str, value: object) -> None:
    with pytest.raises(SettingsError, match=rf"names\.{key} .* allowed: ") as refused:
        load_settings(None, {f"names.{key}": value})
    assert "sesame" not in str(refused.value)


def test_the_key_is_a_secret_of_the_log() -> None:
    settings = load_settings(None, {"names.key": "sesame"})
    assert "sesame" in set(secrets_of(settings))
    assert "sesame" not in repr(settings)
