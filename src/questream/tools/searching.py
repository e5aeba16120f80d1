"""Search for clusters: every word has to occur in an id, label, route, name or question."""

from __future__ import annotations

import re

from questream.domain import ClusterState, format_cluster_id

_CONTRACTION = re.compile("n['’]t")


def searched_words(text: str) -> list[str]:
    """The words of a search, in any order, each or a part of it."""
    return text.casefold().split()


def searchable_names(state: ClusterState) -> str:
    """Id, label and route of a cluster, a line each."""
    names = (format_cluster_id(state.cluster_id), state.label, state.route)
    return "\n".join(name for name in names if name).casefold()


def searchable_question(state: ClusterState, made_name: str | None) -> str:
    """A cluster's representative question, and the name that a model made; what other names are made of is in both."""
    text = f"{state.representative or ''}\n{made_name or ''}".casefold()
    # A name says "not" for "doesn't".
    return f"{text}\nnot" if _CONTRACTION.search(text) else text
