"""The version of every published JSON value: its field `schema_version`.

A field is added without a new version, and a reader passes over fields that it does not know. The version grows when a
field that was there changes its meaning or goes: a reader refuses what is newer than it knows. docs/records.md is the
rule for consumers.
"""

from __future__ import annotations

from questream.errors import BadRecord
from questream.records.reasons import Reason

# One for all three, decision, cluster state and namespace state: they are released together.
SCHEMA_VERSION = 1


def is_known(version: object) -> bool:
    """True if a reader of this release understands values of this version; values from before versions have none."""
    return version is None or (isinstance(version, int) and 1 <= version <= SCHEMA_VERSION)


def newer_version(what: str) -> BadRecord:
    """The error of a value that a later release wrote."""
    detail = f"{what} of a later release, this one reads schema_version {SCHEMA_VERSION}; upgrade questream"
    return BadRecord("restore", Reason.NEWER_VERSION.value, detail)


def invalid(what: str) -> BadRecord:
    """The error of a value that is not what it must be."""
    return BadRecord("restore", Reason.INVALID_STATE.value, f"the record must be {what}")
