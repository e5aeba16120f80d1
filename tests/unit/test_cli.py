from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from questream.cli.app import COMMANDS as TREE
from questream.cli.app import command_tree
from questream.cli.options import ROOT_KEYS, expand_setting_flags
from questream.errors import (
    ExitCode,
    KafkaUnavailable,
    ModelError,
    QuestreamError,
    SettingsError,
    StoreRefused,
    policy_of,
)
from questream.settings import Settings, all_settings, load_settings
from tests.kit.command import questream

SECRET = "hunter2-open-sesame"
NOWHERE = "127.0.0.1:1"
HEAVY = ("torch", "transformers", "sentence_transformers", "sklearn", "scipy", "huggingface_hub", "tokenizers")


@pytest.fixture(autouse=True)
def _clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("QUESTREAM_"):
            monkeypatch.delenv(name)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "commands"):
            yield name, command
            return
        for part, inner in command.commands.items():
            yield from walk(f"{name} {part}", inner)

    yield from walk("questream", command_tree(*TREE))


COMMANDS = dict(commands())


def example(command: Any) -> str:
    found = re.search(r"^Example: (questream .+)$", command.help, re.MULTILINE)
    assert found, f"{command.name} has no example"
    return found[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_one_sentence_and_an_example_of_its_own(name: str) -> None:
    sentence = COMMANDS[name].help.split("\n\n")[0]
    assert sentence.endswith(".")
    assert ". " not in sentence
    assert example(COMMANDS[name]).startswith(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_every_command_parses(name: str) -> None:
    arguments = expand_setting_flags(shlex.split(example(COMMANDS[name]))[len(name.split()) :])
    COMMANDS[name].make_context(name, arguments)


@pytest.mark.parametrize("name", [name for name in COMMANDS if " bench " not in name])
def test_every_command_says_what_its_options_are_for(name: str) -> None:
    outcome = questream(*name.split()[1:], "--help")
    assert outcome.code == 0
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name} {parameter.name}"


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ("questream demo",) and " bench " not in n])
def test_every_command_takes_settings_from_a_file_and_from_flags(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"--config", "-c", "--set"} <= options


def test_help_shows_every_exit_code() -> None:
    outcome = questream("--help")
    assert outcome.code == 0
    for code in ExitCode:
        assert re.search(rf"\b{code.value}  {re.escape(code.meaning[:30])}", outcome.out), code


def test_version_is_printed() -> None:
    outcome = questream("--version")
    assert (outcome.code, outcome.err) == (0, "")
    assert re.fullmatch(r"questream \d+\.\d+\.\d+\S*\n", outcome.out)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QuestreamError("x"), 1),
        (SettingsError("x"), 2),
        (KafkaUnavailable("x"), 3),
        (StoreRefused("x"), 4),
        (ModelError("x"), 5),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: QuestreamError, code: int) -> None:
    assert policy_of(error).exit_code == code


@pytest.mark.parametrize(
    ("given", "expanded"),
    [
        (["run", "--kafka.group_id=g"], ["run", "--set", "kafka.group_id=g"]),
        (["run", "--kafka.group_id", "g", "-c", "x"], ["run", "--set", "kafka.group_id=g", "-c", "x"]),
        (["run", "--clusters.threshold="], ["run", "--set", "clusters.threshold="]),
        (["run", "--kafka.options.ssl_cafile=a=b"], ["run", "--set", "kafka.options.ssl_cafile=a=b"]),
        (["run", "--delivery", "at-least-once"], ["run", "--set", "delivery=at-least-once"]),
        (["ask", "--", "--kafka.group_id=g"], ["ask", "--", "--kafka.group_id=g"]),
        (["tail", "--max", "3", "a.b"], ["tail", "--max", "3", "a.b"]),
    ],
)
def test_a_flag_with_the_name_of_a_setting_sets_it(given: list[str], expanded: list[str]) -> None:
    assert expand_setting_flags(given) == expanded


def test_every_setting_outside_of_a_group_is_a_flag_too() -> None:
    assert set(ROOT_KEYS) == {setting.key for setting in all_settings() if not setting.group}


def test_a_flag_without_its_value_is_refused() -> None:
    outcome = questream("config", "--kafka.group_id")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "questream: --kafka.group_id needs a value\n"


def test_flags_go_before_the_file_in_a_command(tmp_path: Path) -> None:
    path = tmp_path / "given.toml"
    path.write_text('batch_questions = 7\n[kafka]\ngroup_id = "file"')
    shown = questream("config", "--json", "-c", str(path), "--kafka.group_id=flag").json
    assert (shown["batch_questions"], shown["kafka"]["group_id"]) == (7, "flag")


def test_config_prints_a_file_that_leads_to_the_same_settings(tmp_path: Path) -> None:
    given = [
        *("--clusters.threshold=0.25", "--redis.sentinels=a:1,b:2", "--kafka.options.request_timeout_ms=20000"),
        *("--input.namespace_header=tenant", "--set", "batch_questions=9"),
    ]
    printed = questream("config", *given)
    assert printed.code == 0
    path = tmp_path / "printed.toml"
    path.write_text(printed.out)
    again = load_settings(path)
    assert again.clusters.threshold == 0.25
    assert again.batch_questions == 9
    assert again.kafka.options == {"request_timeout_ms": "20000"}
    assert questream("config", "-c", str(path)).out == printed.out


def test_config_shows_what_an_unset_threshold_comes_to() -> None:
    assert "# threshold = 0.95, from granularity\n" in questream("config", "--clusters.granularity=duplicate").out


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_config_shows_no_secret(form: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUESTREAM_REDIS__URL", f"redis://me:{SECRET}@elsewhere:1/0")
    monkeypatch.setenv("QUESTREAM_KAFKA__SASL_PLAIN_PASSWORD", SECRET)
    outcome = questream("config", *form)
    assert outcome.code == 0
    assert SECRET not in outcome.out
    assert "redis://***@elsewhere:1/0" in outcome.out


def test_config_prints_a_template_with_every_default() -> None:
    outcome = questream("config", "--template")
    assert tomllib.loads(outcome.out)["kafka"]["group_id"] == Settings().kafka.group_id


def test_a_wrong_setting_ends_with_one_line_and_its_exit_code() -> None:
    outcome = questream("config", "--clusters.threshold=2")
    assert (outcome.code, outcome.out) == (ExitCode.USAGE, "")
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("questream: clusters.threshold (QUESTREAM_CLUSTERS__THRESHOLD) is '2'")


def test_wrong_usage_ends_with_its_exit_code() -> None:
    assert questream("tail", "--max", "0").code == ExitCode.USAGE
    assert questream("no-such-command").code == ExitCode.USAGE


@pytest.mark.parametrize(
    "arguments",
    [
        ["topics", "create"],
        ["tail", "--max", "1"],
        ["dead-letters", "list"],
        ["dead-letters", "replay"],
        ["clusters", "list"],
        ["clusters", "intents"],
        ["clusters", "show", "c1"],
        ["clusters", "export"],
        ["ask", "a question of somebody"],
    ],
    ids=" ".join,
)
def test_a_server_that_does_not_answer_ends_with_one_line_and_its_exit_code(arguments: list[str]) -> None:
    outcome = questream(
        *arguments,
        f"--kafka.bootstrap_servers={NOWHERE}",
        "--kafka.options.bootstrap_timeout_ms=300",
        f"--redis.url=redis://me:{SECRET}@{NOWHERE}/0",
    )
    assert outcome.code == ExitCode.UNREACHABLE, outcome.err
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert SECRET not in outcome.err
    assert "a question of somebody" not in outcome.err


def test_the_traceback_is_shown_at_debug_without_a_secret() -> None:
    outcome = questream("clusters", "list", f"--redis.url=redis://me:{SECRET}@{NOWHERE}/0", "--log.level=debug")
    assert outcome.code == ExitCode.UNREACHABLE
    assert "Traceback" in outcome.err
    assert SECRET not in outcome.err


def test_a_fault_of_questream_tells_its_kind_and_not_what_it_was_working_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr("questream.settings.load_settings", fail)
    outcome = questream("config")
    assert outcome.code == ExitCode.FAILED
    assert "ZeroDivisionError" in outcome.err
    assert SECRET not in outcome.err


def test_a_file_that_is_not_there_is_told_before_any_connection() -> None:
    outcome = questream("produce", "nowhere.txt", f"--kafka.bootstrap_servers={NOWHERE}")
    assert (outcome.code, outcome.err) == (1, "questream: nowhere.txt: No such file or directory\n")


@pytest.mark.parametrize("text", ["", "  ", "\u200b\n", "x" * 2_000_000], ids=["empty", "blank", "invisible", "long"])
def test_a_question_that_a_worker_would_refuse_is_refused_with_the_same_reason(text: str) -> None:
    outcome = questream("ask", text, f"--redis.url=redis://{NOWHERE}")
    assert outcome.code == 1
    reason = "text_too_long" if len(text) > 9 else "empty_text"
    assert re.fullmatch(rf"questream: a worker would refuse it: a question .*\({reason}\)\n", outcome.err)


def test_an_id_that_is_none_is_wrong_usage() -> None:
    outcome = questream("clusters", "merge", "c1", "17", f"--redis.url=redis://{NOWHERE}")
    assert outcome.code == ExitCode.USAGE
    assert "like c17" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["config"],
        ["clusters", "list", f"--redis.url=redis://{NOWHERE}"],
        ["topics", "create", f"--kafka.bootstrap_servers={NOWHERE}", "--kafka.options.bootstrap_timeout_ms=50"],
        ["dead-letters", "list", f"--kafka.bootstrap_servers={NOWHERE}", "--kafka.options.bootstrap_timeout_ms=50"],
    ],
    ids=" ".join,
)
def test_a_command_that_needs_no_model_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import json, sys\n"
        "from questream.cli import main\n"
        "try:\n    main(json.loads(sys.argv[1]))\n"
        "finally:\n    sys.stderr.write('\\nLOADED ' + json.dumps(sorted(sys.modules)) + '\\n')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, json.dumps(arguments)], capture_output=True, text=True, timeout=60
    )
    loaded = json.loads(result.stderr.rpartition("LOADED ")[2])
    assert not {name.split(".")[0] for name in loaded} & set(HEAVY)
    if "redis" not in " ".join(arguments):
        assert "redis" not in loaded
    if arguments[0].startswith("--") or arguments[0] == "config":
        assert not {"numpy", "kafka"} & set(loaded)
    if arguments[0].startswith("--"):
        assert "pydantic" not in loaded
