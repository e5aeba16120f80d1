"""The job of a peer; a program of its own reads it from standard input, whose end ends the program."""

from __future__ import annotations

import io
import os
import threading
from dataclasses import asdict, dataclass

import orjson

from questream.errors import ExitCode


@dataclass(frozen=True, slots=True)
class Job:
    """Read questions of `input_topic` as a member of the group, and send each one's cluster to `output_topic`.

    A question is JSON with `id` and `text`; its answer has the id as key, and JSON with `cluster_id` as value. A
    question joins the nearest centroid whose cosine is `threshold` or more. `model` is the folder of a
    sentence-transformers model. The group misses a member after `session_seconds`.
    """

    bootstrap_servers: str
    group_id: str
    input_topic: str
    output_topic: str
    model: str
    threshold: float
    batch_questions: int
    session_seconds: float

    def to_bytes(self) -> bytes:
        """One line of JSON."""
        return orjson.dumps(asdict(self)) + b"\n"


def read_job() -> Job:
    """The job on standard input; once that is closed, by the parent or by its end, this process ends."""
    # Without a buffer, whose lock the thread would hold while the interpreter ends.
    standard_input = io.FileIO(0)
    job = Job(**orjson.loads(standard_input.readline()))
    threading.Thread(target=_end_with, args=(standard_input,), daemon=True).start()
    return job


def _end_with(standard_input: io.FileIO) -> None:
    standard_input.readall()
    os._exit(ExitCode.OK)


def question_of(value: bytes) -> tuple[str, str]:
    """The id and the text of a question."""
    question = orjson.loads(value)
    return question["id"], question["text"]


def answer(cluster_id: str) -> bytes:
    """The value of an answer."""
    return orjson.dumps({"cluster_id": cluster_id})
