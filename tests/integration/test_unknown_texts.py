"""Texts that the model's tokenizer knows nothing of, or only in part: a worker, a notebook and an estimator agree."""

from __future__ import annotations

from pathlib import Path

import pytest

import questream
from questream import ModelSettings, QuestionClusterer, load_encoder
from questream.encoder import Encoder
from questream.errors import BadRecord
from questream.operations import ask
from tests.kit.servers import KafkaServer, RedisServer, create_topics
from tests.kit.stream import Stream, question, running_worker

KNOWN = ["Where is my card?", "How do I reset my password?"]
PARTLY = "Where is my 💳?"
UNKNOWN = ["รีเซ็ตรหัสผ่านอย่างไร", "บัตรของฉันอยู่ที่ไหน?", "🙂", "💳❓", "QWxhZGRpbjpvcGVuIHNlc2FtZQ" * 5]
NOTHING = "\u0301"


@pytest.fixture(scope="module")
def encoder(minilm: Path) -> Encoder:
    return load_encoder(ModelSettings(name=str(minilm), device="cpu"))


def test_texts_that_the_model_knows_nothing_of_are_dead_lettered(
    kafka: KafkaServer, redis_server: RedisServer, encoder: Encoder
) -> None:
    stream = Stream(kafka.bootstrap_servers, create_topics(kafka.bootstrap_servers), redis_server.new_database())
    texts = [*KNOWN, *UNKNOWN, PARTLY, NOTHING]
    stream.send([question(number, text) for number, text in enumerate(texts)])
    with (
        running_worker(stream.settings(), encoder) as worker,
        stream.decisions() as decisions,
        stream.dead_letters() as letters,
    ):
        decided = decisions.values(len(KNOWN) + 1)
        refused = letters.until(len(UNKNOWN) + 1)
    assert {decision["question_id"]: decision["unknown_share"] for decision in decided} == {
        "q0": 0.0,
        "q1": 0.0,
        "q7": 0.25,
    }
    assert [dict(letter.headers)["questream-reason"] for letter in refused] == [b"mostly_unknown"] * 5 + [b"no_tokens"]
    assert all(dict(letter.headers)["questream-stage"] == b"tokenise" for letter in refused)
    # A worker counts what it has published; its records are visible a moment before.
    assert worker.metrics.registry.get_sample_value("questream_unknown_share_sum") == 0.25
    with pytest.raises(BadRecord) as unknown:
        ask(stream.store(), "default", encoder, QuestionClusterer(encoder).rules, UNKNOWN[0])
    assert unknown.value.reason == "mostly_unknown"
    assert ask(stream.store(), "default", encoder, QuestionClusterer(encoder).rules, PARTLY).unknown_share == 0.25


def test_a_notebook_is_told_which_text_a_worker_would_dead_letter(encoder: Encoder) -> None:
    clusterer = QuestionClusterer(encoder)
    with pytest.raises(BadRecord, match="the text at position 2: ") as refused:
        clusterer.assign([*KNOWN, UNKNOWN[0]])
    assert refused.value.reason == "mostly_unknown"
    assert clusterer.clusters() == []
    assert [decision.unknown_share for decision in clusterer.assign([*KNOWN, PARTLY]).decisions] == [0.0, 0.0, 0.25]


def test_an_estimator_labels_as_noise_what_a_worker_would_dead_letter(encoder: Encoder) -> None:
    fitted = questream.OnlineClustering(encoder).fit([KNOWN[0], UNKNOWN[0], KNOWN[1], NOTHING])
    assert fitted.labels_.tolist() == [0, -1, 1, -1]
    assert fitted.predict([UNKNOWN[1], KNOWN[1]]).tolist() == [-1, 1]
