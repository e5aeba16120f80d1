"""What a record of the cluster topic adds to what is known of a namespace, whatever stands in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from questream.domain import NamespaceState
from questream.records import encode_levels, encode_namespace_state
from questream.recovery.cluster_topic import Place, Published, _later_home, _note
from questream.recovery.home import HOME_HEADER, Home
from tests.contract.test_levels import FOUND

KEY, PLACE = b"shop/c3", Place("clusters", 0, 7)
WHOLE = NamespaceState("shop", "mini", "1", "cosine", "average", 0.6, 4, 0, np.zeros(4, np.float32), 9)


@pytest.mark.parametrize(
    "value",
    [
        b"[]",
        b"1",
        b'"text"',
        b"null",
        b"{}",
        b"{",
        b'{"revision": 1, "in_flight": null}',
        b'{"revision": 1, "in_flight": []}',
        b'{"revision": 1, "in_flight": {"joins": 1}}',
        b'{"revision": 1, "in_flight": {"joins": null}}',
        b'{"revision": 1, "in_flight": {"joins": [1]}}',
        b'{"revision": 1, "in_flight": {"joins": ["text"]}}',
        b'{"revision": 1, "in_flight": {"joins": [{"topic": []}]}}',
    ],
)
def test_a_record_that_is_no_state_is_noted_by_its_place(value: bytes) -> None:
    published = Published()
    _note(published, KEY, value, PLACE)
    assert (published.unreadable, published.revisions) == ({3: PLACE}, {})


def test_a_state_tells_its_revision_and_whose_questions_were_in_flight() -> None:
    published = Published()
    joins = b'{"joins": [{"topic": "questions@ab", "partition": 0, "offsets": [5]}]}'
    _note(published, KEY, b'{"revision": 4, "in_flight": ' + joins + b"}", PLACE)
    assert (published.unreadable, published.revisions) == ({}, {3: 4})
    assert published.streams == {"questions@ab"}


def test_a_cluster_is_retired_until_a_later_state() -> None:
    published = Published()
    _note(published, KEY, b'{"revision": 4}', PLACE)
    _note(published, KEY, None, PLACE)
    assert (published.revisions, published.retired) == ({}, {3})
    _note(published, KEY, b'{"revision": 2}', PLACE)
    assert (published.revisions, published.retired, published.outdated) == ({3: 2}, set(), set())


def test_a_last_record_that_is_older_than_another_is_outdated() -> None:
    published = Published()
    for revision, outdated in ((4, set()), (3, {3}), (5, set())):
        _note(published, KEY, b'{"revision": %d}' % revision, PLACE)
        assert published.outdated == outdated
        assert published.revisions[3] == max(revision, 4)
    _note(published, KEY, b'{"revision": 1}', PLACE)
    _note(published, KEY, None, PLACE)
    assert published.outdated == set()


def test_a_later_record_that_is_a_state_stands_for_one_that_is_none() -> None:
    published = Published()
    _note(published, KEY, b"{", PLACE)
    _note(published, KEY, b'{"revision": 4}', PLACE)
    assert (published.unreadable, published.revisions) == ({}, {3: 4})


def test_the_newest_state_of_a_namespace_counts_until_it_is_deleted() -> None:
    published = Published()
    newest = replace(WHOLE, generation=1, mean_questions=5)
    for whole, outdated in ((WHOLE, set()), (newest, set()), (replace(newest, mean_questions=3), {0})):
        _note(published, *encode_namespace_state(whole), PLACE)
        assert published.outdated == outdated
    assert published.whole is not None
    assert (published.whole.generation, published.whole.mean_questions) == (1, 5)
    _note(published, b"shop", None, PLACE)
    assert not published.outdated
    assert not published.whole
    # One that began anew.
    _note(published, *encode_namespace_state(WHOLE), PLACE)
    assert published.whole is not None


def test_levels_are_put_together_of_their_records() -> None:
    published = Published()
    levels = replace(FOUND, version=10)
    ((key, value),) = encode_levels("shop", levels)
    _note(published, key, b"{", PLACE)
    assert published.unreadable_levels == {key: PLACE}
    _note(published, key, value, PLACE)
    assert (published.unreadable_levels, published.levels.whole()) == ({}, levels)
    assert (published.revisions, published.unreadable) == ({}, {})


def test_the_home_of_the_latest_epoch_counts() -> None:
    known = None
    for epoch in (2, 3, 1):
        headers = [("other", b"7 a b"), (HOME_HEADER, str(Home(epoch, "store", "here", "")).encode())]
        known = _later_home(known, headers)
    assert _later_home(known, [(HOME_HEADER, b"?")]) == Home(3, "store", "here", "")
