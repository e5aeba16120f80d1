"""Tools that look at the stream and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field
from starlette.responses import Response

from questream.events.kinds import KINDS
from questream.server.activity import Activity
from questream.server.api import (
    assign,
    clusters,
    dead_letters,
    events,
    health,
    intents,
    levels,
    members,
    namespaces,
    rules,
    suggestions,
)
from questream.server.api.history import History, history_of
from questream.server.api.operations import ClusterId
from questream.server.catalogue import Order
from questream.server.mcp.toolset import Caller, Namespace
from questream.server.services import read_cluster_id
from questream.tools.following import recent
from questream.tools.members import First
from questream.tools.sorting import Level, Sort
from questream.tools.stored_sentences import StoredSentences

MOST_LISTED = 50

Limit = Annotated[int, Field(ge=1, le=MOST_LISTED)]


class DecisionList(BaseModel):
    """Decisions as they are published, the newest first; `text` is null for those who may not read texts."""

    decisions: list[dict[str, Any]]


class Reads:
    """The reads of the API."""

    annotations: ClassVar[ToolAnnotations] = ToolAnnotations(read_only_hint=True, open_world_hint=False)

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def tools(self) -> Sequence[Callable[..., object]]:
        """Each of them."""
        return (
            self.list_namespaces,
            self.list_clusters,
            self.show_cluster,
            self.list_levels,
            self.show_level,
            self.cluster_members,
            self.cluster_history,
            self.recent_decisions,
            self.list_events,
            self.list_suggestions,
            self.list_intents,
            self.show_rules,
            self.assign,
            self.list_dead_letters,
            self.show_health,
        )

    def list_namespaces(self) -> namespaces.NamespaceList:
        """List the namespaces, and what the caller may do in each."""
        self._caller.ask()
        return namespaces.list_namespaces(self._caller.services, self._caller.login)

    def list_clusters(
        self,
        namespace: Namespace | None = None,
        search: Annotated[
            str,
            Field(
                max_length=clusters.MAX_SEARCH_CHARACTERS,
                description="Words of an id, name or question; or, sorted by meaning, a text.",
            ),
        ] = "",
        sort: Annotated[Order, Field(description=clusters.ORDERED_BY)] = Sort.SIZE,
        label: Annotated[str | None, Field(max_length=1000, description="Exactly this label; empty: none.")] = None,
        activity: Annotated[Activity | None, Field(description="Only those that do this.")] = None,
        limit: Limit = 20,
        cursor: Annotated[str | None, Field(max_length=200, description="`next` of the page before.")] = None,
    ) -> clusters.ClusterList:
        """List or search the live clusters of a namespace, by pages."""
        return clusters.list_clusters(self._caller.scope(namespace), sort, search, label, activity, limit, cursor)

    def show_cluster(self, cluster_id: ClusterId, namespace: Namespace | None = None) -> clusters.ClusterDetail:
        """Show one cluster; an id that was merged away leads to what it was merged into."""
        return clusters.show_cluster(self._caller.scope(namespace), cluster_id, Response())

    def list_levels(
        self,
        namespace: Namespace | None = None,
        level: Annotated[Level, Field(description="What people want, or what it is about.")] = Level.INTENT,
        search: Annotated[
            str,
            Field(
                max_length=clusters.MAX_SEARCH_CHARACTERS, description="Words of an id, name or question of a cluster."
            ),
        ] = "",
        by_meaning: Annotated[bool, Field(description="Whether `search` is a text to be near to.")] = False,
        label: Annotated[
            str | None, Field(max_length=1000, description="A cluster has this label; empty: none.")
        ] = None,
        activity: Annotated[Activity | None, Field(description="A cluster does this.")] = None,
        limit: Limit = 20,
        skip: Annotated[int, Field(ge=0, le=levels.MOST_BEFORE, description="How many came before.")] = 0,
    ) -> levels.CommunityList:
        """List what clusters are grouped to, the largest first: intents with their clusters, or topics of intents."""
        return levels.list_level(self._caller.scope(namespace), level, search, by_meaning, label, activity, limit, skip)

    def show_level(self, level_id: levels.LevelId, namespace: Namespace | None = None) -> levels.Community:
        """Show an intent or a topic; an id that is no more leads to where most of its questions are."""
        return levels.show_community(self._caller.scope(namespace), level_id, Response())

    def cluster_members(
        self,
        cluster_id: ClusterId,
        namespace: Namespace | None = None,
        order: Annotated[
            First, Field(description="The most alike, the newest, or the least alike questions come first.")
        ] = First.TYPICAL,
    ) -> members.MemberList:
        """List the nine questions at most that a cluster keeps references to; texts for those who may read them."""
        return members.list_members(self._caller.scope(namespace), cluster_id, order)

    def cluster_history(
        self, cluster_id: ClusterId | None = None, namespace: Namespace | None = None, limit: Limit = 20
    ) -> History:
        """Show who decided what, when and why, of one cluster or of all; the numbers are those that undo takes."""
        scope = self._caller.scope(namespace)
        return history_of(scope, limit, None if cluster_id is None else read_cluster_id(cluster_id))

    def recent_decisions(self, namespace: Namespace | None = None, limit: Limit = 20) -> DecisionList:
        """List the newest decisions: which question joined or opened which cluster, and when."""
        scope = self._caller.scope(namespace)
        found = recent(
            scope.services.settings,
            scope.namespace,
            limit,
            with_texts=scope.reads_texts,
            sentences_of=StoredSentences(lambda: scope.services.store),
        )
        return DecisionList(decisions=[{**(one.decision or {}), "text": one.text} for one in found])

    def assign(
        self,
        text: Annotated[str, Field(min_length=1, max_length=50_000, description="A question.")],
        namespace: Namespace | None = None,
    ) -> assign.Assigned:
        """Find the cluster that a question would join if it came now. Nothing is learned or counted."""
        return assign.assign(self._caller.scope(namespace), assign.Question(text=text))

    def list_events(
        self,
        namespace: Namespace | None = None,
        kind: Annotated[
            str | None,
            Field(
                pattern=r"^[a-z]{1,32}$",
                description=f"One of {', '.join(KINDS)}.",
            ),
        ] = None,
        limit: Limit = 20,
    ) -> events.EventList:
        """List what happened to clusters, the newest first: which are new, spiking, quiet or back."""
        return events.list_events(self._caller.scope(namespace), kind, limit)

    def list_suggestions(
        self,
        namespace: Namespace | None = None,
        kind: Annotated[suggestions.Kind, Field(description="What is suggested.")] = "merge",
        limit: Limit = 20,
    ) -> suggestions.SuggestionList:
        """List what people may want to do: merges that a name or a pin forbids, clusters to name, or to split."""
        return suggestions.list_suggestions(self._caller.scope(namespace), kind, limit)

    def list_intents(self, namespace: Namespace | None = None) -> intents.KnownIntents:
        """List the intents that people know, with examples for those who may read texts."""
        return intents.list_intents(self._caller.scope(namespace))

    def show_rules(self, namespace: Namespace | None = None) -> rules.Rules:
        """Show the rules that people set for a namespace, in place of the settings of its workers."""
        return rules.show_rules(self._caller.scope(namespace), Response())

    def list_dead_letters(
        self,
        reason: Annotated[str | None, Field(max_length=100, description="Only those of this reason.")] = None,
        limit: Limit = 20,
    ) -> dead_letters.LetterList:
        """List the newest records that could not be processed, and how many there are for each reason."""
        self._caller.ask()
        return dead_letters.list_dead_letters(self._caller.services, self._caller.login, reason, limit)

    def show_health(self) -> health.Health:
        """Show how far the workers are behind, and for operators what the doctor finds."""
        self._caller.ask()
        return health.show_health(self._caller.services, self._caller.login)
