"""Ask the store of a running stream, with the stream's own model, which cluster a question would join."""

from __future__ import annotations

from collections.abc import Callable

from questream.deciding.config import rules_of
from questream.domain import NamespaceState, Record, Source
from questream.encoder import Encoder, load_encoder, load_judge
from questream.encoder.files import locate_model
from questream.errors import BadRecord, QuestreamError
from questream.operations import Answer
from questream.operations import ask as ask_store
from questream.operations.lookup import require_same_model
from questream.preparing import KnownSentences, no_sentences
from questream.records import QuestionDecoder
from questream.settings import ModelSettings, Settings
from questream.store.protocol import Store
from questream.store.redis.store import open_store
from questream.tools.stored_sentences import StoredSentences


def ask(settings: Settings, namespace: str | None, text: str) -> Answer:
    """The cluster that `text` would join now in the namespace, by default that of the settings. Nothing is learned.

    Raises QuestreamError if a worker would dead-letter the text, if the namespace is not there or was built with a
    model that the settings do not name; ModelError; what the store raises.
    """
    # Before the model, which takes seconds to load.
    store = open_store(settings.redis)
    name = namespace or settings.clusters.namespace
    question = question_of(text, settings, StoredSentences(lambda: store), name)
    store.ping()
    encoder = encoder_of(settings, store.namespace_state(name))
    judge = load_judge(settings.judge, settings.model.device)
    return ask_store(store, name, encoder, rules_of(settings, encoder), question, judge)


def encoder_of(settings: Settings, namespace: NamespaceState | None) -> Encoder:
    """The model of the settings that the namespace is built with. Raises ModelError."""
    return load_encoder(_model_of(settings.model, namespace))


def encoder_in(settings: Settings, store: Store, namespace: str) -> Encoder:
    """The model of a namespace. Raises ModelError, and QuestreamError where it is not there or has another model."""
    encoder = encoder_of(settings, store.namespace_state(namespace))
    require_same_model(store, namespace, encoder)
    return encoder


def question_of(
    text: str,
    settings: Settings,
    sentences_of: Callable[[str], KnownSentences] = no_sentences,
    namespace: str | None = None,
) -> str:
    """The text as a worker would embed it in the namespace, by default that of the settings.

    Raises QuestreamError for one that a worker would refuse, with the worker's own reason.
    """
    plain = settings.input.model_copy(update={"format": "text"})
    try:
        decoder = QuestionDecoder(plain, namespace or settings.clusters.namespace, sentences_of)
        return decoder.decode(Record(Source("", 0, 0, 0), None, text.encode())).text
    except BadRecord as error:
        raise QuestreamError(f"a worker would refuse it: {error} ({error.reason})") from None


def _model_of(model: ModelSettings, namespace: NamespaceState | None) -> ModelSettings:
    """The settings of the model that the namespace is built with, as far as they know it."""
    former = model.former_settings
    if former is None or namespace is None:
        return model
    files = locate_model(former)
    return former if (files.name, files.revision) == (namespace.model, namespace.model_revision) else model
