"""The README holds: its commands run as written, its examples are what the code takes and gives."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from questream.domain import Record, Source
from questream.records import QuestionDecoder
from questream.settings import InputSettings
from tests.kit.command import questream
from tests.kit.schemas import schema_of
from tests.kit.servers import KafkaServer
from tests.kit.servers.process import free_port
from tests.kit.stream import wait_until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
COMMAND = Path(sys.executable).parent / "questream"
QUESTIONS = "where is my card?\nmy card has not arrived\nhow do I close my account?\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", README, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """The questream commands of the console blocks, in order, without the name itself."""
    lines = [line.strip() for block in blocks("console") for line in block.splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ questream ")]


@pytest.fixture
def environment(
    kafka_factory: Callable[..., KafkaServer], redis_url: str, minilm: Path, tmp_path: Path
) -> dict[str, str]:
    """What the README asks the reader to export, and the model that these machines have."""
    (tmp_path / "questions.txt").write_text(QUESTIONS, "utf-8")
    return {
        **os.environ,
        "QUESTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka_factory().bootstrap_servers,
        "QUESTREAM_REDIS__URL": redis_url,
        "QUESTREAM_MODEL__NAME": str(minilm),
        "QUESTREAM_METRICS__PORT": "0",
        "QUESTREAM_SERVE__PORT": str(free_port()),
    }


@contextmanager
def running(arguments: list[str], environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [COMMAND, *arguments], env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run(arguments: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        [COMMAND, *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{shlex.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def text_of(page: str) -> str:
    """What a page shows, or nothing while there is none."""
    try:
        with urllib.request.urlopen(page, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_the_five_minutes_work_as_written(environment: dict[str, str], tmp_path: Path) -> None:
    assert [arguments[0] for arguments in commands()] == [
        "topics", "doctor", "run", "produce", "tail", "clusters", "ask", "serve",
    ]  # fmt: skip
    create, doctor, worker, produce, tail, clusters, ask, serve = commands()
    run(create, environment, tmp_path)
    assert "fail" not in run(doctor, environment, tmp_path).lower()
    with running(worker, environment, tmp_path) as working, running(tail, environment, tmp_path) as following:
        assert following.stderr is not None
        assert "following" in following.stderr.readline()
        run(produce, environment, tmp_path)
        assert following.stdout is not None
        decisions = [following.stdout.readline() for _ in QUESTIONS.splitlines()]
        assert all(re.search(r"\bc\d+\b", line) for line in decisions), decisions
        listed = run(clusters, environment, tmp_path)
        assert "card" in listed
        assert re.search(r"\bc\d+\b", run(ask, environment, tmp_path))
        with running(serve, environment, tmp_path):
            page = f"http://127.0.0.1:{environment['QUESTREAM_SERVE__PORT']}/n/default/clusters"
            wait_until(lambda: "card" in text_of(page), "the page shows the clusters")
        working.send_signal(signal.SIGTERM)
        assert working.wait(60) == 0
    port = free_port()
    with running(serve, {**environment, "QUESTREAM_SERVE__PORT": str(port)}, tmp_path):
        wait_until(lambda: "card" in page_at(port), "the page shows the clusters")


def page_at(port: int) -> str:
    """The page that a browser would see; empty while nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`questream ([a-z-]+(?: [a-z]+)?)", README)) | {" ".join(c[:1]) for c in commands()}
    assert named
    for name in named:
        words = [word for word in name.split() if word != "of"]
        shown = questream(*words, "--help")
        assert shown.code == 0, f"questream {name}: {shown.err}"


def test_its_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"(?:\$ |`)make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_its_question_is_decoded_and_its_decision_is_one() -> None:
    question, decision = blocks("json")
    record = Record(Source("questions", 0, 1, 0), None, question.encode())
    assert QuestionDecoder(InputSettings(), "default").decode(record).id == "q-17"
    schema_of("decision").validate(json.loads(decision))


def test_its_notebook_runs(minilm: Path) -> None:
    assign, estimate = blocks("python")
    names: dict[str, Any] = {"vectors": np.eye(8)[:5], "more_vectors": np.eye(8)[4:]}
    exec(assign.replace("sentence-transformers/all-MiniLM-L6-v2", str(minilm)), names)
    assert len(names["assigned"].ids) == 3
    exec(estimate, names)
    assert len(names["labels"]) == 9


def test_its_environment_names_are_settings() -> None:
    from questream.settings import all_settings

    known = {setting.env_name for setting in all_settings()}
    assert set(re.findall(r"QUESTREAM_[A-Z_]+[A-Z]", README)) <= known
    keys = {setting.key for setting in all_settings()}
    groups = {key.split(".")[0] for key in keys if "." in key}
    dotted = set(re.findall(rf"`((?:{'|'.join(sorted(groups))})\.[a-z_]+)", README))
    assert dotted <= keys, dotted - keys
