"""Counts of sentences in Redis: one hash for each namespace."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import redis.exceptions

from questream.preparing.repeated import MOST_MAILS, MOST_SENTENCES, NO_COUNTS, SentenceCounts
from questream.store.redis.calls import RedisCalls, on_namespace
from questream.store.redis.codec import is_count, is_utf8

_MAILS = b"mails"


class RedisSentences(RedisCalls):
    """The protocol SentenceCalls."""

    @on_namespace
    def sentence_counts(self, namespace: str) -> SentenceCounts:
        try:
            fields = self._client.hgetall(self._keys.of(namespace, "sentences"))
        except redis.exceptions.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            return NO_COUNTS
        return _counts(fields)

    @on_namespace
    def count_sentences(self, namespace: str, mails: int, seen: Mapping[str, int]) -> SentenceCounts:
        self.require_rights(namespace)
        keys = [self._keys.of(namespace, "meta"), self._keys.of(namespace, "sentences")]
        args = [mails, MOST_SENTENCES, MOST_MAILS, *chain.from_iterable(seen.items())]
        flat = self._scripts["count_sentences"](keys=keys, args=args)
        return _counts(dict(zip(flat[::2], flat[1::2], strict=True)))


def _counts(fields: Mapping[bytes, bytes]) -> SentenceCounts:
    mails = fields.get(_MAILS, b"0")
    readable = {field: count for field, count in fields.items() if is_utf8(field) and is_count(count)}
    counts = {field.decode(): int(count) for field, count in readable.items() if field != _MAILS}
    return SentenceCounts(int(mails) if is_count(mails) else 0, counts)
