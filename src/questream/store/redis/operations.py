"""Operations in Redis: one script commits one, and keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import orjson

from questream.clustering.kept_members import KEPT_OF_A_KIND
from questream.domain import Operation, Ruling
from questream.errors import LostMemory
from questream.records import names_document
from questream.rulings import threshold_text
from questream.store.levels_text import levels_text
from questream.store.operation_text import operation_text, parse_operation
from questream.store.protocol import (
    OPERATIONS_KEPT,
    REMAINS_KEPT,
    Forgetting,
    OperationClaim,
    ProposedOperation,
    Remains,
    aliases_of,
    digest_of_aliases,
    waits_to_be_published,
    without_texts,
)
from questream.store.redis.calls import RedisCalls, on_namespace
from questream.store.redis.codec import (
    exemplars_text,
    features_text,
    from_bytes,
    parse_features,
    parse_ruled,
    reading,
    represented_text,
    ruling_text,
    to_bytes,
)
from questream.store.redis.keys import Name
from questream.store.rules_text import values_text

_OPERATE_KEYS: tuple[Name, ...] = (
    *("meta", "outbox", "operations", "operation_ids"),
    *("log", "idle", "singletons", "aliases", "remains", "levels", "names"),
)


_ALIASES_READ = 1000


class RedisOperations(RedisCalls):
    """The protocol Operations."""

    @on_namespace
    def operate(self, namespace: str, proposed: ProposedOperation) -> Operation | None:
        self.require_rights(namespace)
        merge, part = proposed.merge, proposed.part
        request = {
            "id": proposed.id,
            "kept": OPERATIONS_KEPT,
            "undoes": proposed.undoes or 0,
            "log_entries": self._log_entries,
            "rules": [values_text(proposed.rules.before), values_text(proposed.rules.after)]
            if proposed.rules
            else False,
            "levels": str(proposed.levels.stored.version) if proposed.levels else False,
            "clusters": [
                [
                    cluster_id,
                    *_texts(before),
                    *_texts(proposed.after[cluster_id]),
                    *_chosen(proposed, cluster_id),
                    threshold_text(before.threshold),
                    threshold_text(proposed.after[cluster_id].threshold),
                ]
                for cluster_id, before in proposed.before.items()
            ],
            "opens": [
                [one.members, features_text(one.features) or False, one.representative or "", one.opened_at]
                for one in proposed.opens.values()
            ],
            "retires": sorted(proposed.retires),
            "tombstone_ms": self._tombstone_ms,
            "merge": merge is not None
            and [
                *(merge.survivor_members, merge.loser_members),
                features_text(merge.kept) or False,
                KEPT_OF_A_KIND,
            ],
            "part": part is not None
            and [
                *(part.survivor_members, part.remains.key, part.kept_members, part.joined, part.own_kept),
                part.remains.erased_by,
            ],
            "remains_kept": REMAINS_KEPT,
            "undo_ms": self._undo_ms,
            "forgets": False if proposed.forgets is None else self._forgetting_document(namespace, proposed.forgets),
        }
        keys = [self._keys.of(namespace, name) for name in _OPERATE_KEYS]
        keys += [self._keys.cluster(namespace, cluster_id) for cluster_id in proposed.before]
        keys += [self._keys.cluster(namespace, i) for i in (proposed.forgets.aliases if proposed.forgets else ())]
        changed = merge or part
        sum_after = b"" if changed is None else to_bytes(changed.vector_sum)
        found = proposed.levels.changed(0) if proposed.levels else None
        named = b"" if found is None else orjson.dumps(names_document(found))
        placed = levels_text(found) if found is not None and proposed.levels and proposed.levels.change.places else b""
        opened = [to_bytes(one.vector_sum) for one in proposed.opens.values()]
        args = [orjson.dumps(request), operation_text(proposed), sum_after, named, placed, *opened]
        number = self._scripts["operate"](keys=keys, args=args)
        if number == b"waits":
            raise waits_to_be_published()
        return self._operation(namespace, int(number)) if number else None

    @on_namespace
    def forgetting(self, namespace: str, cluster_id: int) -> Forgetting:
        count = self._client.hget(self._keys.of(namespace, "meta"), "operation_count")
        members = self._client.zrange(self._keys.of(namespace, "aliases"), 0, -1)
        into: dict[int, list[int]] = {}
        with reading("an index"):
            ids = [int(member) for member in members]
        for first in range(0, len(ids), _ALIASES_READ):
            page = ids[first : first + _ALIASES_READ]
            pipeline = self._client.pipeline(transaction=False)
            for alias in page:
                pipeline.hget(self._keys.cluster(namespace, alias), "merged_into")
            for alias, survivor in zip(page, pipeline.execute(), strict=True):
                into.setdefault(int(survivor or 0), []).append(alias)
        known = digest_of_aliases(ids)
        return Forgetting(cluster_id, aliases_of(cluster_id, into), known, int(count or 0))

    def _forgetting_document(self, namespace: str, forgets: Forgetting) -> dict[str, object]:
        """The argument of the script: the operations that have texts of these clusters, without these."""
        newest = forgets.operation_count
        kept = self._read(namespace, range(max(1, newest - OPERATIONS_KEPT), newest + 1))
        erased = [(one, without_texts(one, forgets.cluster_ids)) for one in kept if one is not None]
        return {
            "aliases": forgets.aliases,
            "aliases_known": forgets.aliases_known,
            "operation_count": forgets.operation_count,
            "operations": [[new.number, operation_text(new).decode()] for old, new in erased if new != old],
        }

    @on_namespace
    def remains(self, namespace: str, cluster_id: int) -> Remains | None:
        fields = ["remains", "forgotten"]
        entry, forgotten = self._client.hmget(self._keys.cluster(namespace, cluster_id), fields)
        if entry is None:
            return None
        found = self._client.xrange(self._keys.of(namespace, "remains"), entry.decode(), "+")
        generation = self._client.hget(self._keys.of(namespace, "meta"), "generation") or b"0"
        if not found or found[0][0] != entry or found[0][1].get(b"generation") != generation:
            return None
        with reading("what a merge absorbed"):
            first, *later = (fields for _, fields in found)
            if any(b"parted" in one and one[b"cluster"] == first[b"cluster"] for one in later):
                return None
            # Of a cluster that was merged again or parted since, its last entry alone counts.
            last = {one[b"cluster"]: one for one in later}.values()
            since = tuple(one[b"kept"].decode() for one in last if one[b"survivor"] == first[b"survivor"])
            remains = replace(_parsed_remains(entry.decode(), first), later_kept=since)
            return remains if forgotten is None else replace(remains, kept_members="", erased_by=int(forgotten))

    @on_namespace
    def operation(self, namespace: str, number: int) -> Operation | None:
        found = self._operation(namespace, number)
        if found is None:
            self._require_kept(namespace)
        return found

    @on_namespace
    def operations(self, namespace: str, limit: int) -> list[Operation]:
        newest = self._client.hget(self._keys.of(namespace, "meta"), "operation_count")
        with reading("the namespace"):
            numbers = range(int(newest or 0), max(0, int(newest or 0) - limit), -1)
        return [operation for operation in self._read(namespace, numbers) if operation is not None]

    @on_namespace
    def operations_from(self, namespace: str, number: int, limit: int) -> list[Operation]:
        newest = self._client.hget(self._keys.of(namespace, "meta"), "operation_count")
        with reading("the namespace"):
            first = max(number, int(newest or 0) - OPERATIONS_KEPT + 1)
            numbers = range(first, min(int(newest or 0) + 1, first + limit))
        found = self._read(namespace, numbers)
        if None in found:
            self._require_kept(namespace)
        return [operation for operation in found if operation is not None]

    @on_namespace
    def published_operations(self, namespace: str) -> int | None:
        meta = self._keys.of(namespace, "meta")
        compared, published = self._client.hmget(meta, ["operation_epoch", "operations_published"])
        if compared is None or compared.decode() != self.store_epoch(namespace):
            return None
        with reading("the namespace"):
            return int(published or 0)

    @on_namespace
    def claim_operations(self, namespace: str, token: str, claim_seconds: float) -> OperationClaim | None:
        args = [token, int(claim_seconds * 1000)]
        found = self._scripts["claim_operations"](keys=[self._keys.of(namespace, "meta")], args=args)
        if found is None:
            return None
        store_epoch, published, newest, compared = found
        return OperationClaim(store_epoch.decode(), int(published), int(newest), bool(compared))

    @on_namespace
    def restore_operations(self, namespace: str, token: str, published: Sequence[Operation], newest: int) -> int | None:
        published = published[-OPERATIONS_KEPT:]
        known = [[one.number, one.id, one.undoes or 0] for one in published]
        texts = [b"%d %s" % (one.time_ms, operation_text(one)) for one in published]
        keys = [self._keys.of(namespace, name) for name in ("meta", "operations", "operation_ids")]
        args = [token, newest, OPERATIONS_KEPT, orjson.dumps(known), *texts]
        restored = self._scripts["restore_operations"](keys=keys, args=args)
        return None if restored is None else int(restored)

    @on_namespace
    def confirm_operations(self, namespace: str, token: str, published: int) -> None:
        keys = [self._keys.of(namespace, "meta")]
        self._scripts["confirm_operations"](keys=keys, args=[token, published])

    def _operation(self, namespace: str, number: int) -> Operation | None:
        return self._read(namespace, [number])[0]

    def _read(self, namespace: str, numbers: Sequence[int]) -> list[Operation | None]:
        if not numbers:
            return []
        fields = [name for number in numbers for name in (f"{number}", f"undone:{number}")]
        found = self._client.hmget(self._keys.of(namespace, "operations"), fields)
        with reading("an operation"):
            return [
                _parsed(number, text, undone_by)
                for number, text, undone_by in zip(numbers, found[::2], found[1::2], strict=True)
            ]

    def _require_kept(self, namespace: str) -> None:
        """Raises LostMemory where operations that were written are not there."""
        fields = ["operation_count", "operation_kept", "operation_lengths"]
        count, kept, lengths = self._client.hmget(self._keys.of(namespace, "meta"), fields)
        with reading("the namespace"):
            number = int(kept.partition(b" ")[0]) if kept else 0
            # A release before `operation_kept` may have written more than are kept since.
            is_kept = number > max(0, int(count or 0) - OPERATIONS_KEPT)
            written, *wanted = map(int, (lengths or b"0").split())
        if not is_kept:
            return
        meta, key, ids = (self._keys.of(namespace, name) for name in ("meta", "operations", "operation_ids"))
        is_there = self._client.hget(key, f"{number}") is not None
        # A release before `operation_lengths` does not keep it up; and another operation may come in between.
        is_whole = written != number or wanted == [self._client.hlen(key), self._client.hlen(ids)]
        if not is_there or (not is_whole and self._client.hget(meta, fields[2]) == lengths):
            raise LostMemory("operations are gone")


def _texts(ruling: Ruling) -> tuple[str, str, str, str]:
    return ruling.label or "", ruling.route or "", ruling_text(ruling), exemplars_text(ruling.exemplars)


def _chosen(proposed: ProposedOperation, cluster_id: int) -> tuple[str, str]:
    """The representatives of clusters before and after."""
    before, after = proposed.before[cluster_id], proposed.after[cluster_id]
    return represented_text(before.represented_by), represented_text(after.represented_by)


def _parsed_remains(key: str, fields: Mapping[bytes, bytes]) -> Remains:
    text = {name.decode(): value for name, value in fields.items()}
    ruling, _ = parse_ruled(text["ruled"] or None)
    return Remains(
        key,
        int(text["cluster"]),
        int(text["survivor"]),
        int(text["size"]),
        int(text["members"]),
        from_bytes(text["sum"]),
        parse_features(text["features"]),
        text["kept"].decode(),
        tuple(text["exemplars"].decode().split()),
        replace(ruling, label=text["label"].decode() or None, route=text["route"].decode() or None),
        tuple(text["kept_exemplars"].decode().split()),
        text["survivor_kept"].decode() if "survivor_kept" in text else None,
    )


def _parsed(number: int, text: bytes | None, undone_by: bytes | None) -> Operation | None:
    if text is None:
        return None
    time_ms, _, body = text.partition(b" ")
    return parse_operation(number, int(time_ms), body, None if undone_by is None else int(undone_by))
