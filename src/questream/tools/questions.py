"""Questions that an operator names: by the id that their decisions carry, or as a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from questream.broker.connect import open_reader
from questream.broker.reading import read_to_end, start_before_end
from questream.deciding.config import rules_of
from questream.domain import Matrix, parse_cluster_id
from questream.encoder import Encoder
from questream.errors import QuestreamError
from questream.operations import ask
from questream.operations.binding import KnownQuestion
from questream.records import open_decoder, read_decision
from questream.settings import Settings
from questream.store.protocol import Store
from questream.tools.following import open_texts
from questream.tools.lookup import question_of
from questream.tools.stored_sentences import StoredSentences, sentences_stored

# The newest decisions of each partition that an id is looked for in.
LOOKED_AT = 200_000
# Most ids are of today: the fewer are read first, and all of these again only where an id is not among them.
_LOOKED_AT_FIRST = (2_000, 20_000, LOOKED_AT)


class Encodes(Protocol):
    """Embeds texts as unit vectors (n, d): an `Encoder`."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        """The vectors, in the order of the texts."""
        ...


@dataclass(frozen=True, slots=True)
class ReadQuestion:
    """A question's text as it is embedded; with an id also its place in Kafka, and the cluster it was put in."""

    text: str
    place: tuple[str, int, int] | None = None
    cluster_id: int | None = None

    def __repr__(self) -> str:
        """A line without the text."""
        return f"ReadQuestion({self.place}, {self.cluster_id})"


def known_questions(
    settings: Settings, namespace: str, encoder: Encodes, question_ids: Sequence[str]
) -> list[KnownQuestion]:
    """The questions of these ids, as they were decided last, embedded anew from the input topic.

    Raises QuestreamError where one of them has no decision among the newest, or cannot be read again.
    """
    found = _read_again(settings, namespace, question_ids)
    keeps = settings.clusters.keep_texts
    vectors = encoder.encode([text for *_, text in found])
    return [
        KnownQuestion(
            parse_cluster_id(decision["cluster_id"]), vector, _place(decision), text if keeps else None, one, key
        )
        for one, (decision, key, text), vector in zip(question_ids, found, vectors, strict=True)
    ]


def chosen_question(settings: Settings, namespace: str, question_id: str | None, text: str | None) -> ReadQuestion:
    """A question that is to represent a cluster, by its id, else by its text.

    Raises QuestreamError where neither or both are given, where no texts are kept, and what `known_questions` raises.
    """
    if (question_id is None) == (text is None):
        raise QuestreamError("a cluster is represented by one question", "give its id or its text, not both")
    if not settings.clusters.keep_texts:
        raise QuestreamError("this store keeps no texts of questions", "set clusters.keep_texts to true")
    if question_id is None:
        return ReadQuestion(question_of(text or "", settings, sentences_stored(settings), namespace))
    ((decision, _, read),) = _read_again(settings, namespace, [question_id])
    return ReadQuestion(read, _place(decision), parse_cluster_id(decision["cluster_id"]))


def _read_again(
    settings: Settings, namespace: str, question_ids: Sequence[str]
) -> list[tuple[dict[str, Any], bytes | None, str]]:
    """Decision, key and text of each question. Raises QuestreamError where one is not found."""
    with ExitStack() as opened:
        decisions, keys = _decisions(settings, namespace, set(question_ids), opened)
        if missing := [one for one in question_ids if one not in decisions]:
            raise QuestreamError(
                f"questions have no decision in namespace {namespace!r} among the newest {LOOKED_AT:,} of each"
                f" partition: {len(missing)} of {len(question_ids)}",
                "name them by the ids that `questream clusters members` shows, or give the text with --text",
            )
        text_of = open_texts(settings, open_decoder(settings, sentences_stored(settings)), opened)
        texts = [text_of(decisions[one]) for one in question_ids]
    if None in texts:
        raise QuestreamError(
            f"{texts.count(None)} of the questions cannot be read again from topic {settings.kafka.input_topic!r}",
            "give the text with --text, and its cluster with --cluster",
        )
    return [(decisions[one], keys[one], text or "") for one, text in zip(question_ids, texts, strict=True)]


def given_questions(
    settings: Settings, store: Store, namespace: str, encoder: Encoder, texts: Iterable[str], cluster_id: int | None
) -> list[KnownQuestion]:
    """Questions of which there is a text alone, in a cluster, else in the one that each would join now.

    Raises QuestreamError where one would join none, and what `questream ask` raises.
    """
    prepared = [question_of(text, settings, StoredSentences(lambda: store), namespace) for text in texts]
    rules = rules_of(settings, encoder)
    found = []
    for text in prepared:
        joins = None if cluster_id is not None else ask(store, namespace, encoder, rules, text).joins
        if cluster_id is None and joins is None:
            raise QuestreamError("a text would join no cluster now", "name the cluster with --cluster")
        owner = joins.state.cluster_id if joins is not None else cluster_id
        kept = text if settings.clusters.keep_texts else None
        found.append(KnownQuestion(owner or 0, encoder.encode([text])[0], None, kept))
    return found


def _decisions(
    settings: Settings, namespace: str, wanted: set[str], opened: ExitStack
) -> tuple[dict[str, dict[str, Any]], dict[str, bytes | None]]:
    """The last decision of each of these ids, and its key, as far as one is among the newest."""
    consumer = opened.enter_context(open_reader(settings))
    found: dict[str, dict[str, Any]] = {}
    keys: dict[str, bytes | None] = {}
    for newest in _LOOKED_AT_FIRST:
        start_before_end(consumer, settings.kafka.output_topic, newest)
        for message in read_to_end(consumer):
            decision = read_decision(message.value)
            if decision is None or decision.get("namespace") != namespace or not decision.get("cluster_id"):
                continue
            if (question_id := decision.get("question_id")) in wanted:
                found[str(question_id)], keys[str(question_id)] = decision, message.key
        if found.keys() >= wanted:
            break
    return found, keys


def _place(decision: dict[str, Any]) -> tuple[str, int, int]:
    source = decision["source"]
    return str(source["topic"]), int(source["partition"]), int(source["offset"])
