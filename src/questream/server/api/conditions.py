"""`If-Match`: an operation is done only where what it is about stands as somebody saw it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Header

from questream.domain import LEVEL_LETTERS, NamespaceRules
from questream.operations import Decisions
from questream.operations.requests import Propose
from questream.server.api.clusters import etag_of, find_cluster
from questream.server.api.levels import etag_of_level, read_community
from questream.server.problems import Refused
from questream.server.services import Scope, read_cluster_id
from questream.tools.clusters import NoSuchCluster
from questream.tools.communities import NoSuchCommunity

# What the rules of a namespace are named by, beside the ids of clusters, intents and topics.
RULES = "rules"
_MOST_CHARACTERS = 2000

IfMatch = Annotated[
    str | None,
    Header(
        max_length=_MOST_CHARACTERS,
        description=(
            "ETags of clusters, intents, topics and rules that the operation is about. Where one of them is another by"
            " now, nothing is done: 412. An operation whose `id` was done before is answered all the same."
        ),
    ),
]


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody saw before deciding: entity tags, each with its quotes, all of which have to stand.

    Each is that of something that is `named`, or of anything where that is None.
    """

    scope: Scope
    tags: frozenset[str]
    named: frozenset[str] | None

    @classmethod
    def of(cls, scope: Scope, if_match: str | None, named: Iterable[str | None] | None) -> Seen:
        """As the header says, and of the ids that a request names; `*` and no header require nothing."""
        given = () if if_match is None or if_match.strip() == "*" else (one.strip() for one in if_match.split(","))
        return cls(scope, frozenset(given), None if named is None else frozenset(filter(None, named)))

    def require(self) -> None:
        """Raises Refused where something is not as it was seen."""
        if not self.tags:
            return
        names = {tag.strip('"').partition(".")[0] for tag in self.tags} if self.named is None else self.named
        if not self.tags <= set(tags_of(self.scope, names)):
            raise Refused(
                HTTPStatus.PRECONDITION_FAILED,
                "what this is about has changed meanwhile, or the ETag is of something else",
                "get it again, and decide with the ETag that it has now",
            )

    def provided(self, ask: Callable[[Decisions], Propose]) -> Callable[[Decisions], Propose]:
        """The same request, refused where something is not as it was seen."""
        return ask if not self.tags else lambda made: ask(made).provided(self.require)


def tags_of(scope: Scope, names: Iterable[str]) -> list[str]:
    """The entity tags that these clusters, intents, topics and `RULES` have now, as far as they are there."""
    return [tag for name in names if (tag := _tag_of(scope, name)) is not None]


def etag_of_rules(rules: NamespaceRules) -> str:
    """The entity tag of the rules of a namespace: another one with each operation on them."""
    return f'"{RULES}.{rules.operation}"'


def _tag_of(scope: Scope, name: str) -> str | None:
    try:
        if name == RULES:
            return etag_of_rules(scope.services.store.rules(scope.namespace))
        if name[:1] in LEVEL_LETTERS:
            return etag_of_level(scope, read_community(scope, name))
        return etag_of(find_cluster(scope, read_cluster_id(name)))
    except (NoSuchCluster, NoSuchCommunity):
        return None
    except Refused as refused:
        # An id that is none; what is being read is told as that.
        if refused.status in (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY):
            return None
        raise
