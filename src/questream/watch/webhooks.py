"""An event as a request to a receiver of webhooks: which events are sent, the body, and its signature.

Signatures are those of Standard Webhooks 1.0 (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from typing import Any
from urllib.parse import quote

import orjson

from questream.domain import Unread
from questream.records.events import ClusterEvent, read_event
from questream.records.times import format_time, to_the_minute
from questream.settings import WebhookSettings
from questream.watch.receiver import Outcome, Receiver

_CROWDS = ("emerging", "spiking")


class Notification:
    """An event of a record of the event topic, and the record's unchanged value."""

    def __init__(self, value: bytes | Unread | None, published_ms: int) -> None:
        """Raises ValueError for a value that is no event."""
        if not value or isinstance(value, Unread):
            raise ValueError("no event")
        self.event: ClusterEvent = read_event(value)
        self.document: dict[str, Any] = orjson.loads(value)
        self.value: bytes = value
        self.published_ms = published_ms

    @property
    def label(self) -> str | None:
        """The label of its cluster, if it has one."""
        return self._text("label")

    @property
    def route(self) -> str | None:
        """The route of its cluster, if it has one."""
        return self._text("route")

    def _text(self, name: str) -> str | None:
        found = self.document["data"].get(name)
        return found if isinstance(found, str) else None


def is_wanted(notification: Notification, webhooks: WebhookSettings) -> bool:
    """True if the receiver wants an event, by its kind, namespace and route; an empty list lets all through."""
    if webhooks.kinds and notification.event.kind not in webhooks.kinds:
        return False
    if webhooks.routes and notification.route not in webhooks.routes:
        return False
    return not webhooks.namespaces or any(_matches(name, notification.event.namespace) for name in webhooks.namespaces)


def body_of(notification: Notification, webhooks: WebhookSettings) -> tuple[str, bytes]:
    """Content type and body: the CloudEvent as the topic holds it, or a message of Slack."""
    if webhooks.body == "slack":
        return "application/json", orjson.dumps({"text": _slack_text(notification, webhooks.page_url)})
    return "application/cloudevents+json", notification.value


def signature_headers(notification: Notification, body: bytes, secrets: str | None, now_seconds: int) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp` and, where there is a secret, `webhook-signature`.

    The id is the same whenever the event is sent. `secrets` are one or several, with blanks between: a receiver that
    knows one of them finds its signature among the others.
    """
    # A hash, since the id of an event has dots, which end the id in what is signed.
    id_ = "evt_" + hashlib.sha256(notification.event.id.encode()).hexdigest()[:40]
    signed = f"{id_}.{now_seconds}.".encode() + body
    headers = {"webhook-id": id_, "webhook-timestamp": str(now_seconds)}
    if secrets is None:
        return headers
    keys = (base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets.split())
    made = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {**headers, "webhook-signature": " ".join(f"v1,{signature}" for signature in made)}


def send(receiver: Receiver, notification: Notification, webhooks: WebhookSettings) -> Outcome:
    """One request about an event; blocks."""
    content_type, body = body_of(notification, webhooks)
    secrets = None if webhooks.secret is None else webhooks.secret.get_secret_value()
    signed = signature_headers(notification, body, secrets, int(time.time()))
    return receiver.send(body, {"content-type": content_type, "user-agent": "questream", **signed})


def _slack_text(notification: Notification, page_url: str | None) -> str:
    event = notification.event
    name = _escaped(event.cluster_id if notification.label is None else f"{notification.label} ({event.cluster_id})")
    if page_url is not None:
        name = f"<{page_url.rstrip('/')}/n/{quote(event.namespace)}/c/{event.cluster_id}|{name.replace('|', '/')}>"
    since = to_the_minute(format_time(event.since_ms))
    if event.kind in _CROWDS:
        what = f"{event.count} askers since {since} UTC, where {event.expected:.1f} were expected"
    elif event.kind in ("quiet", "returned"):
        what = f"last asked {since} UTC before"
    elif event.suggestion is not None:
        what = f"to {event.suggestion}" + ("" if event.other is None else f" with {event.other}")
    else:
        what = "" if event.other is None else event.other
    route = "" if notification.route is None else f", route {_escaped(notification.route)}"
    return f"*{event.kind}*: {name} in {_escaped(event.namespace)}{route}" + (f"\n{what}" if what else "")


def _escaped(text: str) -> str:
    """A text in which Slack finds no link, no mention and no second line."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _matches(pattern: str, namespace: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), namespace) is not None
