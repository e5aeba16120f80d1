"""A namespace knows what prepared its first texts; who prepares them in another way is told."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import pytest

from questream.clustering.rules import Rules
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.preparing import Preparation, is_of_one_kind, version_of, version_of_function, without_frame
from questream.settings import InputSettings
from questream.store.protocol import Identity
from questream.store.reference.store import MemoryStore
from tests.kit.logged import logged_by

IDENTITY = Identity("words", "1", 4, "centred", "adaptive", 0.7)


def open_shop(store: MemoryStore, prepared_by: str) -> None:
    namespaces = Namespaces(store, NamespaceConfig(replace(IDENTITY, prepared_by=prepared_by), Rules(0.7, 0.7)))
    namespaces.recovered("shop")
    namespaces.recovered("shop")


def test_another_preparation_than_that_of_the_first_texts_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    store = MemoryStore()
    for _ in range(2):
        open_shop(store, "mail-6")
    assert not logged_by(Namespaces, caplog)
    open_shop(store, "mail-6+own:hook")
    (told,) = logged_by(Namespaces, caplog)
    assert "prepared in another way" in told.message
    assert told.__dict__["begun_with"] == "mail-6"
    assert store.prepared_by("shop") == "mail-6"


@pytest.mark.parametrize(
    ("settings", "version"),
    [
        (InputSettings(), "mail-6"),
        (InputSettings(prepare="off"), ""),
        (InputSettings(prepare_hook="textwrap:dedent"), "mail-6+textwrap:dedent"),
        (InputSettings(prepare="off", prepare_hook="textwrap:dedent"), "textwrap:dedent"),
    ],
)
def test_a_preparation_is_named_as_decisions_name_it(settings: InputSettings, version: str) -> None:
    assert version_of(settings) == Preparation(settings).version == version


def test_functions_of_a_notebook_are_named_by_where_they_are() -> None:
    assert version_of_function(without_frame) == "mail-6"
    assert version_of_function(str) == ""
    assert version_of_function(str.upper) != version_of_function(str.lower)
    assert version_of_function(partial(str.replace, "a", "b")) == "functools:partial"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("mail-5", "mail-6", True),
        ("mail-5+own:hook", "mail-12+own:hook", True),
        ("mail-5", "mail-6+own:hook", False),
        ("mail-5", "", False),
        ("own:mail-5", "own:mail-6", False),
    ],
)
def test_releases_of_one_preparation_are_told_from_other_settings(one: str, other: str, same: bool) -> None:
    assert is_of_one_kind(one, other) is is_of_one_kind(other, one) is same
