"""Variables of the environment that libraries read when they are loaded, and at no other time."""

from __future__ import annotations

import os


def share_cores() -> None:
    """Have OpenMP's threads sleep at their barriers instead of spinning; call it before torch is imported.

    A worker shares its cores with its own other threads, often with a broker and a store. A spinning thread takes the
    time that the others need to let it go on. OMP_WAIT_POLICY in the environment overrides it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
