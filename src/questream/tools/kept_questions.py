"""The questions that a cluster keeps references to, read again where they were sent to, in a stream of any size."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack

from questream.broker.connect import open_reader
from questream.broker.decided import Published
from questream.broker.reading import RecordLookup, partitions_of
from questream.clustering.kept_members import KeptMember, KeptMembers, Place
from questream.domain import ClusterState, Question
from questream.errors import BadRecord, QuestreamError
from questream.records import open_decoder
from questream.records.fingerprint import fingerprint
from questream.settings import Settings
from questream.store.aliases import follow_aliases, survivor_of
from questream.store.ledger import in_topic, topic_of
from questream.store.protocol import OPERATIONS_KEPT, Store
from questream.tools.members import First, Member
from questream.tools.stored_sentences import sentences_stored


def kept_in_order(state: ClusterState, order: First) -> list[KeptMember]:
    """All that a cluster keeps, each once: the least alike first where these are asked for, else the most alike, after
    the newest where these are.
    """
    kept = KeptMembers.parse(state.kept_members)
    sign = 1 if order is First.DOUBTFUL else -1
    # Who opens a cluster is alike to nothing yet, and comes last in both.
    by_likeness = sorted(kept.all(), key=lambda one: 2.0 if one.similarity is None else sign * one.similarity)
    newest = kept.newest if order is First.NEWEST else ()
    return list({one.place: one for one in (*newest, *by_likeness)}.values())


def still_kept(store: Store, namespace: str, state: ClusterState, order: First) -> list[KeptMember]:
    """As `kept_in_order`, without the questions that people have moved out of the cluster since."""
    return each_still_kept(store, namespace, [state], order)[state.cluster_id]


def each_still_kept(
    store: Store, namespace: str, states: Sequence[ClusterState], order: First
) -> dict[int, list[KeptMember]]:
    """As `still_kept`, of each of these clusters by its id. Operations are read once."""
    kept = {state.cluster_id: {in_topic(one.place): one for one in kept_in_order(state, order)} for state in states}
    places = {place for found in kept.values() for place in found}
    operations = store.operations(namespace, OPERATIONS_KEPT) if places else []
    moves = [one for operation in operations for one in operation.corrections if one.place in places]
    ends = {number for one in moves for number in (one.before, one.after) if number is not None}
    roots: dict[int | None, int] = {
        number: survivor_of(number, chain) for number, chain in follow_aliases(store, namespace, sorted(ends)).items()
    }
    # The newest first. A topic that was made anew has other questions at the places of those before, in other clusters.
    belongs: dict[tuple[int, Place], bool] = {}
    for one in moves:
        for number in {roots[end] for end in (one.before, one.after) if end in roots}:
            belongs.setdefault((number, one.place), number == roots.get(one.after))
    return {
        number: [one for place, one in found.items() if belongs.get((number, place), True)]
        for number, found in kept.items()
    }


class KeptQuestions:
    """Reads questions by their places; what it reads with is opened with the first, and anew after a failure.

    For any thread, one at a time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = open_decoder(settings, sentences_stored(settings))
        self._guard = threading.Lock()
        self._opened = ExitStack()
        self._lookup: RecordLookup | None = None
        self._partitions: set[int] = set()

    def read(self, cluster_id: int, namespace: str, kept: Sequence[KeptMember]) -> list[Member]:
        """The members in this order; without a question where the input topic holds that record no longer.

        Raises KafkaUnavailable, KafkaRefused and what the store raises.
        """
        with self._guard:
            try:
                return [self._member(cluster_id, namespace, one) for one in kept]
            except QuestreamError:
                self._lookup = None
                self._opened.close()
                raise

    def close(self) -> None:
        """Close the clients for Kafka."""
        with self._guard:
            self._lookup = None
            self._opened.close()

    def _member(self, cluster_id: int, namespace: str, kept: KeptMember) -> Member:
        _, partition, offset = kept.place
        question = self._question(kept)
        published = Published((partition, offset), cluster_id, kept.similarity is None, kept.similarity or 1.0, "")
        is_ours = question is not None and question.namespace == namespace
        return Member(published, topic_of(kept.place[0]), question if is_ours else None)

    def _question(self, kept: KeptMember) -> Question | None:
        topic, partition, offset = kept.place
        if self._lookup is None:
            consumer = self._opened.enter_context(open_reader(self._settings, isolation="read_uncommitted"))
            self._partitions = {one.partition for one in partitions_of(consumer, self._settings.kafka.input_topic)}
            self._lookup = RecordLookup(consumer)
        if topic_of(topic) != self._settings.kafka.input_topic or partition not in self._partitions:
            return None
        record = self._lookup.find(topic_of(topic), partition, offset)
        # A topic that was made anew, or cut short, has another record there.
        if record is None or not kept.is_of(fingerprint(record)):
            return None
        try:
            return self._decoder.decode(record)
        except BadRecord:
            # The settings of input say something else now than when it was decided.
            return None
