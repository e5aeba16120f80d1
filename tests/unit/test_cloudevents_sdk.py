"""Events as the CloudEvents SDK writes them into Kafka are read as it reads them itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.domain import Question, Record, Source
from questream.records import QuestionDecoder
from questream.settings import InputSettings

event = pytest.importorskip("cloudevents.core.v1.event")
kafka = pytest.importorskip("cloudevents.core.bindings.kafka")

WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
TYPES = st.sampled_from(["application/json", "application/vnd.shop+json", None])
DECODER = QuestionDecoder(InputSettings(namespace_field="ns"), "default")


def written(mode: str, data: Any, **attributes: str | None) -> Any:
    given = {name: value for name, value in attributes.items() if value is not None}
    one = event.CloudEvent({"specversion": "1.0", "type": "asked", "source": "/shop", **given}, data)
    return (kafka.to_binary_event if mode == "binary" else kafka.to_structured_event)(one)


def decode(message: Any) -> Question:
    source = Source("questions", 0, 1, 1_795_486_680_123)
    return DECODER.decode(Record(source, message.key, message.value, tuple(message.headers.items())))


@pytest.mark.parametrize("mode", ["binary", "structured"])
@given(id=WORDS, text=WORDS, namespace=st.from_regex("[a-z]{1,9}", fullmatch=True), content_type=TYPES)
def test_an_object_is_read_by_its_fields(
    mode: str, id: str, text: str, namespace: str, content_type: str | None
) -> None:
    message = written(mode, {"text": text, "ns": namespace}, id=id, datacontenttype=content_type)
    own, read = kafka.from_kafka_event(message), decode(message)
    assert (read.id, read.text, read.namespace) == (own.get_id(), own.get_data()["text"], own.get_data()["ns"])


@pytest.mark.parametrize("mode", ["binary", "structured"])
@given(id=WORDS, text=WORDS)
def test_text_is_the_question(mode: str, id: str, text: str) -> None:
    message = written(mode, text, id=id, datacontenttype="text/plain")
    own, read = kafka.from_kafka_event(message), decode(message)
    assert (read.id, read.text) == (own.get_id(), own.get_data())
