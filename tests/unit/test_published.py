"""What a record of the cluster topic adds to what is known of a namespace, whatever stands in it."""

from __future__ import annotations

import pytest

from questream.recovery.cluster_topic import Place, Published, _note

KEY, PLACE = b"shop/c3", Place("clusters", 0, 7)


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
