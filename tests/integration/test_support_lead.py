"""What a support lead does: each command of the table in docs/operations.md, over a worker on Kafka and Redis."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from questream.encoder import Encoder
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, question, real_questions, running_worker, wait_until
from tests.kit.watching import create_event_topic

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
QUESTIONS = real_questions(300)


def commands() -> list[str]:
    """The first command of each row."""
    _, table = PAGE.read_text("utf-8").split("## What a support lead does", 1)
    rows = [line for line in table.split("\n## ", 1)[0].splitlines() if line.startswith("| ")][1:]
    found = [re.search(r"`questream ([^`]*)`", row) for row in rows if not row.startswith("| ---")]
    return [one.group(1) for one in found if one]


def test_each_of_the_twenty_things_is_done_by_its_command(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, encoder: Encoder, minilm: Path, tmp_path: Path
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, {"model.name": str(minilm)})
    create_event_topic(stream)
    flags, store = [f"--{name}={value}" for name, value in stream.overrides().items()], stream.store()
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        stream.send([question(number, text) for number, text in enumerate(QUESTIONS)])
        decided = reader.values(len(QUESTIONS))
        wait_until(lambda: store.levels("default").version > 0, "a worker has found intents", 90)
        wait_until(lambda: not store.unpublished("default", 0.0, 10), "the outbox is published")
        largest = sorted(store.summaries("default"), key=lambda state: (-state.size, state.cluster_id))
        names = [f"c{state.cluster_id}" for state in largest[:4]]
        asked = [one["question_id"] for one in decided if one["cluster_id"] == names[0]]
        exported = tmp_path / "clusters.csv"
        questream("clusters", "export", "--format", "csv", "--output", str(exported), *flags)
        head, first, *rest = exported.read_text("utf-8").splitlines()
        exported.write_text("\n".join([head, first.replace(",,", ",reviewed,", 1), *rest]), "utf-8")
        intents = tmp_path / "intents.jsonl"
        intents.write_text(json.dumps({"name": "loan", "route": "loans", "examples": ["How do I get a loan?"]}))
        intent = next(node for node in store.levels("default").levels.parents.values() if node.level == 1)
        given = {"i5": str(intent), "clusters.csv": str(exported), "intents.jsonl": str(intents)}
        given |= {"c17": names[0], "c42": names[1]}
        done = []
        for command in commands():
            words = shlex.split(command)
            if words[1] == "separate":
                # The merge made one of the first two.
                given |= {"c42": names[2]}
            if words[1] in ("reject", "move", "represent"):
                given |= {"q-4711": asked.pop()}
            if words[0] == "undo":
                given |= {"12": next(str(one.number) for one in store.operations("default", 50) if one.kind == "merge")}
            words = [given.get(word, word) for word in words]
            agreed = ["--yes"] if words[1] in ("merge", "import") or "--from" in words else []
            outcome = questream(*words, *agreed, *flags)
            assert outcome.code == 0, (command, outcome.err)
            done.append(command)
    assert len(done) == 20
    kinds = {one.kind for one in store.operations("default", 50)}
    assert kinds == {"label", "merge", "separate", "reject", "move", "represent", "intents"}
