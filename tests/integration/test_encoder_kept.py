"""A model's second start on a machine, which does not ask sentence-transformers what the first one asked it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from questream.encoder import Encoder, kept, load_encoder
from questream.encoder.files import locate_model
from questream.encoder.kept import KeptProbe, KeptProbes
from questream.settings import ModelSettings
from tests.kit.child import own_environment

TEXTS = ["w1 w2", "w1 w3 w1 w4", "w5 " * 90]
HEAVY = """
import sys
from questream.encoder import load_encoder
from questream.settings import ModelSettings
encoder = load_encoder(ModelSettings(name="all-MiniLM-L6-v2", device="cpu"))
print(encoder.name, encoder.revision, encoder.encode(["What?"]).shape)
print(sorted({"sentence_transformers", "transformers"} & sys.modules.keys()))
"""


def load(folder: Path, probes: Path, **settings: Any) -> Encoder:
    given = {"name": str(folder), "device": "cpu", "dtype": "float32", "max_unknown_share": 1.0} | settings
    return load_encoder(ModelSettings.model_validate(given), probes)


def saved(tmp_path: Path, architecture: str = "bert", **pooling: object) -> Path:
    """A small random model's folder."""
    folder = tmp_path / "saved"
    import_module("tests.kit.models").build_model(tmp_path / "built", architecture, **pooling).save(str(folder))
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that the library was asked to open."""
    from questream.encoder import library, model

    folders: list[Path] = []

    def noting(folder: Path) -> Any:
        folders.append(folder)
        return library.open_library(folder)

    monkeypatch.setattr(model, "open_library", noting)
    return folders


def test_a_model_comes_out_of_the_hubs_cache_and_its_second_start_imports_neither_library(
    minilm: Path, tmp_path: Path
) -> None:
    revision = locate_model(ModelSettings(name=str(minilm))).revision
    snapshots = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / revision).symlink_to(minilm)
    # A process for each start: the hub's client reads these variables once, when it is imported.
    environment = own_environment() | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    opened, imported = zip(
        *(
            subprocess.run(
                [sys.executable, "-c", HEAVY], env=environment, capture_output=True, text=True, check=True
            ).stdout.splitlines()
            for _ in range(2)
        ),
        strict=True,
    )
    assert set(opened) == {f"sentence-transformers/all-MiniLM-L6-v2 {revision} (1, 384)"}
    assert imported == ("['sentence_transformers', 'transformers']", "[]")


@pytest.mark.parametrize("mode", ["mean", "cls"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "xlm-roberta", "mpnet"])
def test_a_packed_model_is_opened_by_its_files_alone(
    architecture: str, mode: str, tmp_path: Path, asked: list[Path]
) -> None:
    folder = saved(tmp_path, architecture, pooling_mode=mode)
    first, second = (load(folder, tmp_path / "probes") for _ in range(2))
    assert asked == [folder]
    np.testing.assert_allclose(second.encode(TEXTS), first.encode(TEXTS), atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "mode"), [("distilbert", "mean"), ("bert as a decoder", "mean"), ("bert", "max")]
)
def test_any_other_model_is_opened_by_the_library_each_time(
    architecture: str, mode: str, tmp_path: Path, asked: list[Path]
) -> None:
    folder = saved(tmp_path, architecture, pooling_mode=mode)
    for _ in range(2):
        load(folder, tmp_path / "probes")
    assert asked == [folder, folder]


def test_another_limit_other_files_and_other_versions_are_another_start(
    tmp_path: Path, asked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, probes = saved(tmp_path), tmp_path / "probes"
    first = load(folder, probes)
    assert load(folder, probes, max_tokens=9).max_tokens == 9
    assert len(asked) == 2
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] *= -1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert not np.allclose(load(folder, probes).encode(TEXTS), first.encode(TEXTS), atol=0.1)
    assert len(asked) == 3
    monkeypatch.setattr(kept, "version", lambda name: f"{name} of tomorrow")
    load(folder, probes)
    assert len(asked) == 4
    for _ in range(2):
        load(folder, probes)
    assert len(asked) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:100],
        lambda text: f"[{text}]",
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: json.dumps(json.loads(text) | {"expected": [[1.0, 0.0]]}),
        # The vectors of another model.
        lambda text: json.dumps(json.loads(text) | {"expected": np.eye(5, 32).tolist()}),
    ],
)
def test_a_probe_that_is_damaged_or_differs_has_the_library_asked_again(
    damage: Any, tmp_path: Path, asked: list[Path]
) -> None:
    folder, probes = saved(tmp_path), tmp_path / "probes"
    first = load(folder, probes)
    (file,) = probes.iterdir()
    file.write_text(damage(file.read_text()))
    np.testing.assert_array_equal(load(folder, probes).encode(TEXTS), first.encode(TEXTS))
    assert len(asked) == 2
    load(folder, probes)
    assert len(asked) == 2, "the damaged one was replaced"


def test_a_folder_that_cannot_be_written_costs_a_start_its_time_alone(tmp_path: Path, asked: list[Path]) -> None:
    folder, taken = saved(tmp_path), tmp_path / "taken"
    taken.write_text("no folder")
    for _ in range(2):
        assert load(folder, taken / "probes").dimension == 32
    assert len(asked) == 2


def test_a_package_without_a_version_costs_a_start_its_time_alone(
    tmp_path: Path, asked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(kept, "version", none)
    folder = saved(tmp_path)
    for _ in range(2):
        assert load(folder, tmp_path / "probes").dimension == 32
    assert len(asked) == 2


def test_only_the_newest_probes_stay(tmp_path: Path) -> None:
    probes, vectors = KeptProbes(tmp_path), np.eye(2, dtype=np.float32)
    for at in range(kept.MOST_KEPT + 3):
        probes.keep(f"key{at}", KeptProbe(8 + at, vectors))
        # Files of one moment have one time.
        os.utime(tmp_path / f"key{at}.json", (at, at))
    assert len(list(tmp_path.iterdir())) == kept.MOST_KEPT
    newest = probes.find(f"key{kept.MOST_KEPT + 2}")
    assert newest is not None
    assert newest.max_tokens == 8 + kept.MOST_KEPT + 2
    np.testing.assert_array_equal(newest.expected, vectors)
