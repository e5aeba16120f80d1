"""The rules of a namespace: read from text, shown with where each comes from, and what a change of them would do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from questream.clustering.confidence import Confidence
from questream.clustering.kept_members import KeptMembers
from questream.clustering.merging import propose_merges
from questream.clustering.mirror import Mirror
from questream.clustering.rules import Rules
from questream.domain import NAMES_OF_RULES, ClusterState, NamespaceRules, RulesChange, format_cluster_id
from questream.errors import QuestreamError
from questream.operations.lookup import require_namespace
from questream.settings import Settings
from questream.settings.describe import allowed
from questream.settings.tree import ClusterSettings, LevelSettings, RoutingSettings
from questream.store.redis.store import RedisStore
from questream.stream.settings_in_use import setting_of, settings_of
from questream.tools.suggestions import MOST_PAIRS, rules_in_use

_UNSET, _OFF = "unset", "off"
_MAY_BE_OFF = {"retention_seconds", "singleton_retention_seconds", "alias_retention_seconds", "max_clusters"} | {
    "routing_precision"
}
_EXAMPLES = 5

Values = dict[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of a change of rules on the present clusters.

    `merges` are pairs that would be near enough then and are not now, the survivor of each first; each has one of the
    `compared` largest clusters in it. Of `kept_questions`, references that the clusters keep, `below` joined at a
    similarity that would not be enough, by the threshold of the cluster's own where it has one.
    """

    clusters: int
    compared: int
    merges: list[tuple[int, int]]
    kept_questions: int
    below: int

    def document(self) -> dict[str, Any]:
        """It in JSON, with five examples of merges."""
        return {
            "clusters": self.clusters,
            "compared": self.compared,
            "would_merge": len(self.merges),
            "examples": [[format_cluster_id(one) for one in pair] for pair in self.merges[:_EXAMPLES]],
            "kept_questions": self.kept_questions,
            "kept_questions_that_would_not_join": self.below,
        }


def read_rules(assignments: Iterable[str]) -> Values:
    """Rules as `name=value`; the value `unset` leaves one to the settings again, `off` ends a retention or a limit.

    Raises QuestreamError with the rule and its range.
    """
    found: Values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or name not in NAMES_OF_RULES:
            raise QuestreamError(
                f"{assignment!r} sets no rule of a namespace",
                f"write NAME=VALUE with one of {', '.join(NAMES_OF_RULES)}",
            )
        if text == _OFF and name in _MAY_BE_OFF:
            found[name] = 0
        else:
            found[name] = None if text == _UNSET else _validated(name, text)
    if not found:
        raise QuestreamError("nothing is to be set", "write for example threshold=0.7")
    return found


def sources(rules: NamespaceRules, settings: Settings, noted: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each rule with its value and where that is from: the namespace, settings that a worker noted, or the caller's."""
    found = {}
    for name in NAMES_OF_RULES:
        key = setting_of(name)
        if name in rules.values():
            value, source = getattr(rules, name) or None, f"namespace (operation {rules.operation})"
        elif key is None:
            value, source = None, "not fitted"
        elif key in noted:
            value, source = noted[key], "settings of the workers"
        else:
            value, source = _of_settings(settings, key), "settings given here"
        found[name] = {"value": value, "source": source}
    return found


def effect_of(store: RedisStore, namespace: str, settings: Settings, values: Values) -> Effect:
    """The effect of the rules on the clusters of a namespace, as `effect_on`. Raises QuestreamError without one."""
    whole = require_namespace(store, namespace)
    notes = store.noted_settings(namespace)
    now = rules_in_use(whole, settings, settings_of(notes[0][2]) if notes else {})
    then = now.in_force(NamespaceRules.of(whole.rules.values() | values))
    return effect_on(store.load(namespace), list(store.summaries(namespace)), now, then, MOST_PAIRS)


def changed_by(change: RulesChange) -> Values:
    """The rules that an operation sets, as `effect_of` takes them; None where one is left to the settings again."""
    before, after = change.before.values(), change.after.values()
    return {name: after.get(name) for name in NAMES_OF_RULES if before.get(name) != after.get(name)}


def effect_on(mirror: Mirror, states: Collection[ClusterState], now: Rules, then: Rules, most_pairs: int) -> Effect:
    """The effect of other rules on these clusters.

    As many of the largest clusters are compared with all others as `most_pairs` allow.
    """
    largest = sorted(states, key=lambda state: (-state.size, state.cluster_id))
    compared = [state.cluster_id for state in largest if state.cluster_id in mirror.row_of]
    compared = compared[: max(1, most_pairs // max(1, mirror.count))]
    near, nearer = (_merges(mirror, compared, rules) for rules in (now, then))
    kept = [
        (then.threshold_of(one.ruling.threshold), found) for one in states for found in _similarities(one.kept_members)
    ]
    return Effect(
        mirror.count,
        len(compared),
        [pair for pair in nearer if pair not in near],
        len(kept),
        sum(similarity < needed for needed, similarity in kept),
    )


def _similarities(kept_members: str) -> list[float]:
    kept = KeptMembers.parse(kept_members)
    by_place = {one.place: one.similarity for one in (*kept.newest, *kept.typical, *kept.doubtful)}
    return [similarity for similarity in by_place.values() if similarity is not None]


def _merges(mirror: Mirror, compared: Sequence[int], rules: Rules) -> dict[tuple[int, int], None]:
    merges = propose_merges(mirror, sorted(compared), rules, set())
    return {(merge.survivor, merge.loser): None for merge in merges}


def _of_settings(settings: Settings, key: str) -> Any:
    group, _, name = key.partition(".")
    return getattr(getattr(settings, group), name)


def _validated(name: str, text: str) -> float | int | str:
    key = setting_of(name)
    if key is None:
        return _confidence(text)
    group, _, of_group = key.partition(".")
    groups: dict[str, type[BaseModel]] = {"routing": RoutingSettings, "levels": LevelSettings}
    model = groups.get(group, ClusterSettings)
    try:
        value: float | int | str = getattr(model.model_validate({of_group: text}), of_group)
    except ValidationError:
        off = ", off" if name in _MAY_BE_OFF else ""
        values = allowed(model.model_fields[of_group])
        raise QuestreamError(f"{name} cannot be {text!r}", f"it takes {values}{off}, or unset") from None
    return value


def _confidence(text: str) -> str:
    try:
        return str(Confidence.parse(text))
    except ValueError:
        raise QuestreamError(
            "confidence is a slope above 0, an intercept and a model",
            "let `questream namespaces calibrate` fit it, or write confidence=unset",
        ) from None
