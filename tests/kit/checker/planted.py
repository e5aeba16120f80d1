"""Bugs to plant in the worker process of a test, so that the checker can prove that it finds each.

Nothing here is reachable from the product: tests/kit/worker_process.py plants a bug in its own process, on request,
by patching what it has imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import redis

import questream.deciding.clusterer
import questream.deciding.paths
import questream.stream.levels
from questream.broker.publisher import AtLeastOncePublisher, TransactionalPublisher
from questream.clustering.constraints import Constraints
from questream.clustering.levels import Node
from questream.clustering.mirror import Change, ClusterMoved, Mirror
from questream.clustering.rules import Rules
from questream.deciding.namespaces import Namespaces
from questream.recovery.recover import StoreRecovery
from questream.store.protocol import Proposal, Stale
from questream.store.redis.store import RedisStore
from questream.stream.operations import OperationRelay

# By bug, what of the store's Lua becomes what.
SCRIPT_EDITS: dict[str, dict[str, str]] = {
    "no-ledger": {"if replayed then": "if false then"},
    "no-stale-check": {
        "if seq == batch.seq or not": "if true or not",
        "if stale and seq": "if false and seq",
        "if stale or (moves_log": "if (moves_log",
    },
    "double-count": {"tonumber(size or 0) + joining": "tonumber(size or 0) + joining + 1"},
    "number-not-moved-on": {"next_id = math.max(next_id, number + 1)": ""},
    "recovery-disabled": {
        "return token and string.match(token, '^([^:]+):') == this_process() and token": "return token"
    },
    "pinned-merged": {"if (kept_pinned or lost_pinned) and not by_operator then return nil end": ""},
    "representative-overruled": {
        "redis.call('HSET', key, unpack(fields))": (
            "redis.call('HDEL', key, 'represented') represented = nil redis.call('HSET', key, unpack(fields))"
        )
    },
    "separated-merged": {"if ends[string.sub(separation, 1, -2) .. opposite] then return nil end": ""},
    "kept-merged": {"if level and kept_in[level] and kept_in[level] ~= separation then return nil end": ""},
    "names-mixed": {
        "if dropped and dropped[1] == label and dropped[2] == route then return kept_label, kept_route end": (
            "do return kept_label, route end"
        )
    },
}


def plant(bug: str) -> None:
    """Break the product in this process. Raises KeyError if there is no such bug."""
    (BUGS | OPERATION_BUGS | LEVEL_BUGS)[bug]()


def offsets_before_records() -> None:
    """At-least-once the wrong way round: the offsets are committed, then the records are sent."""

    def publish(original: Any, self: Any, records: Any, offsets: Any, membership: Any, *more: Any) -> Any:
        committed = self._commit_offsets(offsets, membership) if offsets else {}
        while any(committed.get(at, 0) < offset for at, offset in offsets.items()):
            time.sleep(0.01)
            committed = self._commit_offsets({}, membership)
        original(self, records, {}, membership, *more)
        return committed

    patch(AtLeastOncePublisher, "publish", publish)


def no_ledger() -> None:
    """What was decided before is decided again: neither the script nor the worker looks at the ledger."""
    edit_scripts("no-ledger")
    patch(Namespaces, "recorded", lambda original, *args: replace(original(*args), decisions={}))


def no_stale_check() -> None:
    """A commit goes through whatever others have done since it was decided."""
    edit_scripts("no-stale-check")


def stale_creations_renumbered() -> None:
    """Who lost a race for a new cluster takes the next number instead of looking at what the winner opened."""
    decided: dict[int, Any] = {}

    def propose(
        original: Any, mirror: Any, assigner: Any, plan: Any, arrivals: Any, rows: Any, *more: Any, **named: Any
    ) -> Any:
        proposal = original(mirror, assigner, plan, arrivals, rows, *more, **named)
        decided[id(proposal)] = (plan, rows)
        return proposal

    def commit(original: Any, store: Any, proposals: Mapping[str, Proposal]) -> Any:
        replies = original(store, proposals)
        for namespace, first in proposals.items():
            (plan, rows), proposal = decided.pop(id(first)), first
            while isinstance(replies[namespace], Stale) and proposal.creates:
                found = store._client.hmget(f"questream:{{{namespace}}}:meta", ["seq", "next"])
                seq, following = map(int, found)
                opened = [touch.cluster_id for touch in proposal.cluster_updates if touch.creates]
                numbers = dict(zip(opened, range(following, following + len(opened)), strict=True))
                # In place: what the worker goes by once the commit is accepted.
                proposal.cluster_updates[:] = [renumbered(touch, numbers) for touch in proposal.cluster_updates]
                for those in (rows, *(batch.rows for batch in proposal.partitions)):
                    those[:] = [renumbered(row, numbers) for row in those]
                for touched in plan.touched.values():
                    touched.cluster_id = numbers.get(touched.cluster_id, touched.cluster_id)
                # What the questions add to the mean is of before the winner's, and would be refused.
                proposal = replace(proposal, seq=seq, mean=None)
                replies |= original(store, {namespace: proposal})
        return replies

    patch(questream.deciding.clusterer, "propose", propose)
    patch(RedisStore, "commit", commit)


def renumbered(part: Any, numbers: Mapping[int, int]) -> Any:
    """A touch or a row for its cluster's new number."""
    return replace(part, cluster_id=numbers.get(part.cluster_id, part.cluster_id))


def lost_alias() -> None:
    """A cluster that was merged away leads to none that there is."""

    def merge(original: Any, store: Any, namespace: str, *args: Any) -> Any:
        reply = original(store, namespace, *args)
        for applied in reply.applied:
            store._client.hset(f"questream:{{{namespace}}}:cluster:{applied.merge.loser}", "merged_into", 999_999)
        return reply

    patch(RedisStore, "merge", merge)


def double_count() -> None:
    """Each commit counts one question too many in every cluster that it touches."""
    edit_scripts("double-count")


def merge_not_published() -> None:
    """The topic never gets the merge of a cluster, though the store takes it for published."""
    leave_out(lambda record: b'"event":"merged"' in (record.value or b""))


def number_not_moved_on() -> None:
    """The store does not remember which cluster numbers were given."""
    edit_scripts("number-not-moved-on")


def dead_letters_dropped() -> None:
    """What cannot be read is passed over in silence."""
    leave_out(is_dead_letter)


def dead_letters_rewritten() -> None:
    """A dead letter is what could be read of the record, not its bytes."""

    def publish(original: Any, self: Any, records: Any, *more: Any) -> Any:
        return original(self, [readable(record) if is_dead_letter(record) else record for record in records], *more)

    patch(TransactionalPublisher, "publish", publish)


def recovery_disabled() -> None:
    """A Redis that may have lost its memory is decided on as if it had not."""
    edit_scripts("recovery-disabled")
    # What was published last is not looked for either.
    patch(StoreRecovery, "recover_lost", lambda *_: None)


def operation_published_twice() -> None:
    """Each record of an operation is sent twice."""
    patch_claims(lambda records: [record for record in records for _ in range(2)])


def operation_not_published() -> None:
    """The topic never gets an undo."""
    patch_claims(lambda records: [record for record in records if b'"kind":"undo"' not in record.value])


def patch_claims(change: Callable[[Any], Any]) -> None:
    """Change the records of the operations that a worker has claimed."""

    def claimed(original: Any, *args: Any) -> Any:
        made = original(*args)
        return replace(made, records=change(made.records))

    patch(OperationRelay, "_claimed", claimed)


def pinned_merged() -> None:
    """A pinned cluster merges as any other does."""
    edit_scripts("pinned-merged")


def separated_merged() -> None:
    """Clusters that somebody separated merge as any others do."""
    edit_scripts("separated-merged")


def names_mixed() -> None:
    """Two clusters that are named differently merge, and the one gets the route of the other."""
    edit_scripts("names-mixed")


def exemplars_ignored() -> None:
    """Questions are decided as if nobody had turned one away."""
    patch(Constraints, "of", lambda original, _, dimension: original({}, dimension))


def rules_ignored() -> None:
    """Questions are decided by the settings, whatever was set for the namespace."""
    patch(Rules, "in_force", lambda _, self, *__: self)


def own_threshold_ignored() -> None:
    """Questions join every cluster at the namespace's threshold, whatever an intent has of its own."""
    patch(Mirror, "apply", lambda original, self, changes: original(self, [_without_threshold(one) for one in changes]))


def _without_threshold(change: Change) -> Change:
    return replace(change, threshold=None) if isinstance(change, ClusterMoved) else change


def representative_overruled() -> None:
    """A cluster that a question joins is shown by what opened it again, whatever somebody chose."""
    edit_scripts("representative-overruled")


def erased_text_published() -> None:
    """A worker writes what a cluster was opened with again whenever a question joins."""

    def commit(original: Any, store: Any, proposals: Mapping[str, Proposal]) -> Any:
        for namespace, proposal in proposals.items():
            for touch in proposal.cluster_updates:
                key = f"questream:{{{namespace}}}:cluster:{touch.cluster_id}"
                if not touch.creates and store._client.exists(key):
                    store._client.hset(key, "representative", "red sea")
        return original(store, proposals)

    patch(RedisStore, "commit", commit)


def mode_ignored() -> None:
    """A question opens a cluster where clusters are known alone."""
    patch(Rules, "in_force", lambda original, self, *args: replace(original(self, *args), mode="open"))


def two_routes() -> None:
    """A decision with a route says what it would have been, too."""

    def publish(original: Any, self: Any, records: Any, *more: Any) -> Any:
        both = [
            replace(one, value=one.value.replace(b'"suggested_route":null', b'"suggested_route":"desk"'))
            if one.value and b'"outcome":"joined"' in one.value
            else one
            for one in records
        ]
        return original(self, both, *more)

    patch(TransactionalPublisher, "publish", publish)


def operations_forgotten() -> None:
    """A recovery takes the number of the last operation from the topic, and puts no operation back."""

    def restore(original: Any, self: Any, namespace: str, token: str, _: Any, newest: int) -> Any:
        return original(self, namespace, token, [], newest)

    patch(RedisStore, "restore_operations", restore)


def leave_out(unwanted: Callable[[Any], bool]) -> None:
    """Have the publisher lose some of its records."""

    def publish(original: Any, self: Any, records: Any, *more: Any) -> Any:
        return original(self, [record for record in records if not unwanted(record)], *more)

    patch(TransactionalPublisher, "publish", publish)


def is_dead_letter(record: Any) -> bool:
    """True if a record is on its way to the dead letters."""
    return any(name == "questream-stage" for name, _ in record.headers)


def level_ids_swapped() -> None:
    """Each run gives the ids of the intents to one another in turn."""

    def regroup_levels(original: Any, mirror: Any, sizes: Any, stored: Any, *rules: Any) -> Any:
        found, share = original(mirror, sizes, stored, *rules)
        numbers = sorted({node.number for node in found.levels.parents.values() if node.level == 1})
        turned = dict(zip(numbers, [*numbers[1:], *numbers[:1]], strict=True))

        def other(node: Node) -> Node:
            return Node(1, turned[node.number]) if node.level == 1 else node

        parents = {other(node): other(parent) for node, parent in found.levels.parents.items()}
        return replace(found, levels=replace(found.levels, parents=parents)), share

    patch(questream.stream.levels, "regroup_levels", regroup_levels)


def level_numbers_stand_still() -> None:
    """A run gives numbers and does not move on which come next."""

    def regroup_levels(original: Any, mirror: Any, sizes: Any, stored: Any, *rules: Any) -> Any:
        found, share = original(mirror, sizes, stored, *rules)
        return replace(found, levels=replace(found.levels, next_numbers=stored.levels.next_numbers)), share

    patch(questream.stream.levels, "regroup_levels", regroup_levels)


def kept_ignored() -> None:
    """A run finds intents as if people had kept nothing in any."""
    patch(questream.stream.levels, "regroup_levels", lambda original, *args: original(*args[:4]))


def path_of_another() -> None:
    """Decisions name the intent before their own."""

    def path(original: Any, *args: Any) -> Any:
        found = original(*args)
        if found is None or found[1].level != 1:
            return found
        own, intent, topic = found
        return own, Node(1, intent.number % 3 + 1), topic

    patch(questream.deciding.paths, "_path", path)


def readable(record: Any) -> Any:
    """The record with a value that is text."""
    return replace(record, value=(record.value or b"").decode(errors="replace").encode())


def patch(owner: Any, name: str, broken: Callable[..., Any]) -> None:
    """Have `broken(original, *args)` called in the place of a method or function."""
    original = getattr(owner, name)

    def instead(*args: Any, **named: Any) -> Any:
        return broken(original, *args, **named)

    setattr(owner, name, instead)


def edit_scripts(bug: str) -> None:
    """Change the store's Lua as `SCRIPT_EDITS` says; a worker whose scripts have no such text ends at once."""
    edits = SCRIPT_EDITS[bug]
    done: set[str] = set()

    def register(original: Any, client: Any, script: str) -> Any:
        for old, new in edits.items():
            if old in script:
                script = script.replace(old, new)
                done.add(old)
        return original(client, script)

    def checked(original: Any, *args: Any, **named: Any) -> None:
        original(*args, **named)
        assert done == edits.keys(), f"the scripts have no {edits.keys() - done}"

    patch(redis.Redis, "register_script", register)
    patch(RedisStore, "__init__", checked)


BUGS: dict[str, Callable[[], None]] = {
    "offsets-before-records": offsets_before_records,
    "no-ledger": no_ledger,
    "no-stale-check": no_stale_check,
    "stale-creations-renumbered": stale_creations_renumbered,
    "lost-alias": lost_alias,
    "double-count": double_count,
    "merge-not-published": merge_not_published,
    "number-not-moved-on": number_not_moved_on,
    "dead-letters-dropped": dead_letters_dropped,
    "dead-letters-rewritten": dead_letters_rewritten,
    "recovery-disabled": recovery_disabled,
}

LEVEL_BUGS: dict[str, Callable[[], None]] = {
    "level-ids-swapped": level_ids_swapped,
    "level-numbers-stand-still": level_numbers_stand_still,
    "path-of-another": path_of_another,
    "kept-ignored": kept_ignored,
    "kept-merged": lambda: edit_scripts("kept-merged"),
}

OPERATION_BUGS: dict[str, Callable[[], None]] = {
    "operation-published-twice": operation_published_twice,
    "operation-not-published": operation_not_published,
    "pinned-merged": pinned_merged,
    "separated-merged": separated_merged,
    "names-mixed": names_mixed,
    "exemplars-ignored": exemplars_ignored,
    "rules-ignored": rules_ignored,
    "operations-forgotten": operations_forgotten,
    "representative-overruled": representative_overruled,
    "erased-text-published": erased_text_published,
    "mode-ignored": mode_ignored,
    "two-routes": two_routes,
    "own-threshold-ignored": own_threshold_ignored,
}
