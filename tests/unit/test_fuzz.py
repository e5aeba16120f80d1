"""A few of the hostile records and settings that `make fuzz` makes by the million; another seed each time."""

from __future__ import annotations

import secrets

from tests.kit.fuzz.decoder import fuzz_decoder
from tests.kit.fuzz.records import hostile_record
from tests.kit.fuzz.settings import fuzz_settings


def test_a_seed_and_a_number_make_the_same_record_again() -> None:
    assert [hostile_record(7, number) for number in range(50)] == [hostile_record(7, number) for number in range(50)]
    assert hostile_record(7, 1) != hostile_record(8, 1)


def test_hostile_records_are_questions_or_bad_records() -> None:
    outcomes = fuzz_decoder(secrets.randbelow(2**31), 0, 15_000)
    # The decoder is met in all its depth, not turned away at the door.
    assert outcomes["question"] > 1_500
    assert len(outcomes) > 10


def test_hostile_settings_are_valid_or_refused() -> None:
    outcomes = fuzz_settings(secrets.randbelow(2**31), 0, 200)
    assert set(outcomes) == {"valid", "refused"}
