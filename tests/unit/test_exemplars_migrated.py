"""A move to another model embeds anew what people decided of questions, or refuses."""

from __future__ import annotations

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.clustering.constraints import unpack_vector
from questream.clustering.rules import Rules
from questream.migration.moving import ExemplarsMissing, _new_states
from questream.migration.rebuilding import Rebuilding
from questream.operations import By, Decisions, KnownQuestion
from questream.store.protocol import Identity
from questream.store.reference.store import MemoryStore
from tests.kit.vectors import hash_encoder, hash_vector

NEW = hash_encoder("another", "2")
CARD, LOST = "where is my card", "where is my lost card"


def rejected(text: str | None) -> tuple[MemoryStore, Rebuilding]:
    """A cluster that turned a question away, and its way to the new model."""
    store = MemoryStore()
    QuestionClusterer(dimension=3, similarity="cosine", store=store).assign([[1.0, 0, 0]], [CARD])
    decisions = Decisions(store, "default", By("ann"))
    question = KnownQuestion(1, np.array([1, 0, 0], np.float32), ("questions", 0, 7), text)
    decisions.commit(decisions.reject([question]))
    rules = Rules(0.7, 0.7, "cosine")
    return store, Rebuilding(store, "default", None, NEW, rules, lambda *_: None)


def identity() -> Identity:
    return Identity(NEW.name, NEW.revision, NEW.dimension, "cosine", "adaptive", 0.7, "")


def test_an_exemplar_whose_text_is_kept_is_embedded_anew() -> None:
    store, rebuilding = rejected(LOST)
    (state,), _ = _new_states(store, "default", rebuilding, identity(), retire_unread=False)
    (exemplar,) = state.ruling.exemplars
    assert (exemplar.kind, exemplar.place, exemplar.text) == ("cannot", ("questions", 0, 7), LOST)
    assert float(unpack_vector(exemplar.vector) @ hash_vector(LOST)) == pytest.approx(1, abs=1e-3)


def test_an_exemplar_that_is_nowhere_is_left_out_only_where_that_is_said() -> None:
    store, rebuilding = rejected(None)
    with pytest.raises(ExemplarsMissing, match="of c1; undo those operations"):
        _new_states(store, "default", rebuilding, identity(), retire_unread=False)
    (state,), _ = _new_states(store, "default", rebuilding, identity(), retire_unread=True)
    assert state.ruling.exemplars == ()
