"""Every key of questream in Redis: its pattern, its type, what it holds, which scripts write it, and what deletes it.

All keys of a namespace live in one slot: the braces are Redis Cluster's hash tag. No key has a time to live but what a
retired cluster leaves, and nothing outside this table is read or written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# The keys that a namespace has one of.
Name = Literal[
    "meta",
    "log",
    "idle",
    "singletons",
    "aliases",
    "outbox",
    "operations",
    "operation_ids",
    "remains",
    "levels",
    "names",
    "sentences",
    "rights",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """Keys of one meaning. `holds` has a hash's fields, or says what the members of another type are."""

    pattern: str
    type: Literal["hash", "stream", "zset", "list", "set"]
    holds: str
    written_by: str
    deleted_by: str


KINDS = (
    Kind(
        "PREFIX:namespaces",
        "set",
        "the name of every namespace",
        "admit; commands of open and recover",
        "a command, where it is of another type: each namespace that is opened is restored",
    ),
    Kind(
        "PREFIX:streams",
        "hash",
        "name of a topic in the ledgers: identity of the stream (Kafka cluster, topic id, group)",
        "stream",
        "stream, where it is of another type",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:meta",
        "hash",
        "model revision dimension similarity linkage threshold layout input_topic cluster_topic prepared_by:"
        " what it is built with; seq: the log's head; next: the next cluster's number; mean_questions"
        " mean_sum: the stream's mean; live live_seq: the index's size at that seq; generation: moves to"
        " another model; incarnation: the current store epoch; levels_epoch: the last that a release which knows"
        " levels began; settling: the token of a recovery; settler: its lease; held_until: the end of a move to another"
        " model; reserved: the token of a recovery that a release before waits for until then (end_store_epoch.lua);"
        " outdated_count outdated: see verify_before_commit.lua;"
        " line: see open_turns of writing.lua; head:TOPIC/PARTITION: store epoch and where"
        " its ledger ends; settings: those that its workers run by;"
        " operation_count: the number of the last operation; operation_kept: number and id of the last that was"
        " written, without which operations are lost; operation_lengths: that number, and how many fields operations"
        " and operation_ids had then; operations_published operation_epoch operation_claim: see"
        " claim_operations.lua; constrained: the seq at which exemplars, thresholds or rules last changed; rules:"
        " number of the operation that set them, and JSON (store/rules_text.py); home moved: see recovery/home.py. Of a"
        " deleted namespace next, operation_count and home are left",
        "open commit cut_ledger merge retire operate restore confirm verify_before_commit end_store_epoch"
        " begin_recovery hold lease recover take_home note_settings claim_operations restore_operations"
        " confirm_operations delete; commands of a move to another Redis",
        "open, or a command, where it is of another type",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:log",
        "stream",
        "an entry SEQ-N for each change of a commit: moved members sum | removed | mean sum, rules where people"
        " set them, and a version where it is not the first",
        "commit merge retire operate; trimmed by them to clusters.log_entries, and by commands of a worker to"
        " clusters.log_bytes of all namespaces",
        "recover: all mirrors are void by then",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:idle",
        "zset",
        "id of each live cluster, by the time it was last seen",
        "commit merge operate retire restore mend",
        "restore, mend and recover, where it is of another type",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:singletons",
        "zset",
        "id of each live cluster of one question, by the time it was seen",
        "commit merge operate retire restore mend",
        "restore and mend, where it is of another type",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:aliases",
        "zset",
        "id of each cluster that was merged away, by the survivor's time then",
        "merge operate retire restore mend",
        "restore and mend, where it is of another type",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:outbox",
        "zset",
        "id of each cluster with a state to publish, 0 for the namespace, by the time since when",
        "commit merge label operate retire confirm verify_before_commit restore recover",
        "restore and recover, where it is of another type",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:cluster:ID",
        "hash",
        "members sum: the centroid, none of a merged or retired one; size revision created seen"
        " representative label route; labelled: the revision at which it was named; joins absorbed: what it"
        " counts that may not be published; merged_into: the survivor's id; remains: its entry there; forgotten: the"
        " operation that has erased its texts since; ruled exemplars: see operate.lua; kept:"
        " references to a few of its questions (clustering/kept_members.py); represented: the question"
        " that people chose for it, in the place of `representative`; retired:"
        " it is a stub; outdated: see verify_before_commit.lua",
        "commit merge label operate retire confirm verify_before_commit restore",
        "restore, of one that the cluster topic knows to be retired; ten minutes after its tombstone was published",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:ledger:TOPIC:PARTITION",
        "list",
        "an entry for each commit, oldest first: store/ledger.py",
        "commit cut_ledger recover; pruned by commit below the committed offset",
        "cut_ledger, and recover where it cannot be read",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:operations",
        "hash",
        "NUMBER: time and JSON of an operation (store/operation_text.py), the last 1000; undone:NUMBER: the"
        " number of the operation that undid it",
        "operate restore_operations",
        "restore_operations, where it is of another type",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:operation_ids",
        "hash",
        "ID: the number of the operation that had it first",
        "operate restore_operations",
        "restore_operations, where it is of another type",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:remains",
        "stream",
        "an entry for each of the last 1000 merges: what the cluster was that is an alias now, and for each cluster"
        " that gave up a part of what it was (parted), see writing.lua",
        "merge operate; trimmed by them to clusters.undo_seconds",
        "merge and each recovery, where it is of another type",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:levels",
        "hash",
        "levels: JSON of the intents and topics that a run found (store/levels_text.py); version: its number;"
        " opened: how many clusters had been opened by then; published: the last version that the cluster topic has;"
        " named: the number of the last operation that named any, and JSON of what people named; heeded: the version"
        " that heeds what people decided of levels; ruled: the resolutions that people set, by which it was found;"
        " lease: who finds or publishes them, until when",
        "lease_levels write_levels confirm_levels restore_levels operate",
        "a command of a recovery, where it cannot be read",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:names",
        "hash",
        "ID: JSON of the name that a language model made for a cluster (store/names_text.py); changes: a number that"
        " grows with each",
        "write_names operate",
        "write_names and operate, where it is of another type",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:sentences",
        "hash",
        "DIGEST: how many mails have that sentence, of at most 1024 sentences (preparing/repeated.py); mails: of so"
        " many",
        "count_sentences",
        "count_sentences, which writes all of it anew",
    ),
    Kind(
        "PREFIX:{NAMESPACE}:rights",
        "hash",
        "nothing: commands are tried on it",
        "rights",
        "rights, within the same script",
    ),
)


class Keys:
    """The names of the keys in KINDS for one prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.namespaces = f"{prefix}:namespaces"
        self.streams = f"{prefix}:streams"

    def of(self, namespace: str, name: Name) -> str:
        """A key that the namespace has one of."""
        return self.named(namespace, name)

    def cluster(self, namespace: str, cluster_id: int) -> str:
        """The hash of a cluster."""
        return self.named(namespace, f"cluster:{cluster_id}")

    def ledger(self, namespace: str, topic: str, partition: int) -> str:
        """The ledger of a partition."""
        return self.named(namespace, f"ledger:{topic}:{partition}")

    def named(self, namespace: str, name: str) -> str:
        """A key, or a pattern of keys, by its part after the namespace, for callers that need all of a kind."""
        return f"{self._prefix}:{{{namespace}}}:{name}"
