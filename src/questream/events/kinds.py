"""The kinds of events: what settings, metrics and views name without finding any."""

from __future__ import annotations

from typing import Literal, get_args

# Four that are found in counts, and four that are found in the cluster topic.
EventKind = Literal["emerging", "spiking", "quiet", "returned", "merged", "split", "renamed", "suggested"]
KINDS: tuple[EventKind, ...] = get_args(EventKind)
