"""The commands that look at clusters and steer them, on Redis itself."""

from __future__ import annotations

import csv
import io
import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from questream import LevelRules, QuestionClusterer
from questream.clustering.levels import Node
from questream.deciding.level_runs import kept_nodes, regroup_levels
from questream.encoder import Encoder
from questream.errors import ExitCode
from questream.settings import RedisSettings
from questream.store.redis.client import connect_redis
from questream.store.redis.store import RedisStore
from tests.kit.command import questream
from tests.kit.servers import RedisCluster, RedisSentinel

DIMENSION = 8
SUBJECTS = 6
CLUSTERS_OF_EACH = 5


def store_at(**settings: object) -> RedisStore:
    return RedisStore(connect_redis(RedisSettings.model_validate(settings)))


def fill(store: RedisStore, namespace: str = "default") -> None:
    """Three clusters: c1 of three questions, c2 of two, c3 of one."""
    clusterer = QuestionClusterer(
        dimension=DIMENSION, threshold=0.9, similarity="cosine", namespace=namespace, store=store
    )
    clusterer.assign(np.eye(DIMENSION, dtype=np.float32)[[0, 0, 1, 0, 2, 1]])


def fill_subjects(store: RedisStore, more: int = 0) -> None:
    """Clusters c1, c2 and so on of the subjects in turn, near to those of their own; the last is asked of more.

    Or `more` of each subject, one at most.
    """
    count = SUBJECTS * CLUSTERS_OF_EACH
    rows = np.zeros((count + SUBJECTS, 2 * SUBJECTS + count), np.float32)
    for row in range(len(rows)):
        rows[row, [row % SUBJECTS, SUBJECTS + row]] = np.sqrt([0.6, 0.4])
    clusterer = QuestionClusterer(dimension=rows.shape[1], threshold=0.9, similarity="cosine", store=store)
    clusterer.assign(rows[count:] if more else np.concatenate([rows[:count], rows[[SUBJECTS - 1] * 2]]))


def find_levels(store: RedisStore) -> None:
    """As a worker does where they are due."""
    stored, mirror = store.levels("default"), store.load("default")
    states = list(store.summaries("default"))
    sizes = {state.cluster_id: state.size for state in states}
    found, _ = regroup_levels(mirror, sizes, stored, LevelRules(), kept_nodes(states))
    assert store.write_levels("default", mirror.store_epoch, found)


@pytest.fixture
def filled(redis_url: str) -> str:
    """URL of a Redis with three clusters in namespace `default`."""
    fill(store_at(url=redis_url))
    return redis_url


def test_the_biggest_clusters_come_first(filled: str) -> None:
    outcome = questream("clusters", "list", "--json", f"--redis.url={filled}")
    assert outcome.code == 0
    assert [(row["cluster_id"], row["size"]) for row in outcome.json_lines] == [("c1", 3), ("c2", 2), ("c3", 1)]
    limited = questream("clusters", "list", "--json", "--limit", "2", f"--redis.url={filled}")
    assert [row["cluster_id"] for row in limited.json_lines] == ["c1", "c2"]


def test_the_list_is_a_table_for_people(filled: str) -> None:
    lines = questream("clusters", "list", f"--redis.url={filled}").out.splitlines()
    assert lines[0].split() == ["cluster", "size", "status", "name", "label", "route", "last", "seen", "question"]
    assert lines[1].split()[:3] == ["c1", "3", "open"]
    for command in ("pin", "mute", "resolve"):
        questream("clusters", command, "c1", f"--redis.url={filled}")
    assert "  resolved, muted, pinned  " in questream("clusters", "list", f"--redis.url={filled}").out


def test_the_list_is_sorted_searched_and_paged(filled: str) -> None:
    def listed(*arguments: str) -> list[str]:
        outcome = questream("clusters", "list", "--json", *arguments, f"--redis.url={filled}")
        assert outcome.code == 0, outcome.err
        return [row["cluster_id"] for row in outcome.json_lines]

    questream("clusters", "label", "c1", "--label", "Card Arrival", f"--redis.url={filled}")
    assert listed("--sort", "unlabelled") == ["c2", "c3", "c1"]
    assert listed("--sort", "growth") == ["c1", "c2", "c3"]
    assert listed("--search", "card a") == ["c1"]
    assert [listed("--limit", "2", "--page", page) for page in ("1", "2", "3")] == [["c1", "c2"], ["c3"], []]
    assert sorted(listed("--since", "1h")) == ["c1", "c2", "c3"]
    assert listed("--since", "2999-01-01T00:00:00Z") == []
    refused = questream("clusters", "list", "--since", "yesterday", f"--redis.url={filled}")
    assert (refused.code, "--since takes a time span" in refused.err) == (ExitCode.USAGE, True)
    far = questream("clusters", "list", "--page", "1000000", f"--redis.url={filled}")
    assert (far.code, "a list ends after 100,000" in far.err) == (ExitCode.FAILED, True)


def test_intents_and_topics_are_listed_and_shown_with_their_clusters(redis_url: str) -> None:
    def run(*arguments: str) -> list[dict[str, Any]]:
        outcome = questream("clusters", *arguments, "--json", f"--redis.url={redis_url}")
        assert outcome.code == 0, outcome.err
        return outcome.json_lines

    store = store_at(url=redis_url)
    fill_subjects(store)
    early = questream("clusters", "list", "--level", "intent", f"--redis.url={redis_url}")
    assert (early.code, "no worker has found intents" in early.err) == (ExitCode.FAILED, True)
    find_levels(store)
    rows = run("list", "--level", "intent")
    assert [row["clusters"] for row in rows] == [
        [f"c{first + SUBJECTS * at}" for at in range(CLUSTERS_OF_EACH)] for first in (SUBJECTS, *range(1, SUBJECTS))
    ]
    assert run("list", "--level", "intent", "--limit", "2", "--page", "2") == rows[2:4]
    levels = store.levels("default").levels
    assert [row["id"] for row in rows] == [str(levels.path(int(row["clusters"][0][1:]))[1]) for row in rows]
    topics = run("list", "--level", "topic")
    assert sorted(intent for topic in topics for intent in topic["intents"]) == sorted(row["id"] for row in rows)
    (shown,) = run("show", rows[0]["id"])
    leaves = shown.pop("leaves")
    assert shown == rows[0]
    assert [leaf["cluster_id"] for leaf in leaves] == shown["clusters"]
    assert sum(leaf["size"] for leaf in leaves) == shown["size"] == CLUSTERS_OF_EACH + 2
    lines = questream("clusters", "list", "--level", "topic", f"--redis.url={redis_url}").out.splitlines()
    assert lines[0].split() == ["topic", "intents", "clusters", "size", "name", "label", "route", "question"]
    table = questream("clusters", "show", rows[0]["id"], f"--redis.url={redis_url}").out
    assert all(leaf["cluster_id"] in table for leaf in leaves)
    first, intent = leaves[0]["cluster_id"], rows[0]["id"]
    named = questream("clusters", "label", intent, "--label", "cards", "--route", "desk", f"--redis.url={redis_url}")
    assert named.code == 0, named.err
    (cluster,) = run("show", first)
    assert (cluster["label"], cluster["path"]) == (None, [rows[0]["topic_id"], intent, first])
    assert cluster["inherited"] == {"label": "cards", "route": "desk"}
    topic = rows[0]["topic_id"]
    topic_name = next(row["name"] for row in topics if row["id"] == topic)
    assert [(one["id"], one["name"]) for one in cluster["levels"]] == [
        (intent, "cards"),
        *([] if topic == intent else [(topic, topic_name)]),
    ]
    told = questream("clusters", "show", first, f"--redis.url={redis_url}").out.splitlines()
    assert [line.split() for line in told if line.startswith(("intent", "label inherited"))] == [
        ["intent", intent, "cards"],
        ["label", "inherited", "cards"],
    ]
    brief = questream("clusters", "show", intent, "--limit", "2", f"--redis.url={redis_url}")
    assert [leaf["cluster_id"] in brief.out for leaf in leaves[1:]] == [True, False, False, False]
    assert brief.err == "3 more clusters; --limit shows more\n"
    as_cluster = questream("clusters", "resolve", intent, f"--redis.url={redis_url}")
    assert (as_cluster.code, f"{intent} is an intent" in as_cluster.err) == (ExitCode.USAGE, True)
    nowhere = questream("clusters", "show", "i999", f"--redis.url={redis_url}")
    assert (nowhere.code, "there is no intent i999" in nowhere.err) == (ExitCode.FAILED, True)
    for refused in (("show", "i0"), ("list", "--level", "intent", "--search", "card")):
        assert questream("clusters", *refused, f"--redis.url={redis_url}").code == ExitCode.USAGE


def test_an_operation_that_changes_many_clusters_alike_is_a_few_lines(redis_url: str) -> None:
    store = store_at(url=redis_url)
    fill_subjects(store)
    find_levels(store)
    paths = [store.levels("default").levels.path(number) for number in (1, 2)]
    one, other = (str(path[1]) for path in paths)
    merged = questream("clusters", "merge", one, other, f"--redis.url={redis_url}")
    assert merged.code == 0, merged.err
    lines = merged.out.splitlines()
    assert len(lines) <= 4, merged.out
    assert f"and {2 * CLUSTERS_OF_EACH - 4} more: label -, route - -> label -, route -, kept in " in lines[0]
    assert lines[1].endswith(f"and {CLUSTERS_OF_EACH - 4} more: in {other} -> in {one}")
    shown = questream("clusters", "history", f"--redis.url={redis_url}").out.splitlines()
    assert {one, other} == set(shown[1].split()[4:6])


def test_an_intent_that_is_no_more_leads_to_where_its_questions_are(redis_url: str) -> None:
    store = store_at(url=redis_url)
    fill_subjects(store)
    find_levels(store)
    stored = store.levels("default")
    intent = stored.levels.path(1)[1]
    ended = {Node(1, 901): Node(1, 900), Node(1, 900): intent, Node(1, 902): None}
    assert store.write_levels("default", store.store_epoch("default") or "", replace(stored, ended=ended))
    outcome = questream("clusters", "show", "i901", "--json", f"--redis.url={redis_url}")
    assert outcome.json["id"] == str(intent)
    assert f"most of its questions are in {intent}" in outcome.err
    gone = questream("clusters", "show", "i902", f"--redis.url={redis_url}")
    assert (gone.code, "there is no intent i902" in gone.err) == (ExitCode.FAILED, True)


def test_clusters_are_grouped_by_what_people_want(redis_url: str) -> None:
    fill_subjects(store_at(url=redis_url))
    questream("clusters", "label", "c4", "--label", "Refunds", f"--redis.url={redis_url}")
    outcome = questream("clusters", "intents", "--json", f"--redis.url={redis_url}")
    assert outcome.code == 0, outcome.err
    rows = outcome.json_lines
    # The subjects' clusters come in turn, and the last one's first cluster was asked about most.
    assert [row["clusters"] for row in rows] == [
        [f"c{first + SUBJECTS * at}" for at in range(CLUSTERS_OF_EACH)] for first in (SUBJECTS, *range(1, SUBJECTS))
    ]
    assert [row["size"] for row in rows] == [CLUSTERS_OF_EACH + 2, *[CLUSTERS_OF_EACH] * (SUBJECTS - 1)]
    assert [row["largest_cluster"] for row in rows] == [row["clusters"][0] for row in rows]
    assert [row["labels"] for row in rows] == [["Refunds"] if "c4" in row["clusters"] else [] for row in rows]
    first = {row["largest_cluster_of_topic"] for row in rows}
    assert first <= {row["largest_cluster"] for row in rows}
    limited = questream("clusters", "intents", "--json", "--limit", "2", f"--redis.url={redis_url}")
    assert limited.json_lines == rows[:2]
    table = questream("clusters", "intents", f"--redis.url={redis_url}").out.splitlines()
    assert table[1].split()[:6] == [
        "-",
        "of",
        rows[0]["largest_cluster_of_topic"],
        rows[0]["largest_cluster"],
        str(CLUSTERS_OF_EACH),
        str(CLUSTERS_OF_EACH + 2),
    ]


def test_intents_that_a_worker_has_found_keep_their_ids(redis_url: str) -> None:
    store = store_at(url=redis_url)
    fill_subjects(store)
    find_levels(store)
    rows = questream("clusters", "intents", "--json", f"--redis.url={redis_url}").json_lines
    assert sorted(row["intent_id"] for row in rows) == [f"i{number}" for number in range(1, SUBJECTS + 1)]
    assert {row["topic_id"][0] for row in rows} <= {"t", "i"}
    clusters = {row["intent_id"]: row["clusters"] for row in rows}
    # What was opened since is where its neighbours are, and the next run leaves all others where they were.
    fill_subjects(store, more=1)
    for _ in range(2):
        later = questream("clusters", "intents", "--json", f"--redis.url={redis_url}").json_lines
        assert {row["intent_id"]: row["clusters"][:-1] for row in later} == clusters
        find_levels(store)
    table = questream("clusters", "intents", f"--redis.url={redis_url}").out.splitlines()
    assert table[1].split()[0] == later[0]["intent_id"]


def test_clusters_without_near_ones_are_intents_of_their_own(filled: str) -> None:
    rows = questream("clusters", "intents", "--json", f"--redis.url={filled}").json_lines
    assert [(row["clusters"], row["size"], row["largest_cluster_of_topic"]) for row in rows] == [
        (["c1"], 3, "c1"),
        (["c2"], 2, "c2"),
        (["c3"], 1, "c3"),
    ]


def test_a_namespace_that_is_not_there_is_told_with_those_that_are(filled: str) -> None:
    outcome = questream("clusters", "list", "--namespace", "bank", f"--redis.url={filled}")
    assert outcome.code == ExitCode.FAILED
    assert outcome.err == "questream: there is no namespace 'bank'; there are: default\n"


def test_looking_at_clusters_opens_no_namespace(redis_url: str) -> None:
    for command in (
        ["list"],
        ["intents"],
        ["show", "c1"],
        ["export"],
        ["label", "c1", "--label", "x"],
        ["merge", "c1", "c2"],
    ):
        assert questream("clusters", *command, f"--redis.url={redis_url}").code == ExitCode.FAILED
    assert store_at(url=redis_url).namespaces() == []


def test_a_cluster_is_shown(filled: str) -> None:
    shown = questream("clusters", "show", "c2", "--json", f"--redis.url={filled}").json
    assert (shown["cluster_id"], shown["size"], shown["namespace"], shown["model"]) == ("c2", 2, "default", "vectors")
    assert shown["created_at"] <= shown["last_seen_at"]


def test_a_cluster_that_is_not_there_is_told(filled: str) -> None:
    for command in (["show", "c99"], ["label", "c99", "--label", "x"], ["merge", "c1", "c99"]):
        outcome = questream("clusters", *command, f"--redis.url={filled}")
        assert outcome.code == ExitCode.FAILED
        assert outcome.err == (
            "questream: there is no cluster c99 in namespace 'default'; the list of clusters has those that are there\n"
        )


def test_clusters_are_exported_as_json_lines_or_csv(filled: str, tmp_path: Path) -> None:
    lines = questream("clusters", "export", f"--redis.url={filled}").json_lines
    path = tmp_path / "clusters.csv"
    assert questream("clusters", "export", "-o", str(path), f"--redis.url={filled}").code == 0
    rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    assert [row["cluster_id"] for row in lines] == [row["cluster_id"] for row in rows] == ["c1", "c2", "c3"]
    assert list(rows[0]) == list(lines[0])
    printed = questream("clusters", "export", "--format", "csv", f"--redis.url={filled}").out
    assert [row["size"] for row in csv.DictReader(io.StringIO(printed))] == ["3", "2", "1"]


def test_an_export_that_cannot_be_written_is_told(filled: str, tmp_path: Path) -> None:
    outcome = questream("clusters", "export", "-o", str(tmp_path / "no" / "folder"), f"--redis.url={filled}")
    assert outcome.code == ExitCode.FAILED
    assert "cannot be written: No such file or directory" in outcome.err


def test_a_label_and_a_route_are_set_kept_and_removed(filled: str) -> None:
    def label(*arguments: str) -> tuple[str | None, str | None]:
        row = questream("clusters", "label", "c1", *arguments, "--json", f"--redis.url={filled}").json
        return row["label"], row["route"]

    assert label("--label", "card arrival", "--route", "cards") == ("card arrival", "cards")
    assert label("--label", "card delivery") == ("card delivery", "cards")
    assert label("--route", "") == ("card delivery", None)
    assert questream("clusters", "label", "c1", f"--redis.url={filled}").code == ExitCode.USAGE


def test_two_clusters_are_merged_by_an_operation(filled: str) -> None:
    previewed = questream("clusters", "merge", "c3", "c1", "--dry-run", "--json", f"--redis.url={filled}")
    assert (previewed.json["operation"], previewed.json["survivor"]) == (None, "c1")
    # Without Kafka nobody knows the questions.
    assert "effect" not in previewed.json
    assert "its effect on questions is not known" in previewed.err
    by_ann = ("--actor", "ann", "--reason", "same", "--id", "m1", "--json", f"--redis.url={filled}")
    outcome = questream("clusters", "merge", "c3", "c1", *by_ann)
    told = outcome.json
    assert (outcome.code, told["cluster_id"], told["merged"], told["size"]) == (0, "c1", "c3", 4)
    assert questream("clusters", "merge", "c3", "c1", *by_ann).json == told
    (operation,) = questream("clusters", "history", "c3", "--json", f"--redis.url={filled}").json_lines
    assert [operation[name] for name in ("kind", "actor", "reason", "survivor")] == ["merge", "ann", "same", "c1"]
    shown = questream("clusters", "show", "c3", "--json", f"--redis.url={filled}")
    assert shown.json["cluster_id"] == "c1"
    assert "c3 was merged into c1" in shown.err
    again = questream("clusters", "merge", "c1", "c3", f"--redis.url={filled}")
    assert (again.code, again.err) == (1, "questream: the two are one cluster already\n")
    parted = questream("clusters", "unmerge", "c3", "--actor", "bob", "--json", f"--redis.url={filled}").json
    assert [parted[name] for name in ("kind", "undoes", "parted")] == ["unmerge", operation["operation"], "c3"]
    sizes = [questream("clusters", "show", one, "--json", f"--redis.url={filled}").json["size"] for one in ("c1", "c3")]
    assert sum(sizes) == 4
    assert questream("undo", str(parted["operation"]), "--json", f"--redis.url={filled}").json["survivor"] == "c1"


def test_a_merge_names_the_label_that_it_would_drop_and_drops_it_only_when_told(filled: str) -> None:
    for cluster, label in (("c1", "card arrival"), ("c3", "card delivery")):
        questream("clusters", "label", cluster, "--label", label, f"--redis.url={filled}")
    refused = questream("clusters", "merge", "c3", "c1", f"--redis.url={filled}")
    assert refused.code == ExitCode.FAILED
    assert "c3 loses label card delivery, route -" in refused.err
    assert "--yes" in refused.err
    assert questream("clusters", "show", "c3", "--json", f"--redis.url={filled}").json["label"] == "card delivery"
    merged = questream("clusters", "merge", "c3", "c1", "--yes", "--json", f"--redis.url={filled}")
    assert [merged.json[name] for name in ("cluster_id", "merged", "size")] == ["c1", "c3", 4]
    assert questream("clusters", "show", "c3", "--json", f"--redis.url={filled}").json["label"] == "card arrival"


def test_a_label_cannot_steer_a_terminal(filled: str) -> None:
    questream("clusters", "label", "c1", "--label", "\x1b[2Jbold [red]move", f"--redis.url={filled}")
    out = questream("clusters", "list", f"--redis.url={filled}").out
    assert "\x1b" not in out
    assert "[2Jbold [red]move" in out


def test_clusters_are_found_behind_sentinel(redis_sentinel: RedisSentinel) -> None:
    where = {
        "mode": "sentinel",
        "sentinels": redis_sentinel.sentinels,
        "sentinel_service": redis_sentinel.service,
        "url": "redis://ignored/0",
    }
    fill(store_at(**where))
    flags = [f"--redis.{name}={','.join(value) if isinstance(value, list) else value}" for name, value in where.items()]
    assert len(questream("clusters", "list", "--json", *flags).json_lines) == 3


def test_clusters_are_found_in_a_redis_cluster(redis_cluster: RedisCluster) -> None:
    fill(store_at(mode="cluster", url=redis_cluster.url))
    flags = ["--redis.mode=cluster", f"--redis.url={redis_cluster.url}"]
    assert len(questream("clusters", "list", "--json", *flags).json_lines) == 3


def test_a_redis_cluster_that_is_down_is_told_in_one_line() -> None:
    outcome = questream("clusters", "list", "--redis.mode=cluster", "--redis.url=redis://127.0.0.1:1")
    assert outcome.code == ExitCode.UNREACHABLE
    assert outcome.err.startswith("questream: no node of the Redis Cluster answered")


QUESTIONS = [
    "Where is my card?",
    "My card has not arrived yet",
    "When will my card arrive?",
    "I forgot my PIN",
    "How do I reset my PIN?",
]


@pytest.fixture
def asked(redis_url: str, encoder: Encoder) -> str:
    """URL of a Redis with questions about cards and PINs, in clusters as wide as intents."""
    clusterer = QuestionClusterer(encoder, threshold=0.55, store=store_at(url=redis_url))
    clusterer.assign(QUESTIONS)
    return redis_url


def test_a_question_is_told_its_cluster_and_nothing_is_learned(asked: str, minilm: Path) -> None:
    before = questream("clusters", "export", f"--redis.url={asked}").out
    flags = [f"--redis.url={asked}", f"--model.name={minilm}", "--clusters.threshold=0.55"]
    outcome = questream("ask", "Where has my card got to?", "--json", *flags)
    assert outcome.code == 0, outcome.err
    answer = outcome.json
    assert answer["cluster"]["representative"] == QUESTIONS[0]
    assert answer["nearest"][0] == answer["cluster"]
    assert [row["similarity"] for row in answer["nearest"]] == sorted(
        (row["similarity"] for row in answer["nearest"]), reverse=True
    )
    assert questream("clusters", "export", f"--redis.url={asked}").out == before
    assert "It would join c1." in questream("ask", "Where has my card got to?", *flags).out
    mail = "Hello,\n\nWhere has my card got to?\n\nBest regards\nAnna Meyer\nPhone: +44 20 7946 0958"
    assert questream("ask", mail, "--json", *flags).json == answer


def test_a_question_unlike_all_others_would_open_a_cluster(asked: str, minilm: Path) -> None:
    flags = [f"--redis.url={asked}", f"--model.name={minilm}", "--clusters.granularity=duplicate"]
    outcome = questream("ask", "What is the capital of Mongolia?", *flags)
    assert outcome.code == 0
    assert "It would open a new cluster." in outcome.out


def test_asking_a_namespace_of_another_model_is_refused(filled: str, minilm: Path) -> None:
    outcome = questream("ask", "Why?", f"--redis.url={filled}", f"--model.name={minilm}")
    assert outcome.code == ExitCode.FAILED
    assert "was built with 'vectors'" in outcome.err


def test_asking_with_a_model_that_is_not_there_has_its_own_exit_code(filled: str, tmp_path: Path) -> None:
    outcome = questream("ask", "Why?", f"--redis.url={filled}", f"--model.name={tmp_path}/nowhere")
    assert outcome.code == ExitCode.MODEL
    assert len(outcome.err.splitlines()) == 1


def test_namespaces_keep_apart(redis_url: str) -> None:
    store = store_at(url=redis_url)
    names = [f"ns-{uuid.uuid4().hex[:6]}" for _ in range(2)]
    for name in names:
        fill(store, name)
    questream("clusters", "merge", "c1", "c2", "--namespace", names[0], f"--redis.url={redis_url}")
    sizes = [
        [
            json.loads(line)["size"]
            for line in questream(
                "clusters", "list", "--json", "--namespace", name, f"--redis.url={redis_url}"
            ).out.splitlines()
        ]
        for name in names
    ]
    assert sizes == [[5, 1], [3, 2, 1]]
