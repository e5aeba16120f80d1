"""A cluster's row becomes its state, whatever fields a row has."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from questream.domain import InFlight, Ruling
from questream.store.protocol import ClusterRow


def test_a_state_has_every_field_of_its_row_and_what_a_row_lacks() -> None:
    row = ClusterRow(7, 3, 2, 10, 20, "Why?", InFlight(), Ruling("cards", "team", True, ("8",)), 5)
    vector_sum = np.ones(2, np.float32)
    state = row.state("bank", "updated", "model", members=3, vector_sum=vector_sum)
    assert {field.name: getattr(state, field.name) for field in fields(row)} == {
        field.name: getattr(row, field.name) for field in fields(row)
    }
    assert (state.namespace, state.event, state.model, state.members) == ("bank", "updated", "model", 3)
    assert state.vector_sum is vector_sum
    assert row.state("bank", "merged", "model", merged_into=1).merged_into == 1
