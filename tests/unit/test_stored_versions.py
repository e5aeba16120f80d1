"""What a later release may write into Redis: additions are read, another meaning is refused with what to do."""

from __future__ import annotations

import orjson
import pytest

from questream.clustering.mirror import ClusterMoved
from questream.errors import NamespaceRefused
from questream.store.ledger import cut_entries, parse_ledger
from questream.store.redis.codec import parse_change, parse_state

ROW = [7, 3, 0.9, 0, 1, 2, 0.4, 0]
BODY = {"decided_at": 1, "model": "m", "threshold": 0.5, "rows": [ROW], "clusters": {"3": [1, "", ""]}}


def entry(**more: object) -> bytes:
    return b"7 7 " + orjson.dumps(BODY | more)


def test_a_ledger_entry_with_fields_of_a_later_release_is_read() -> None:
    known = parse_ledger([entry()], "i").decisions[7]
    later = [entry(rows=[[*ROW, "added"]], clusters={"3": [1, "", "", "added"]}, added=[1])]
    assert parse_ledger(later, "i").decisions == {7: known}
    assert parse_ledger(cut_entries(later, 8), "i").decisions == {7: known}


def test_a_ledger_entry_of_another_meaning_is_refused() -> None:
    assert parse_ledger([entry(version=1)], "i").head == 7
    with pytest.raises(NamespaceRefused, match="upgrade questream"):
        parse_ledger([entry(version=2)], "i")
    with pytest.raises(NamespaceRefused, match="upgrade questream"):
        cut_entries([b"6" + entry(version=2)[1:]], 7)


def test_a_log_entry_with_fields_of_a_later_release_is_read_and_of_another_meaning_refused() -> None:
    fields = {b"removed": b"3", b"added": b"x", b"version": b"1"}
    assert parse_change(fields) == parse_change({b"removed": b"3"})
    with pytest.raises(NamespaceRefused, match="upgrade questream"):
        parse_change({b"split": b"3", b"version": b"2"})


def test_a_cluster_of_fields_that_this_release_does_not_ask_for_is_read() -> None:
    fields = [b"1", b"\0" * 16, b"2", b"5", None, None, b"1", b"2", b"Why?", *[None] * 10]
    assert parse_state("shop", 3, "m", fields).size == 2


def test_features_that_cannot_be_read_are_worth_no_cluster() -> None:
    fields = {b"moved": b"3", b"members": b"1", b"sum": b"\0" * 16}
    untold, unreadable = parse_change(fields), parse_change({**fields, b"features": b"?"})
    assert isinstance(untold, ClusterMoved)
    assert isinstance(unreadable, ClusterMoved)
    assert (untold.kept, unreadable.kept) == (None, b"")
