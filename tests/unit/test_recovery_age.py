"""When a copy of the store is too old to be told what was retired since."""

from __future__ import annotations

import pytest

from questream.recovery.age import is_too_old

HOUR, DAY = 3600.0, 86_400.0


@pytest.mark.parametrize(
    ("noted", "published", "kept", "refused"),
    [
        # Workers ran until a moment ago: a restart.
        (10.0, 0.0, DAY, False),
        # Nobody ran for a week, and nothing was published in it.
        (7 * DAY, 7 * DAY, DAY, False),
        # The last snapshot was half an hour old when Redis ended, a week ago; clocks may differ by that.
        (7 * DAY + HOUR / 2, 7 * DAY, DAY, False),
        # A dump of two hours ago: its tombstones are all there.
        (2 * HOUR, 0.0, DAY, False),
        (2 * DAY, 0.0, DAY, True),
        # Workers went on for five days after the dump, and then nobody for two.
        (7 * DAY, 2 * DAY, DAY, True),
        (10 * 60.0, 0.0, 300.0, True),
        # However short tombstones are kept: a note is some seconds old by itself.
        (30.0, 0.0, 0.1, False),
    ],
)
def test_a_copy_is_too_old_where_tombstones_of_after_it_may_be_gone(
    noted: float, published: float, kept: float, refused: bool
) -> None:
    assert is_too_old(noted, published, kept) is refused
