"""`If-Match`: an operation is done only while its clusters are as the caller saw them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Header

from questream.domain import LEVEL_LETTERS, NamespaceRules
from questream.server.api.clusters import etag_of
from questream.server.api.levels import communities_of, community_of, etags_of_levels
from questream.server.operating import Ask
from questream.server.problems import Overtaken, Refused
from questream.server.services import Scope, read_cluster_id
from questream.store.aliases import follow_aliases
from questream.tools.clusters import is_live
from questream.tools.communities import NoSuchCommunity

# The name of a namespace's rules, beside the ids of clusters, intents and topics.
RULES = "rules"
# An operation is about 1,000 clusters at most, and the intents and topics above them.
_MOST_TAGS = 2000

IfMatch = Annotated[
    list[str] | None,
    Header(
        description=(
            "ETags of clusters, intents, topics and rules that the operation is about. Where one of them is another by"
            " now, nothing is done: 412. An operation whose `id` was done before is answered all the same."
        ),
    ),
]


@dataclass(frozen=True, slots=True)
class Seen:
    """The entity tags that a caller saw, each with its quotes, all of which have to be current; None: no condition.

    Each is that of something that is `named`, or of anything where that is None.
    """

    scope: Scope
    tags: frozenset[str] | None
    named: frozenset[str] | None

    @classmethod
    def of(cls, scope: Scope, if_match: Sequence[str] | None, named: Iterable[str | None] | None) -> Seen:
        """As the lines of the header say, and of the ids that a request names; `*` and no header require nothing.

        Raises Refused for more tags than an operation can be about.
        """
        of_names = None if named is None else frozenset(filter(None, named))
        members = ",".join(if_match or ()).strip()
        if if_match is None or members == "*":
            return cls(scope, None, of_names)
        tags = frozenset(filter(None, (one.strip() for one in members.split(","))))
        if len(tags) > _MOST_TAGS:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"If-Match takes {_MOST_TAGS:,} ETags at most")
        return cls(scope, tags, of_names)

    def require(self) -> None:
        """Raises Overtaken where something is not as it was seen."""
        if self.tags is None:
            return
        names = set(map(_name_of, self.tags)) if self.named is None else self.named
        if not self.tags or not self.tags <= set(tags_of(self.scope, names)):
            raise Overtaken

    def provided(self, ask: Ask) -> Ask:
        """The same request, refused where something is not as it was seen."""
        return ask if self.tags is None else lambda made: ask(made).provided(self.require)


def tags_of(scope: Scope, names: Iterable[str]) -> list[str]:
    """The entity tags that these clusters, intents, topics and `RULES` have now, each once, if they are there."""
    wanted = frozenset(names)
    of_levels = {name for name in wanted if name[:1] in LEVEL_LETTERS}
    tags = [etag_of_rules(scope.services.store.rules(scope.namespace))] if RULES in wanted else []
    tags += _tags_of_clusters(scope, wanted - of_levels - {RULES})
    tags += _tags_of_levels(scope, of_levels) if of_levels else []
    return list(dict.fromkeys(tags))


def tags_among(tags: Iterable[str], names: Iterable[str]) -> list[str]:
    """Of these entity tags those of clusters, intents and topics that are called so."""
    wanted = frozenset(names)
    return [tag for tag in tags if _name_of(tag) in wanted]


def _name_of(tag: str) -> str:
    return tag.strip('"').partition(".")[0]


def etag_of_rules(rules: NamespaceRules) -> str:
    """The entity tag of the rules of a namespace: another one with each operation on them."""
    return f'"{RULES}.{rules.operation}"'


def _tags_of_clusters(scope: Scope, names: Iterable[str]) -> list[str]:
    numbers = []
    for name in sorted(names):
        # A text that is no id has no tag.
        with suppress(Refused):
            numbers.append(read_cluster_id(name))
    chains = follow_aliases(scope.services.store, scope.namespace, numbers).values()
    return [etag_of(chain[-1]) for chain in chains if is_live(chain)]


def _tags_of_levels(scope: Scope, names: Iterable[str]) -> list[str]:
    communities, found = communities_of(scope), []
    for name in sorted(names):
        with suppress(NoSuchCommunity, Refused):
            found.append(community_of(communities, name))
    return etags_of_levels(scope, found)
