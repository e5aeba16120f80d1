"""`questream mcp` as a language model's program starts it: the SDK's own client, Apache Kafka and Redis."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from questream.encoder import Encoder
from questream.store.redis.store import open_store
from tests.kit.servers import KafkaServer, RedisServer, create_topics
from tests.kit.stream import Message, Stream, question, real_questions, running_worker

QUESTIONS = real_questions(40)
pytestmark = pytest.mark.timeout(600)


@contextmanager
def running_stream(kafka: KafkaServer, redis_server: RedisServer, encoder: Encoder) -> Iterator[Stream]:
    """A stream whose worker has decided all questions and refused one record."""
    stream = Stream(kafka.bootstrap_servers, create_topics(kafka.bootstrap_servers, 2), redis_server.new_database())
    stream.redis().flushdb()
    with running_worker(stream.settings(), encoder):
        stream.send([question(number, text) for number, text in enumerate(QUESTIONS)] + [Message(b"{}", b"broken")])
        with stream.decisions() as decisions:
            decisions.until(len(QUESTIONS))
        yield stream


def command(stream: Stream, model: Path, *options: str) -> StdioServerParameters:
    """How a program starts the server."""
    overrides = stream.overrides(model__name=model)
    settings = [f"--set={key}={value}" for key, value in overrides.items()]
    return StdioServerParameters(command=sys.executable, args=["-m", "questream", "mcp", *options, *settings])


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool answers; it is asked again while the server reads what it needs."""
    while True:
        result = await client.call_tool(tool, arguments)
        if not result.is_error:
            return result.structured_content
        said = "".join(getattr(part, "text", "") for part in result.content)
        assert said.endswith("are being read; ask again"), said
        await asyncio.sleep(0.5)


async def as_operator(server: StdioServerParameters) -> None:
    async with Client(server) as client:
        listed = await call(client, "list_clusters")
        largest = listed["clusters"][0]
        assert largest["representative"] in QUESTIONS
        recent = (await call(client, "recent_decisions", limit=50))["decisions"]
        assert {one["text"] for one in recent} == set(QUESTIONS)
        assert recent == sorted(recent, key=lambda one: str(one["decided_at"]), reverse=True)
        answer = await call(client, "assign", text=largest["representative"])
        assert answer["cluster"]["cluster_id"] == largest["cluster_id"]
        letters = await call(client, "list_dead_letters")
        assert (len(letters["letters"]), letters["letters"][0]["value"]) == (1, "{}")
        health = await call(client, "show_health")
        assert {one["status"] for one in health["findings"]} & {"ok", "warn", "fail"}
        one, other = (found["cluster_id"] for found in listed["clusters"][:2])
        done = await call(client, "label_cluster", cluster_id=one, label="first", reason="looked at")
        await call(client, "pin_cluster", cluster_id=other)
        await call(client, "undo_operation", operation=done["operation"])
        told = await call(client, "merge_clusters", cluster_id=one, other_id=other, dry_run=True)
        merged = await call(client, "merge_clusters", cluster_id=one, other_id=other)
        assert merged["after"]["size"] == told["after"]["size"]
        gone = next(found for found in (one, other) if found != merged["after"]["cluster_id"])
        led = await call(client, "show_cluster", cluster_id=gone)
        assert led["cluster_id"] == merged["after"]["cluster_id"]
        parted = await call(client, "unmerge_cluster", cluster_id=gone)
        assert (parted["kind"], parted["parted"]) == ("unmerge", gone)
        asked = next(found for found in recent if found["cluster_id"] == one)
        named = {"question_ids": [asked["question_id"]]}
        looked = await call(client, "split_cluster", cluster_id=one, dry_run=True, **named)
        assert (looked["kind"], looked["operation"]) == ("split", None)
        chosen = await call(client, "represent_cluster", cluster_id=one, question_id=asked["question_id"])
        assert chosen["after"][one]["represented_by"]["place"] is not None
        rejected = await call(client, "reject_questions", reason="another matter", **named)
        assert [found["kind"] for found in rejected["after"][one]["exemplars"]] == ["cannot"]
        await call(client, "undo_operation", operation=rejected["operation"])
        moved = await call(client, "move_questions", target_id=other, **named)
        assert [found["kind"] for found in moved["after"][other]["exemplars"]] == ["must"]
        kinds = [found["kind"] for found in (await call(client, "cluster_history"))["operations"]]
        later = ["move", "undo", "reject", "represent", "unmerge"]
        assert kinds == [*later, "merge", "undo", "pin", "label"]


async def as_viewer(server: StdioServerParameters) -> None:
    async with Client(server) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert "label_cluster" not in tools
        assert "list_clusters" in tools
        listed = await call(client, "list_clusters")
        assert {one["representative"] for one in listed["clusters"]} == {None}
        assert {one["text"] for one in (await call(client, "recent_decisions"))["decisions"]} == {None}
        assert (await call(client, "list_dead_letters"))["letters"][0]["value"] is None


def test_a_model_reads_and_decides_as_it_may(
    kafka: KafkaServer, redis_server: RedisServer, encoder: Encoder, minilm: Path
) -> None:
    with running_stream(kafka, redis_server, encoder) as stream:
        asyncio.run(as_viewer(command(stream, minilm)))
        store = open_store(stream.settings().redis)
        assert store.operations("default", 10) == []
        asyncio.run(
            as_operator(command(stream, minilm, "--role", "operator", "--allow-writes", "--actor", "ada by MCP"))
        )
        operations = store.operations("default", 10)
        assert {one.actor for one in operations} == {"ada by MCP"}
        assert operations[-1].reason == "looked at"
