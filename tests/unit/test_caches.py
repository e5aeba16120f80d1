"""What the process remembers between calls: no text of a question, which would outlive its erasure."""

from __future__ import annotations

import gc
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from functools import _lru_cache_wrapper
from typing import Any

from questream.clustering.second_look.features import features
from questream.clustering.second_look.kept import pack
from questream.domain import ClusterState, Exemplar
from questream.naming.names import Vocabulary, keywords
from questream.server.catalogue import Catalogue
from questream.store.redis.codec import exemplars_text, parse_exemplars

TEXT = "Why was the walrus of my aunt Brunhilde charged twice, account 4812-0077 or DE4812?"


def held_by(whole: object) -> Iterator[str | bytes]:
    """The strings and bytes that a cache or another object leads to, functions and classes apart."""
    seen: set[int] = set()
    waiting: list[Any] = gc.get_referents(whole)
    while waiting:
        one = waiting.pop()
        if isinstance(one, str | bytes):
            yield one
        elif id(one) not in seen and not callable(one):
            seen.add(id(one))
            # A dictionary whose keys are strings leads to its values alone.
            waiting += [*one, *one.values()] if isinstance(one, dict) else gc.get_referents(one)


def caches() -> list[_lru_cache_wrapper[Any]]:
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("questream.")]
    of_modules = [one for module in modules for one in vars(module).values()]
    found = {id(one): one for one in of_modules if isinstance(one, _lru_cache_wrapper)}
    return [one for one in found.values() if one.__module__.startswith("questream.")]


def is_of_the_text(held: str | bytes) -> bool:
    shown = held if isinstance(held, str) else held.decode("latin-1")
    return "walrus of my aunt" in shown or "4812" in shown or b64encode(TEXT.encode()).decode() in shown


def test_no_cache_of_the_process_keeps_the_text_of_a_question() -> None:
    kept = features(TEXT)
    assert keywords(TEXT, (kept,), Vocabulary())
    assert pack((kept,))
    stored = exemplars_text([Exemplar("1", "must", b"\x00" * 8, None, TEXT)]).encode()
    assert parse_exemplars(stored)[0].text == TEXT
    found = caches()
    assert len(found) > 5
    assert [one.__qualname__ for one in found if any(is_of_the_text(held) for held in held_by(one))] == []


def test_a_catalogue_keeps_no_name_of_a_state_whose_texts_were_erased_meanwhile() -> None:
    catalogue, kept = Catalogue("shop"), features(TEXT)
    before = ClusterState(1, "shop", "updated", 3, 1, None, None, TEXT, 0, 0, "m", 1, features=pack((kept,)))
    catalogue.put([before])
    catalogue.put([replace(before, representative=None, revision=2)])
    assert catalogue.name_of(before) is not None
    assert not any("Brunhilde" in held for held in held_by(catalogue) if isinstance(held, str))
