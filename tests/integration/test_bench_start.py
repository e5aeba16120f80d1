"""`questream bench start` as a user would run it."""

from __future__ import annotations

from tests.kit.command import questream

PARTS = ["python, settings", "topics and logins", "torch", "model", "worker", "place in the group", "first decision"]


def test_a_start_is_told_part_by_part_with_what_it_takes() -> None:
    ran = questream("bench", "start", "--starts=1", "--json")
    assert ran.code == 0, ran.err
    (parts,) = ran.json["starts"]
    assert [part["name"] for part in parts] == PARTS
    # Were torch imported with another part, or the model, these would tell nothing.
    cpu = {part["name"]: part["cpu_seconds"] for part in parts}
    assert cpu["torch"] > cpu["python, settings"]
    resident = [part["resident_mib"] for part in parts]
    assert all(mib >= part["mapped_mib"] > 0 for mib, part in zip(resident, parts, strict=True))
    assert resident[0] < 100 < resident[-1] - resident[1]
