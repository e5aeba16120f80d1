"""The guards of the product, each as a mutant: the source with that one guard taken out.

A guard is a condition. Every `if` and `elseif` of the Lua scripts and every `if` of the Python files below is one, and
is taken to be false; guards of another form are listed by their text. A mutant that no test can distinguish from the
product is in EQUIVALENT, with its reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LUA = "src/questream/store/redis/lua"
PYTHON = (
    "src/questream/stream/decider.py",
    "src/questream/stream/publishing.py",
    "src/questream/stream/housekeeping.py",
    "src/questream/stream/intake.py",
    "src/questream/stream/recall.py",
    "src/questream/stream/positions.py",
    "src/questream/stream/fence.py",
    "src/questream/stream/levels.py",
    "src/questream/stream/operations.py",
    "src/questream/stream/session.py",
    "src/questream/deciding/clusterer.py",
    "src/questream/deciding/merging.py",
    "src/questream/deciding/mirrors.py",
    "src/questream/deciding/namespaces.py",
    "src/questream/deciding/recorded.py",
    "src/questream/deciding/turns.py",
    "src/questream/stream/backlog.py",
    "src/questream/migration/deleting.py",
    "src/questream/migration/held.py",
    "src/questream/migration/moving.py",
    "src/questream/recovery/cluster_topic.py",
    "src/questream/recovery/home.py",
    "src/questream/recovery/lease.py",
    "src/questream/recovery/operation_topic.py",
    "src/questream/recovery/restoring.py",
    "src/questream/recovery/recover.py",
    "src/questream/recovery/verifying.py",
    "src/questream/recovery/verifying_operations.py",
    "src/questream/broker/sessions.py",
    "src/questream/watch/detection.py",
    "src/questream/watch/watcher.py",
    "src/questream/broker/confluent/consumer.py",
    "src/questream/broker/confluent/producer.py",
    "src/questream/broker/kafka_python/consumer.py",
    "src/questream/broker/kafka_python/producer.py",
)

# What is expected to catch a mutant, by its file: the quick ones first.
# A suite is a line of pytest's arguments. Of the forms that Redis has, a script is the same in each.
_CONTRACT = "tests/contract -k redis --ignore tests/contract/test_machine.py"
_MACHINE = "tests/contract/test_machine.py"
_OPERATIONS = (
    "tests/contract/test_store_operations.py tests/contract/test_store_rules.py tests/contract/test_store_forget.py"
    " tests/contract/test_store_parting.py tests/contract/test_store_intents.py tests/contract/test_level_names.py"
    " tests/contract/test_level_decisions.py tests/contract/test_redis_operations.py -k redis"
)
_LEVELS = (
    "tests/contract/test_levels.py tests/contract/test_level_names.py tests/contract/test_level_decisions.py -k redis"
)
_NAMES = "tests/contract/test_store_names.py -k redis"
_STORE = (_CONTRACT, _MACHINE, "tests/fault/test_store_damage.py", "tests/fault/test_store_loss.py")
_STREAM = (
    "tests/unit/test_backlog.py",
    "tests/unit/test_commit_protocol.py",
    "tests/integration/test_worker.py",
    "tests/fault/test_late_word.py",
    "tests/fault/test_rebalance.py",
    "tests/fault/test_zombie.py",
    *_STORE[1:],
)
_LEVEL_RUNS = ("tests/unit/test_level_runs.py", "tests/integration/test_levels.py")
_RECOVERY = (
    "tests/unit/test_published.py tests/contract/test_redis_homes.py",
    "tests/contract/test_recovery_lease.py -k redis",
    "tests/integration/test_cluster_topic.py",
    "tests/integration/test_cli_recovery.py",
    "tests/fault/test_recovery_lease.py",
    "tests/fault/test_two_stores.py",
    "tests/fault/test_store_loss.py",
    "tests/fault/test_late_word.py",
)


def _adapter(name: str) -> tuple[str, ...]:
    return (
        f"tests/contract/test_broker.py -k '{name}'",
        f"tests/contract/test_publisher.py -k '{name}'",
        f"tests/integration/test_least_privilege.py -k 'may_not_be_seen and {name}'",
        f"tests/integration/test_worker.py -k '{name}'",
        f"tests/fault/test_zombie.py -k '{name}'",
        f"tests/fault/test_rebalance.py -k '{name}'",
    )


SUITES: dict[str, tuple[str, ...]] = {
    # Which commands a user lacks is asked of a server with such users.
    f"{LUA}/rights.lua": ("tests/integration/test_least_privilege.py",),
    **{
        f"{LUA}/{script}.lua": (_OPERATIONS, *_STORE)
        for script in ("operate", "claim_operations", "confirm_operations", "operations_wait", "restore_operations")
    },
    **{f"{LUA}/{script}.lua": (_LEVELS, *_STORE) for script in ("write_levels", "lease_levels", "restore_levels")},
    f"{LUA}/write_names.lua": (_NAMES, *_STORE),
    f"{LUA}/count_sentences.lua": ("tests/contract/test_store_sentences.py -k redis", *_STORE),
    f"{LUA}/note_settings.lua": ("tests/integration/test_settings_in_use.py",),
    LUA: (*_STORE, "tests/fault/test_migration.py", "tests/fault/test_disorder.py"),
    "src/questream/stream/levels.py": _LEVEL_RUNS,
    "src/questream/stream/operations.py": (
        "tests/integration/test_operation_topic.py",
        "tests/fault/test_corrections.py",
    ),
    "src/questream/recovery/operation_topic.py": ("tests/integration/test_operation_topic.py",),
    # What waits beside decisions: operations and levels.
    **{
        f"src/questream/stream/{step}.py": (
            "tests/unit/test_publishing.py tests/unit/test_bounded.py",
            "tests/integration/test_operation_topic.py",
            *_STREAM,
        )
        for step in ("publishing", "housekeeping")
    },
    "src/questream/stream/intake.py": (
        "tests/unit/test_intake.py tests/unit/test_intake_offsets.py tests/unit/test_polling.py",
        "tests/integration/test_positions.py tests/integration/test_held_namespace.py",
        *_STREAM,
    ),
    "src/questream/stream/recall.py": ("tests/unit/test_recall.py", "tests/fault/test_record_identity.py", *_STREAM),
    "src/questream/stream/positions.py": (
        "tests/unit/test_positions.py",
        "tests/integration/test_positions.py tests/fault/test_first_offset.py",
        *_STREAM,
    ),
    "src/questream/stream/fence.py": ("tests/unit/test_fence.py", *_STREAM),
    "src/questream/stream/decider.py": ("tests/unit/test_steps.py", *_STREAM),
    "src/questream/stream/session.py": ("tests/unit/test_session.py", *_STREAM),
    "src/questream/stream": _STREAM,
    "src/questream/deciding": (
        "tests/unit/test_deciding.py tests/unit/test_namespaces.py tests/unit/test_turns.py tests/unit/test_steps.py"
        " tests/unit/test_judge.py tests/unit/test_rules_in_force.py tests/unit/test_prepared_namespaces.py",
        "tests/unit/test_library.py tests/unit/test_bounded.py tests/unit/test_admission.py",
        "tests/unit/test_commit_protocol.py",
        "tests/integration/test_worker.py",
        *_STORE[1:],
    ),
    "src/questream/migration/deleting.py": (
        "tests/unit/test_deleting.py",
        "tests/integration/test_delete_namespace.py",
    ),
    "src/questream/migration": (
        "tests/unit/test_moving.py tests/unit/test_exemplars_migrated.py",
        "tests/integration/test_held.py",
        "tests/fault/test_migration.py",
        "tests/integration/test_cli_migrate.py",
    ),
    "src/questream/recovery/restoring.py": (
        "tests/unit/test_restoring.py tests/unit/test_kept_members.py",
        *_RECOVERY,
    ),
    "src/questream/recovery/recover.py": ("tests/unit/test_recovering.py", *_RECOVERY),
    "src/questream/recovery/verifying": ("tests/unit/test_verifying.py", "tests/integration/test_cli_recovery.py"),
    "src/questream/recovery": _RECOVERY,
    "src/questream/watch": (
        "tests/unit/test_detection.py tests/unit/test_watcher.py",
        "tests/integration/test_events_run.py",
        "tests/integration/test_cli_events.py",
        "tests/integration/test_suggested_events.py",
    ),
    "src/questream/broker/confluent": (
        "tests/unit/test_confluent_producer.py tests/unit/test_confluent_consumer.py",
        *_adapter("confluent"),
    ),
    "src/questream/broker/kafka_python": ("tests/unit/test_kafka_python_clients.py", *_adapter("not confluent")),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard taken out of `file`: the text from `start` to `end` becomes `put`. `name` is the same in every run."""

    name: str
    file: str
    start: int
    end: int
    put: str

    def applied(self, source: str) -> str:
        """The source without the guard."""
        return source[: self.start] + self.put + source[self.end :]

    @property
    def suites(self) -> tuple[str, ...]:
        """The test files and folders that may catch it, in their order."""
        return next(suites for folder, suites in SUITES.items() if self.file.startswith(folder))


# File, text, its replacement: guards that are no `if` of their own.
LISTED = (
    (f"{LUA}/prelude.lua", "return run_id .. '.' .. replid", "return run_id"),
    (f"{LUA}/prelude.lua", "return run_id .. '.' .. replid", "return replid"),
    (f"{LUA}/prelude.lua", "string.match(token, '^([^:]+):') == this_process() and token", "token"),
    (f"{LUA}/commit.lua", "replayed = replayed or first <= head", "replayed = replayed or false"),
    (f"{LUA}/commit.lua", "turns.finish()", ""),
    (f"{LUA}/commit.lua", "turns.finish()\n\nlocal log", "\nlocal log"),
    (f"{LUA}/writing.lua", "waiting[1] ~= nil and mine ~= 1", "false"),
    (f"{LUA}/writing.lua", " and waiting[mine][3] == ''", ""),
    (f"{LUA}/commit.lua", "seq ~= batch.seq or touch[1] < next_id", "touch[1] < next_id"),
    (f"{LUA}/commit.lua", "seq ~= batch.seq or touch[1] < next_id", "seq ~= batch.seq"),
    (f"{LUA}/commit.lua", "batch.mean and batch.mean[1] ~= tonumber(meta[3])", "false"),
    (f"{LUA}/commit.lua", " and tonumber(members) ~= expected_members)", " and false)"),
    (f"{LUA}/merge.lua", "loser_members ~= lost_members or ", ""),
    (f"{LUA}/merge.lua", "survivor_members ~= kept_members or ", ""),
    (f"{LUA}/merge.lua", " or refused[proposed_survivor]\n    or refused[proposed_loser]", ""),
    (f"{LUA}/recover.lua", "current_store_epoch(meta_key) or ", ""),
    (f"{LUA}/recover.lua", " or current(meta_key, 'settling') ~= request.token", ""),
    (f"{LUA}/restore.lua", "current_store_epoch(meta_key) or ", ""),
    (f"{LUA}/restore.lua", " or current(meta_key, 'settling') ~= token", ""),
    (f"{LUA}/restore.lua", " or (tonumber(known) or -1) < cluster.revision", ""),
    (f"{LUA}/restore.lua", "(tonumber(known) or -1) < cluster.revision", "true"),
    (f"{LUA}/retire.lua", ' and seen and tonumber(seen) <= batch["until"]', " and seen"),
    (f"{LUA}/retire.lua", " and (is_alias or not is_ruled)", ""),
    ("src/questream/stream/publishing.py", "membership, lambda: self._verify(relay_batches)", "membership, bool"),
    ("src/questream/stream/intake.py", "self._backlog.begun and not self._assignment.has_changed",
     "not self._assignment.has_changed"),
    ("src/questream/stream/intake.py", "self._backlog.begun and not self._assignment.has_changed",
     "self._backlog.begun"),
    ("src/questream/stream/intake.py", " and self._backlog.assignment_id == assignment_id", ""),
    ("src/questream/stream/intake.py", "self._recall.clear()", ""),
    ("src/questream/stream/intake.py", "self._consumer.seek(partition, question.record.source.offset)", ""),
    ("src/questream/stream/recall.py", " or is_known", ""),
    ("src/questream/stream/recall.py", "source.offset > ledger.head or is_known", "is_known"),
    ("src/questream/stream/recall.py", "self._require_unpublished(source)\n", "\n"),
    ("src/questream/stream/recall.py", "self._gaps_known.discard(at)", ""),
    ("src/questream/stream/recall.py", " and time.monotonic() < until", ""),
    ("src/questream/stream/recall.py", "fresh=source.offset > ledger.head", "fresh=True"),
    ("src/questream/stream/positions.py", "self._taken.get(partition) == ", ""),
    ("src/questream/stream/positions.py", "max(offset, self._done.get(partition, -1))", "offset"),
    ("src/questream/stream/positions.py", "self._begin_at == \"earliest\" or ", ""),
    ("src/questream/stream/positions.py", " or self._has_committed_others(new)", ""),
    ("src/questream/stream/positions.py", "start - (partition in self._last)", "start"),
    ("src/questream/migration/held.py", "publisher.publish(records, {}, None, require_hold)",
     "publisher.publish(records, {}, None, lambda: None)"),
    ("src/questream/recovery/cluster_topic.py",
     "(whole.generation, whole.revision) >= (known.generation, known.revision)", "True"),
    ("src/questream/recovery/cluster_topic.py", "whole is not published.whole", "False"),
    ("src/questream/recovery/cluster_topic.py", "known.revision <= state.revision", "True"),
    ("src/questream/recovery/cluster_topic.py", "state.revision >= revisions[cluster_id]", "True"),
    ("src/questream/recovery/cluster_topic.py", "max(revision, newest)", "revision"),
    ("src/questream/recovery/cluster_topic.py", "outdated=revision < newest", "outdated=False"),
)  # fmt: skip

# Mutants that behave as the product does, and why.
EQUIVALENT: dict[str, str] = {
    "store/redis/lua/commit.lua: if not known and #joined[slot] == 1 -> false": (
        "the same text, written by the JSON encoder"
    ),
    **{
        f"store/redis/lua/writing.lua: if {condition} -> false": "the short way to what the lines behind it make, too"
        for condition in (
            "place and known ~= '' and most == 3 and not string.find(known, place, 1, true)",
            "last and sign * similarity_of(later) <= sign * similarity_of(last)",
        )
    },
    "store/redis/lua/writing.lua: if log.entries == 0 (2) -> false": (
        "what moved nothing writes the seq again, and the count that was found to be right before"
    ),
    "deciding/merging.py: if not reply.apart -> False": (
        "another look, which finds nothing: merges that follow from merges are proposed together, and who overtook one"
        " scores what it moved"
    ),
    **{
        f"stream/{step}.py: if recourse_of(error) is not Recourse.{recourse} -> False": (
            "the table that is asked says so of the one error that is caught there"
        )
        for step, recourse in (
            ("decider", "DROP"),
            ("intake", "DROP"),
            ("publishing", "DROP"),
            ("publishing", "DEAD_LETTER"),
        )
    },
}


def all_mutants(root: Path) -> list[Mutant]:
    """Every guard below `root`, taken out one at a time. Raises ValueError where a listed text is not there."""
    files = [path.relative_to(root).as_posix() for path in sorted((root / LUA).glob("*.lua"))]
    mutants = [mutant for file in files for mutant in _lua_conditions(file, (root / file).read_text())]
    mutants += [mutant for file in PYTHON for mutant in _python_conditions(file, (root / file).read_text())]
    for file, text, put in LISTED:
        source = (root / file).read_text()
        if text not in source:
            raise ValueError(f"{file} has no guard {text!r} any more: mend LISTED in tests/kit/mutants/guards.py")
        start = source.index(text)
        mutants.append(Mutant(f"{_short(file)}: {_one_line(text)} -> {put!r}", file, start, start + len(text), put))
    return mutants


def _lua_conditions(file: str, source: str) -> Iterator[Mutant]:
    for found in re.finditer(r"\b(?:if|elseif) (.+?) then\b", source):
        line_start = source.rfind("\n", 0, found.start()) + 1
        if "--" not in source[line_start : found.start()]:
            yield _mutant(file, source, found.start(1), found.end(1), "false")


def _python_conditions(file: str, source: str) -> Iterator[Mutant]:
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and node.test.end_lineno and node.test.end_col_offset:
            test = node.test
            start = starts[test.lineno - 1] + test.col_offset
            yield _mutant(file, source, start, starts[node.test.end_lineno - 1] + node.test.end_col_offset, "False")


def _mutant(file: str, source: str, start: int, end: int, put: str) -> Mutant:
    text = _one_line(source[start:end])
    count = source[:start].count(source[start:end])
    nth = f" ({count + 1})" if count else ""
    return Mutant(f"{_short(file)}: if {text}{nth} -> {put}", file, start, end, put)


def _short(file: str) -> str:
    return file.removeprefix("src/questream/")


def _one_line(text: str) -> str:
    return " ".join(text.split())
