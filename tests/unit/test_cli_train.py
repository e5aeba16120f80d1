"""What `questream train` refuses before anything is trained."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from questream.errors import ExitCode
from tests.kit.command import questream

SECRET = "where is my hidden card"


@pytest.fixture
def groups(tmp_path: Path) -> str:
    path = tmp_path / "groups.jsonl"
    rows = ({"text": f"{SECRET} {group} {i}", "gold": f"g{group}"} for group in range(20) for i in range(2))
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_without_data_is_wrong_usage(tmp_path: Path) -> None:
    outcome = questream("train", str(tmp_path / "model"))
    assert outcome.code == ExitCode.USAGE
    assert "questream export" in outcome.err


def test_a_mini_batch_larger_than_the_batch_is_wrong_usage(tmp_path: Path, groups: str) -> None:
    outcome = questream("train", str(tmp_path / "model"), "--groups", groups, "--batch", "8", "--mini-batch", "16")
    assert outcome.code == ExitCode.USAGE


def test_missing_packages_are_told_with_what_to_install(
    tmp_path: Path, groups: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def without_datasets(name: str, *more: Any) -> Any:
        return None if name == "datasets" else real(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without_datasets)
    outcome = questream("train", str(tmp_path / "model"), "--groups", groups)
    assert outcome.code == ExitCode.FAILED
    assert outcome.err == "questream: training needs datasets; put it in with: make setup EXTRAS=train\n"


def test_a_file_that_cannot_be_read_is_told_without_what_stands_in_it(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"text_a": SECRET, "text_b": "b", "label": "maybe"}))
    outcome = questream("train", str(tmp_path / "model"), "--pairs", str(path))
    assert outcome.code == ExitCode.FAILED
    assert f"{path}, line 1" in outcome.err
    assert SECRET not in outcome.err


def test_too_little_data_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(f"text_a,text_b,label\n{SECRET},b,1\n")
    outcome = questream("train", str(tmp_path / "model"), "--pairs", str(path), "--model.name", "/nowhere/at/all")
    assert outcome.code == ExitCode.FAILED
    assert "too little data" in outcome.err
    assert SECRET not in outcome.err


def test_a_model_that_is_not_there_has_its_exit_code_and_takes_no_folder(tmp_path: Path, groups: str) -> None:
    folder = tmp_path / "model"
    outcome = questream("train", str(folder), "--groups", groups, "--model.name", "/nowhere/at/all")
    assert outcome.code == ExitCode.MODEL
    assert "not a folder here" in outcome.err
    assert not folder.exists()
