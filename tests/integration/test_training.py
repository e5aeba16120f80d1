"""`questream train` with the real MiniLM: killed, resumed, compared, and loaded as the worker would."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from questream.encoder import load_encoder, load_judge
from questream.errors import ExitCode
from questream.settings import JudgeSettings, ModelSettings
from tests.kit.command import Outcome, questream
from tests.kit.stream import real_questions

QUESTIONS, STEPS, SAVED_EVERY, KILLED_AT = 60, 12, 2, 5
_KILLED = """
import os, signal, sys
from questream.cli import main, train
def step(self, done, steps):
    if done == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
train._Lines.step = step
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Groups of two real questions; which belong together is made up, as nothing here asks how well it learns."""
    path = tmp_path_factory.mktemp("data") / "groups.jsonl"
    rows = (
        json.dumps({"text": text, "gold": f"g{i % (QUESTIONS // 2)}"})
        for i, text in enumerate(real_questions(QUESTIONS))
    )
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def options(data: Path) -> list[str]:
    """What all trainings here are told, but for the model."""
    return [
        *("--groups", str(data), "--batch", "8", "--epochs", "2", "--max-tokens", "16"),
        *("--compared", "100", "--save-every", str(SAVED_EVERY), "--model.device=cpu", "--json"),
    ]


@pytest.fixture(scope="module")
def arguments(options: list[str], minilm: Path) -> list[str]:
    return [*options, f"--model.name={minilm}"]


@pytest.fixture(scope="module")
def shallow(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM without its layers above the first: what a kill does to a training, and whether a judge
    loads, does not depend on their number."""
    folder = tmp_path_factory.mktemp("shallow") / "model"
    shutil.copytree(minilm, folder)
    weights = load_file(folder / "model.safetensors")
    first = {name: tensor for name, tensor in weights.items() if not re.match(r"encoder\.layer\.[1-9]", name)}
    assert len(first) < len(weights)
    save_file(first, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    return folder


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("training talks to nobody")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def assert_quotes_no_question(outcome: Outcome) -> None:
    for text in real_questions(QUESTIONS):
        assert text not in outcome.out
        assert text not in outcome.err


@pytest.mark.usefixtures("_no_network")
def test_a_killed_training_goes_on_and_ends_as_one_that_was_not(
    tmp_path: Path, options: list[str], shallow: Path
) -> None:
    arguments = [*options, f"--model.name={shallow}"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    child = subprocess.run(
        [sys.executable, "-c", _KILLED.format(at=KILLED_AT), "train", str(killed), *arguments],
        capture_output=True,
        timeout=200,
        env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert [path.name for path in killed.iterdir()] == ["checkpoints"]
    # As of a kill while a checkpoint was written.
    shutil.copytree(killed / "checkpoints" / "checkpoint-4", killed / "checkpoints" / "checkpoint-6")
    (killed / "checkpoints" / "checkpoint-6" / "trainer_state.json").unlink()

    for more, told in ([], "is not empty"), (["--resume", "--seed", "1"], "began with other seed"):
        refused = questream("train", str(killed), *arguments, *more)
        assert refused.code == ExitCode.FAILED
        assert told in refused.err
    resumed = questream("train", str(killed), *arguments, "--resume")
    assert resumed.code == ExitCode.OK, resumed.err
    assert (resumed.json["fitted"]["resumed_at"], resumed.json["fitted"]["steps"]) == (4, STEPS)
    uninterrupted = questream("train", str(whole), *arguments)
    assert (uninterrupted.json["fitted"]["resumed_at"], uninterrupted.json["fitted"]["steps"]) == (0, STEPS)
    one, other, before = (load_file(folder / "model.safetensors") for folder in (killed, whole, shallow))
    for name, weights in other.items():
        np.testing.assert_allclose(one[name], weights, atol=1e-6)
    assert any(not np.array_equal(weights, before[name]) for name, weights in other.items() if name in before)
    assert_quotes_no_question(resumed)
    _assert_can_be_run(whole, shallow)
    done = questream("train", str(whole), *arguments, "--resume")
    assert (done.code, "holds no training to go on with" in done.err) == (ExitCode.FAILED, True)


def _assert_can_be_run(folder: Path, trained_from: Path) -> None:
    """The folder is a model of safetensors alone, which reads as much of a text as its base."""
    assert not [path.name for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert not (folder / "checkpoints").exists()
    card = (folder / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert not [text for text in real_questions(QUESTIONS) if text in card]
    encoder = load_encoder(ModelSettings(name=str(folder)))
    base = load_encoder(ModelSettings(name=str(trained_from)))
    assert (encoder.name, encoder.dimension, encoder.max_tokens) == (folder.name, base.dimension, base.max_tokens)
    assert encoder.revision.startswith("sha256:")
    vectors = encoder.encode(real_questions(8))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


@pytest.mark.usefixtures("_no_network")
def test_big_batches_go_through_a_gradient_cache_and_one_kind_of_pair_trains_one_loss(
    tmp_path: Path, arguments: list[str], minilm: Path
) -> None:
    more = ("--mini-batch", "4", "--hard-negatives", "0", "--epochs", "1")
    outcome = questream("train", str(tmp_path / "model"), *arguments, *more)
    assert outcome.code == ExitCode.OK, outcome.err
    assert outcome.json["fitted"]["losses"] == {"ranking": "CachedMultipleNegativesRankingLoss"}
    assert outcome.json["fitted"]["batches"] == {"ranking": 8}
    _assert_can_be_run(tmp_path / "model", minilm)


def test_a_full_disk_is_told_before_training(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=100_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    outcome = questream("train", str(tmp_path / "model"), *arguments)
    assert outcome.code == ExitCode.FAILED
    assert "has 0.1 GB free, its checkpoints and the model take 0.9 GB" in outcome.err


def test_a_judge_is_trained_and_loads_as_a_worker_loads_it(tmp_path: Path, options: list[str], shallow: Path) -> None:
    folder = tmp_path / "judge"
    outcome = questream("train", str(folder), "--judge", *options, f"--model.name={shallow}")
    assert outcome.code == ExitCode.OK, outcome.err
    report = json.loads(outcome.out)
    assert report["steps"] > 0
    assert report["held_out_different"] > 0
    assert 0 < report["precision"]["after"] <= 1
    judge = load_judge(JudgeSettings(model=str(folder)), "cpu")
    assert judge is not None
    (probability,) = judge.probabilities([("where is my card", "where is my parcel")])
    assert 0 < probability < 1
    assert not (folder / "checkpoints").exists()


def test_a_judge_needs_pairs_that_differ(tmp_path: Path, arguments: list[str]) -> None:
    outcome = questream("train", str(tmp_path / "judge"), "--judge", "--hard-negatives", "0", *arguments)
    assert outcome.code == ExitCode.FAILED
    assert "too few pairs of different questions" in outcome.err
