"""Events as requests to a receiver: which are sent, what they say, who signed them, and what becomes of them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from questream.errors import SettingsError
from questream.events.detector import DetectedEvent
from questream.logs import secrets_of
from questream.records.events import event_document
from questream.settings import WebhookSettings, load_settings
from questream.watch.delivery import receiver_of
from questream.watch.receiver import Receiver
from questream.watch.webhooks import Notification, body_of, is_wanted, send
from tests.kit.receiver import HttpReceiver, Received, Reply

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
NOW_MS = 1_700_000_000_000


def notification(kind: Any = "spiking", namespace: str = "shop", **data: Any) -> Notification:
    event = DetectedEvent(kind, "c17", NOW_MS, NOW_MS - 60_000, 8, 1.24)
    document = event_document(namespace, event, "question-clusters")
    document["data"] |= data
    return Notification(json.dumps(document).encode(), NOW_MS)


def webhooks(**given: Any) -> WebhookSettings:
    return WebhookSettings.model_validate(given)


@pytest.mark.parametrize(
    ("settings", "event", "wanted"),
    [
        ({}, notification(), True),
        ({}, notification("quiet"), False),
        ({"kinds": []}, notification("quiet"), True),
        ({"namespaces": ["sh*"]}, notification(), True),
        ({"namespaces": ["sh"]}, notification(), False),
        ({"namespaces": ["other", "shop"]}, notification(), True),
        ({"routes": ["billing"]}, notification(), False),
        ({"routes": ["billing"]}, notification(route="billing"), True),
        ({"routes": ["billing"]}, notification(route=["billing"]), False),
    ],
)
def test_events_are_chosen_by_kind_namespace_and_route(
    settings: dict[str, Any], event: Notification, wanted: bool
) -> None:
    assert is_wanted(event, webhooks(**settings)) is wanted


def test_a_record_that_is_no_event_is_none() -> None:
    for value in (None, b"", b"[]", b"{}", b"\xff"):
        with pytest.raises(ValueError):  # noqa: PT011 - of the parser or of what it found
            Notification(value, 0)


def test_the_body_is_the_event_as_its_topic_holds_it() -> None:
    event = notification(label="Outage")
    assert body_of(event, webhooks()) == ("application/cloudevents+json", event.value)


def test_a_message_of_slack_says_what_happened_and_links_to_the_page() -> None:
    _, body = body_of(
        notification(label="Card lost", route="billing"), webhooks(body="slack", page_url="https://q.example/")
    )
    assert json.loads(body) == {
        "text": "*spiking*: <https://q.example/n/shop/c/c17|Card lost (c17)> in shop, route billing\n"
        "8 askers since 2023-11-14 22:12 UTC, where 1.2 were expected"
    }


def test_a_label_makes_no_link_no_mention_and_no_line_of_a_message() -> None:
    hostile = "<!channel> <http://evil|x>\n&|\u2028\x00"
    _, body = body_of(notification("renamed", label=hostile), webhooks(body="slack", page_url="https://q.example"))
    text = json.loads(body)["text"]
    assert text == (
        "*renamed*: <https://q.example/n/shop/c/c17|&lt;!channel&gt; &lt;http://evil/x&gt; &amp;/   (c17)> in shop"
    )


@pytest.mark.parametrize("known", [SECRET, OTHER])
def test_requests_are_signed_with_each_secret_as_standard_webhooks_has_it(known: str) -> None:
    with HttpReceiver() as receiver:
        settings = webhooks(url=f"{receiver.url}/hook", secret=f"{SECRET} {OTHER}")
        assert send(receiver_of(settings), notification(), settings).fault is None
        assert send(receiver_of(settings), notification(), settings).fault is None
    first, second = receiver.received
    assert Webhook(known).verify(first.body, first.headers)["subject"] == "c17"
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert "." not in first.headers["webhook-id"]
    with pytest.raises(WebhookVerificationError):
        Webhook(known).verify(first.body + b" ", first.headers)


def test_without_a_secret_nothing_is_signed() -> None:
    with HttpReceiver() as receiver:
        settings = webhooks(url=receiver.url)
        assert send(receiver_of(settings), notification(), settings).fault is None
    assert "webhook-signature" not in receiver.received[0].headers


@pytest.mark.parametrize(
    ("reply", "fault", "may_pass", "wait_seconds"),
    [
        (Reply(204), None, True, 0),
        (Reply(500), "HTTP 500", True, 0),
        (Reply(429, (("Retry-After", "120"),)), "HTTP 429", True, 120),
        (Reply(503, (("Retry-After", "9" * 30),)), "HTTP 503", True, 3600),
        (Reply(503, (("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"),)), "HTTP 503", True, 0),
        (Reply(404), "HTTP 404", True, 0),
        (Reply(400), "HTTP 400", False, 0),
        (Reply(200, body=b"x" * 100, byte_seconds=0.1), "no answer within 1 s", True, 0),
    ],
)
def test_what_became_of_a_request_is_told(reply: Reply, fault: str | None, may_pass: bool, wait_seconds: float) -> None:
    with HttpReceiver(lambda _: reply) as receiver:
        outcome = Receiver(receiver.url, 1.0).send(b"{}", {})
    assert outcome == (fault, may_pass, wait_seconds)


def test_a_redirect_is_not_followed() -> None:
    with HttpReceiver() as elsewhere:

        def redirect(_: Received) -> Reply:
            return Reply(307, (("Location", elsewhere.url),))

        with HttpReceiver(redirect) as receiver:
            outcome = Receiver(receiver.url, 5.0).send(b"{}", {})
        assert outcome.fault is not None
        assert outcome.fault.startswith("HTTP 307")
        assert elsewhere.received == []


def test_a_receiver_that_is_not_there_or_speaks_something_else_is_told_without_its_address() -> None:
    receiver = HttpReceiver(lambda _: Reply(200))
    receiver.start()
    receiver.stop()
    outcome = Receiver(f"{receiver.url}/secret-path", 5.0).send(b"{}", {})
    assert outcome == ("ConnectError", True, 0.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("webhooks.url", "ftp://host/secret-path"),
        ("webhooks.url", "secret-path"),
        ("webhooks.secret", "whsec_c2hvcnQ="),
        ("webhooks.secret", "whsec_?secret-path"),
        ("webhooks.secret", " "),
    ],
)
def test_a_wrong_address_or_secret_is_refused_without_being_quoted(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=key) as refused:
        load_settings(None, {key: value})
    assert "allowed:" in str(refused.value)
    assert "secret-path" not in str(refused.value)
    assert "c2hvcnQ" not in str(refused.value)


@pytest.mark.parametrize(("key", "value"), [("kinds", "loud"), ("timeout_seconds", 0), ("page_url", "https://a|b")])
def test_what_is_out_of_range_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"webhooks.{key} .* allowed: "):
        load_settings(None, {f"webhooks.{key}": value})


def test_without_an_address_the_process_does_not_start() -> None:
    with pytest.raises(SettingsError, match=r"webhooks\.url is not set"):
        receiver_of(webhooks())


def test_address_and_secret_count_as_secrets_of_the_log() -> None:
    settings = load_settings(None, {"webhooks.url": "https://hooks.example/T1", "webhooks.secret": SECRET})
    assert {"https://hooks.example/T1", SECRET} <= set(secrets_of(settings))
