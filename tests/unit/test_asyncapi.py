"""The AsyncAPI document of the topics, held to the official JSON Schema of AsyncAPI 3.0.

`tests/data/asyncapi-3.0.0.json.gz` is `schemas/3.0.0-without-$id.json` of the npm package `@asyncapi/specs` 6.11.1,
unchanged (Apache-2.0, the AsyncAPI Initiative).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from questream.broker.topics import wanted_topics
from questream.records.schemas import SCHEMA_NAMES
from questream.settings import KafkaSettings, Settings
from questream.tools.asyncapi import asyncapi_document
from tests.kit.command import questream

OFFICIAL = Path(__file__).parents[1] / "data" / "asyncapi-3.0.0.json.gz"


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    return Draft7Validator(json.loads(gzip.decompress(OFFICIAL.read_bytes())))


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    if isinstance(node, list):
        for value in node:
            yield from references(value)


def followed(document: dict[str, Any], reference: str) -> Any:
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


@pytest.mark.parametrize(
    ("options", "protocol"),
    [
        ({}, "kafka"),
        ({"security_protocol": "SASL_PLAINTEXT"}, "kafka"),
        ({"security_protocol": "SASL_SSL"}, "kafka-secure"),
        ({"security.protocol": "ssl"}, "kafka-secure"),
    ],
)
def test_the_document_is_asyncapi(official: Draft7Validator, options: dict[str, str], protocol: str) -> None:
    document = asyncapi_document(Settings(kafka=KafkaSettings(options=options)))
    assert [error.message for error in official.iter_errors(document)] == []
    assert document["servers"]["kafka"]["protocol"] == protocol


def test_the_official_schema_refuses_what_is_no_document(official: Draft7Validator) -> None:
    document = asyncapi_document(Settings())
    document["channels"]["output"]["topic"] = "not a field of a channel"
    assert not official.is_valid(document)


def test_every_reference_leads_somewhere_and_every_schema_is_told() -> None:
    document = asyncapi_document(Settings())
    found = list(references(document))
    assert all(isinstance(followed(document, reference), dict) for reference in found)
    schemas = document["components"]["schemas"]
    assert set(schemas) == set(SCHEMA_NAMES)
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema["schema"])
        inner = Draft202012Validator({**schema["schema"], "components": document["components"]})
        assert all(inner.is_valid(example) for example in schema["schema"]["examples"])
        assert f"#/components/schemas/{name}" in found


def test_topics_go_by_the_names_that_the_settings_give_them() -> None:
    outcome = questream("topics", "describe", "--kafka.output_topic=support-clusters", "--kafka.bootstrap_servers=a:1")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    settings = Settings(kafka=KafkaSettings(output_topic="support-clusters"))
    wanted = {topic.role: topic.name for topic in wanted_topics(settings, 1, 1, None)}
    assert {role: channel["address"] for role, channel in document["channels"].items()} == wanted
    assert document["servers"]["kafka"]["host"] == "a:1"


def test_no_login_is_in_the_document() -> None:
    outcome = questream(
        "topics", "describe", "--kafka.options.sasl_plain_username=anneliese", "--kafka.sasl_plain_password=sesame"
    )
    assert outcome.code == 0, outcome.err
    assert "sesame" not in outcome.out
    assert "anneliese" not in outcome.out
