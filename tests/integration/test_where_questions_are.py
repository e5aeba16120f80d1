"""The program of docs/operations.md tells where each question is by decisions, corrections and merges of a stream."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from questream.operations import By, Decisions
from questream.tools.questions import known_questions
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

SETTINGS = {"clusters.threshold": 0.7, "clusters.similarity": "cosine", "judge.features": False}
CARD = "where is my card card card"
LOST = "where is my lost card card"
PIN = "how do i change the pin"
FEE = "why was there any fee fee"


def program(folder: Path) -> Path:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def where(" in code)
    file = folder / "where.py"
    file.write_text(code)
    return file


def test_the_program_of_the_page_follows_corrections_and_merges(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, tmp_path: Path
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, SETTINGS)
    encoder, store, file = hash_encoder(), stream.store(), program(tmp_path)
    names = stream.topics

    def told() -> dict[str, str]:
        """Cluster by id of the question."""
        wait_until(lambda: store.unpublished("default", 0.0, 10) == [] and not waits(), "all is published")
        arguments = [stream.bootstrap_servers, names.output_topic, names.cluster_topic, names.correction_topic]
        done = subprocess.run(
            [sys.executable, str(file), *arguments], capture_output=True, text=True, timeout=120, check=True
        )
        lines = [line.split() for line in done.stdout.splitlines()]
        return {ids[int(partition), int(offset)]: cluster for _, _, partition, offset, cluster in lines}

    def waits() -> bool:
        waiting = store.waiting(["default"], 0.0, 1)["default"]
        return not isinstance(waiting, Exception) and waiting.operations

    def decide(propose: Callable[[Decisions], Callable[[], object]]) -> int:
        decisions = Decisions(store, "default", By("ann"))
        return decisions.commit(propose(decisions)).number  # type: ignore[arg-type]  # as its methods give it

    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        for count, (name, text) in enumerate({"card": CARD, "lost": LOST, "pin": PIN, "fee": FEE}.items(), 1):
            stream.send([question(name, text)])
            reader.values(count)
        decided = {value["question_id"]: value for value in reader.values(4)}
        ids = {(one["source"]["partition"], one["source"]["offset"]): name for name, one in decided.items()}
        where = {name: one["cluster_id"] for name, one in decided.items()}
        card, pin, fee = (where[name] for name in ("qcard", "qpin", "qfee"))
        assert len({card, pin, fee}) == 3
        assert told() == where

        lost = known_questions(stream.settings(), "default", encoder, ["qlost"])
        moved = decide(lambda decisions: decisions.move(lost, int(pin[1:])))
        assert told() == where | {"qlost": pin}
        decide(lambda decisions: decisions.merge(int(fee[1:]), int(pin[1:])))
        gone, left = (fee, pin) if store.cluster("default", int(fee[1:])).merged_into else (pin, fee)  # type: ignore[union-attr]  # both are there
        assert told() == {"qcard": card, "qlost": left, "qpin": left, "qfee": left}
        decide(lambda decisions: decisions.unmerge(int(gone[1:])))
        assert told() == where | {"qlost": pin}
        decide(lambda decisions: decisions.undo(moved))
        assert told() == where
        split = decide(lambda decisions: decisions.split(int(card[1:]), lost))
        assert told() == where | {"qlost": "c4"}
        decide(lambda decisions: decisions.undo(split))
        assert told() == where
        decide(lambda decisions: decisions.reject(lost))
        assert told() == where | {"qlost": "None"}
        # Where nothing else takes it, it is in one of its own.
        decide(lambda decisions: decisions.reject([replace(one, opens=0) for one in lost]))
        assert told() == where | {"qlost": "c5"}
