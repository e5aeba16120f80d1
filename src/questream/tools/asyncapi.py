"""The topics of a stream as an AsyncAPI 3.0 document, made of the JSON Schemas of `records.schemas`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, NamedTuple, cast

from questream.broker.topics import Role, wanted_topics
from questream.records import load_schema
from questream.settings import Settings

_SCHEMA_FORMAT = "application/schema+json;version=2020-12"
_BINDING_VERSION = "0.5.0"
_CLOUD_EVENT = "application/cloudevents+json"
_NAMESPACE_KEY = "A namespace."
_CLUSTER_KEY = "Namespace and cluster, `default/c4`."


class _Message(NamedTuple):
    """A kind of record; `schema` is the name of the schema of its value, or of its headers for a dead letter."""

    name: str
    schema: str
    key: str
    content_type: str = "application/json"


class _Channel(NamedTuple):
    """The purpose of a topic, and which of questream's processes read and write it."""

    summary: str
    messages: tuple[_Message, ...]
    actions: tuple[str, ...]


_CHANNELS: dict[Role, _Channel] = {
    "input": _Channel("Questions that are to be clustered; their form is set by `input`.", (), ("receive",)),
    "output": _Channel(
        "One decision for each question, under the question's key, with its headers.",
        (_Message("decision", "decision", "The key of the question's record, or none."),),
        ("send",),
    ),
    "cluster": _Channel(
        "The latest state of each cluster; a record without a value means that the cluster is retired.",
        (
            _Message("cluster-state", "cluster-state", _CLUSTER_KEY),
            _Message("namespace-state", "namespace-state", _NAMESPACE_KEY),
            _Message("levels", "levels", "Namespace and part, `default/levels/0`."),
        ),
        ("send", "receive"),
    ),
    "dead-letter": _Channel(
        "Records that can never be decided: key, value and headers untouched, and headers that say why.",
        (_Message("dead-letter", "dead-letter", "The key of the record, or none.", "application/octet-stream"),),
        ("send",),
    ),
    "event": _Channel(
        "Events of clusters, as CloudEvents in structured JSON.",
        (_Message("cluster-event", "cluster-event", _CLUSTER_KEY, _CLOUD_EVENT),),
        ("send", "receive"),
    ),
    "operation": _Channel(
        "What people decided of clusters, in the order of its numbers.",
        (_Message("operation", "operation", _NAMESPACE_KEY),),
        ("send", "receive"),
    ),
    "correction": _Channel(
        "Questions that were decided and belong to another cluster since an operation.",
        (_Message("correction", "correction", "The key of the question's decision, or none."),),
        ("send",),
    ),
}


def asyncapi_document(settings: Settings) -> dict[str, Any]:
    """The document of the topics that these settings name; it asks no server, and holds no login."""
    kafka = settings.kafka
    messages = [message for channel in _CHANNELS.values() for message in channel.messages]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "questream",
            "version": version("questream"),
            "description": "Operations are from questream's point of view: others receive what it sends. "
            "Read with `isolation.level = read_committed`; fields are added without a new `schema_version`.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": kafka.bootstrap_servers,
                "protocol": "kafka-secure" if _is_encrypted(settings) else "kafka",
            }
        },
        "channels": {
            topic.role: _channel(topic.name, _CHANNELS[topic.role], topic.configs)
            for topic in wanted_topics(settings, -1, -1, None)
        },
        "operations": {
            f"{action}-{role}": {"action": action, "channel": {"$ref": f"#/channels/{role}"}}
            for role, channel in _CHANNELS.items()
            for action in channel.actions
        },
        "components": {
            "messages": {message.name: _message(message) for message in messages},
            "schemas": {
                message.schema: {"schemaFormat": _SCHEMA_FORMAT, "schema": _schema(message.schema)}
                for message in messages
            },
        },
    }


def _is_encrypted(settings: Settings) -> bool:
    options = settings.kafka.options
    # kafka-python's name of it, and librdkafka's.
    protocol = options.get("security_protocol") or options.get("security.protocol") or ""
    return str(protocol).upper().endswith("SSL")


def _schema(name: str) -> dict[str, Any]:
    """The schema as a part of the document: references in it begin at the document's root, since it has no id here."""
    schema = load_schema(name)
    del schema["$id"]
    return cast(dict[str, Any], _from_root(schema, f"#/components/schemas/{name}/schema"))


def _from_root(node: Any, root: str) -> Any:
    if isinstance(node, list):
        return [_from_root(item, root) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: root + value.removeprefix("#") if key == "$ref" else _from_root(value, root) for key, value in node.items()
    }


def _channel(topic: str, channel: _Channel, configs: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "address": topic,
        "summary": channel.summary,
        "messages": {message.name: {"$ref": f"#/components/messages/{message.name}"} for message in channel.messages},
    }
    if "cleanup.policy" in configs:
        policy = [configs["cleanup.policy"]]
        found["bindings"] = {
            "kafka": {"topicConfiguration": {"cleanup.policy": policy}, "bindingVersion": _BINDING_VERSION}
        }
    return found


def _message(message: _Message) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{message.schema}"}
    return {
        "name": message.name,
        "title": load_schema(message.schema)["title"],
        "contentType": message.content_type,
        "headers" if message.schema == "dead-letter" else "payload": schema,
        "bindings": {
            "kafka": {"key": {"type": "string", "description": message.key}, "bindingVersion": _BINDING_VERSION}
        },
    }
