"""The version of every published JSON value: its field `schema_version`.

A field is added without a new version, and a reader passes over fields that it does not know. The version grows when a
field that was there changes its meaning or goes: a reader refuses what is newer than it knows. docs/records.md is the
rule for consumers.
"""

from __future__ import annotations

# One for all three, decision, cluster state and namespace state: they are released together.
SCHEMA_VERSION = 1


def is_known(version: object) -> bool:
    """Whether a reader of this release understands values of this version; values from before versions have none."""
    return version is None or (isinstance(version, int) and 1 <= version <= SCHEMA_VERSION)
