"""`questream migrate` with two real models, on Kafka and Redis."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from questream.clustering.levels import Levels, Node, leaf
from questream.deciding.level_runs import is_due
from questream.domain import Ruling
from questream.encoder import load_encoder
from questream.errors import ExitCode
from questream.operations import By, Decisions, KnownQuestion
from questream.settings import ModelSettings
from questream.tools.questions import given_questions
from tests.kit.command import Outcome, questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, live_sizes, question, running_worker, wait_until

QUESTIONS = ["Where is my card?", "Has my card been sent yet?", "How do I close my account?", "Which fees are there?"]


@pytest.fixture(scope="module")
def tuned(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as fine-tuning leaves it: the same, with each weight a little different."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("models") / "tuned"
    shutil.copytree(minilm, folder)
    (weights,) = folder.glob("model.safetensors")
    torch.manual_seed(0)
    changed = {
        name: tensor + 0.01 * tensor.std() * torch.randn_like(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in load_file(weights).items()
    }
    save_file(changed, weights, {"format": "pt"})
    return folder


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, minilm: Path) -> Stream:
    stream = Stream(kafka.bootstrap_servers, topics(1), redis_url, {"model.name": str(minilm)})
    stream.send(question(i, text) for i, text in enumerate(QUESTIONS * 5))
    with running_worker(stream.settings(), load_encoder(stream.settings().model)):
        wait_until(lambda: sum(stream.committed().values()) == 20, "all are decided")
    return stream


def run(stream: Stream, *command: str) -> Outcome:
    return questream(*command, *(f"--{key}={value}" for key, value in stream.overrides().items()))


def test_without_yes_and_without_a_terminal_it_only_reports(stream: Stream, tuned: Path) -> None:
    outcome = run(stream, "migrate", "--to", str(tuned), "--shadow-questions=0")
    assert outcome.code == ExitCode.OK, outcome.err
    assert "clusters of default embedded with tuned" in outcome.out
    assert "no live question came to compare the models on" in outcome.out
    assert "nothing was changed" in outcome.out
    assert "--yes does it" in outcome.err
    assert stream.store().store_epoch("default") is not None


def test_a_namespace_moves_and_a_worker_with_the_new_model_goes_on(stream: Stream, tuned: Path) -> None:
    before = live_sizes(stream.store())
    outcome = run(stream, "migrate", "--to", str(tuned), "--yes", "--json", "--shadow-questions=0")
    assert outcome.code == ExitCode.OK, outcome.err
    assert outcome.json["moved"]["clusters"] == outcome.json["clusters"] == len(before)
    assert (outcome.json["to"]["model"], outcome.json["unread"]) == ("tuned", [])
    encoder = load_encoder(ModelSettings(name=str(tuned)))
    stream.send(question(20 + i, text) for i, text in enumerate(QUESTIONS))
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        decisions = reader.values(24)
    by_text = {(QUESTIONS[int(d["question_id"][1:]) % 4], d["cluster_id"]) for d in decisions}
    assert len(by_text) == len(QUESTIONS)
    assert {d["model"] for d in decisions[20:]} == {"tuned"}
    assert sum(live_sizes(stream.store()).values()) == 24
    asked = run(stream, "ask", QUESTIONS[0], "--json", f"--model.former={tuned}")
    assert asked.json["cluster"]["similarity"] > 0.9
    again = run(stream, "migrate", "--to", str(tuned), "--yes")
    assert again.code == ExitCode.FAILED
    assert "already" in again.err


def test_questions_are_compared_while_they_come(stream: Stream, tuned: Path, minilm: Path) -> None:
    ended = threading.Event()

    def ask() -> None:
        number = 20
        while not ended.wait(0.2):
            stream.send([question(number, QUESTIONS[number % len(QUESTIONS)])])
            number += 1

    asking = threading.Thread(target=ask)
    with running_worker(stream.settings(), load_encoder(ModelSettings(name=str(minilm)))):
        asking.start()
        outcome = run(stream, "migrate", "--to", str(tuned), "--json", "--shadow-questions=4", "--shadow-seconds=40")
        ended.set()
        asking.join()
    assert outcome.code == ExitCode.OK, outcome.err
    assert outcome.json["moved"] is None
    assert outcome.json["compared"]["questions"] >= 4
    assert outcome.json["compared"]["agreement"] == 1


def test_what_people_decided_stands_after_the_move_and_in_the_next_run_of_levels(stream: Stream, tuned: Path) -> None:
    store = stream.store()
    numbers = sorted(state.cluster_id for state in store.clusters("default"))
    one, two, three = numbers[:3]
    first, second, topic = Node(1, 1), Node(1, 2), Node(2, 1)
    parents = {leaf(one): first, leaf(two): first, leaf(three): second, first: topic, second: topic}
    found = replace(store.levels("default"), levels=Levels(parents, (3, 2)), opened=len(numbers))
    assert store.write_levels("default", store.store_epoch("default") or "", found)
    decisions = Decisions(store, "default", By("ann", "for good"))
    encoder = load_encoder(stream.settings().model)

    def asked(text: str) -> list[KnownQuestion]:
        return given_questions(stream.settings(), store, "default", encoder, [text], None)

    moved_to = asked(QUESTIONS[0])[0].cluster_id
    for propose in (
        decisions.mark("pin", one),
        decisions.separate(one, three),
        decisions.dismiss(two, "name"),
        decisions.move_nodes([f"c{two}"], "i2"),
        decisions.separate_levels("i1", "i2"),
        decisions.pin_level("t1"),
        decisions.label_level("i2", "the second", "desk"),
        decisions.reject(asked(QUESTIONS[3])),
        decisions.move(asked(QUESTIONS[2]), moved_to),
        decisions.split(moved_to, asked(QUESTIONS[0])),
    ):
        decisions.commit(propose)
    before, rulings = store.levels("default"), standing_rulings(stream)
    history = [(one.number, one.kind, one.after) for one in store.operations("default", 50)]
    assert len(history) == 10
    with running_worker(stream.settings(), encoder):
        wait_until(lambda: store.published_operations("default") == 10, "the operations are published")
        wait_until(lambda: store.unpublished("default", 0.0, 50) == [], "the outbox is published")
    outcome = run(stream, "migrate", "--to", str(tuned), "--yes", "--json", "--shadow-questions=0")
    assert outcome.code == ExitCode.OK, outcome.err
    assert standing_rulings(stream) == rulings
    assert store.levels("default").named == before.named
    assert [(one.number, one.kind, one.after) for one in store.operations("default", 50)] == history
    part = max(rulings)
    stream.send(question(20 + i, text) for i, text in enumerate(QUESTIONS))
    with running_worker(stream.settings(), load_encoder(ModelSettings(name=str(tuned)))), stream.decisions() as reader:
        later = reader.values(24)[20:]
        wait_until(lambda: not is_due(store.levels_marks(["default"])["default"]), "levels are found anew")
    assert later[0]["cluster_id"] == f"c{part}"
    assert later[2]["cluster_id"] == f"c{moved_to}"
    assert standing_rulings(stream).items() >= rulings.items()
    now = store.levels("default").levels.parents
    assert [now[leaf(one)], now[leaf(two)], now[leaf(three)]] == [first, second, second]


def standing_rulings(stream: Stream) -> dict[int, Ruling]:
    """How each cluster is ruled, but for what another model makes of the vectors of exemplars."""
    return {
        state.cluster_id: replace(
            state.ruling, exemplars=tuple(replace(one, vector=b"") for one in state.ruling.exemplars)
        )
        for state in stream.store().clusters("default")
    }
