"""What load_encoder refuses before it opens anything: none of these tests needs a model or torch."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from questream.encoder import load_encoder
from questream.encoder.files import weights_digest
from questream.encoder.kept import key_of
from questream.encoder.presets import KNOWN_MODELS, known_by_name
from questream.errors import ModelError
from questream.settings import ModelSettings

LICENSED = "aiknowyou/all-mpnet-base-questions-clustering-en"
TRANSFORMER = "sentence_transformers.models.Transformer"
POOLING = "sentence_transformers.models.Pooling"


def model_folder(folder: Path, *modules: tuple[str, str]) -> Path:
    """A folder with a modules.json of these (path, type) modules, and no weights."""
    for path, _ in modules:
        (folder / path).mkdir(parents=True, exist_ok=True)
    entries = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (path, kind) in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(entries))
    return folder


def refusal(name: Path | str, **settings: str | bool) -> str:
    """The message that load_encoder refuses this model with."""
    with pytest.raises(ModelError) as refused:
        load_encoder(ModelSettings.model_validate({"name": str(name), **settings}))
    return str(refused.value)


def test_a_restrictive_licence_must_be_accepted_and_the_message_says_how() -> None:
    message = refusal(LICENSED)
    assert "CC BY-NC-SA 4.0" in message
    assert "no commercial use" in message
    assert "model.accept_license = true" in message


def test_a_folder_that_bears_the_licensed_models_name_asks_for_its_licence_too(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / LICENSED.split("/")[1], ("", TRANSFORMER))
    assert "CC BY-NC-SA 4.0" in refusal(folder)
    assert "CC BY-NC-SA 4.0" not in refusal(folder, accept_license=True)


def test_a_pin_is_for_its_own_repository_not_for_namesakes() -> None:
    assert known_by_name("sentence-transformers/all-MiniLM-L6-v2") is not None
    assert known_by_name("someone-else/all-MiniLM-L6-v2") is None


def test_the_licensed_models_preset_is_the_raw_cosine_of_its_card() -> None:
    presets = {model.name: model.preset for model in KNOWN_MODELS if model.preset}
    assert [(name, p.threshold, p.similarity, p.linkage) for name, p in presets.items() if p] == [
        (LICENSED, 0.3514, "cosine", "average")
    ]


def test_the_default_model_is_pinned_to_a_commit() -> None:
    revisions = {model.name: model.revision for model in KNOWN_MODELS}
    revision = revisions[ModelSettings().name]
    assert revision is not None
    assert len(revision) == 40


def test_a_path_that_is_no_folder_is_not_taken_for_a_hub_name(tmp_path: Path) -> None:
    assert "not a folder" in refusal(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    assert "not a folder" in refusal(tmp_path / "file")


def test_a_folder_without_modules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "no modules.json" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[1]", '[{"path": ""}]', '{"idx": 0}', "null", '[{"path": 1, "type": 2}]']
)
def test_a_broken_modules_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "modules.json").write_text(content)
    assert "cannot be read" in refusal(tmp_path)


def test_pickled_weights_are_refused_with_the_way_to_convert_them(tmp_path: Path) -> None:
    (model_folder(tmp_path, ("", TRANSFORMER)) / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    message = refusal(tmp_path)
    assert "pytorch_model.bin" in message
    assert "SentenceTransformer(MODEL).save(FOLDER)" in message


def test_pickled_weights_of_a_later_module_are_refused_too(tmp_path: Path) -> None:
    dense = "sentence_transformers.models.Dense"
    folder = model_folder(tmp_path, ("", TRANSFORMER), ("1_Pooling", POOLING), ("2_Dense", dense))
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert "2_Dense" in refusal(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    assert "no weights" in refusal(model_folder(tmp_path, ("", TRANSFORMER)))


def test_a_module_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, ("", "modeling_custom.CustomTransformer"))
    assert "modeling_custom.CustomTransformer" in refusal(folder)


def test_an_adapter_is_refused_for_its_base_model_would_come_unpinned(tmp_path: Path) -> None:
    (model_folder(tmp_path, ("", TRANSFORMER)) / "adapter_config.json").write_text("{}")
    assert "adapter" in refusal(tmp_path)


def test_a_model_outside_the_cache_is_refused_offline_with_what_to_do(tmp_path: Path) -> None:
    program = (
        "from questream.encoder import load_encoder; from questream.errors import ModelError\n"
        "from questream.settings import ModelSettings\n"
        "try: load_encoder(ModelSettings())\n"
        "except ModelError as error: print(error)\n"
    )
    # A process of its own: the hub's client reads these variables once, when it is imported.
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not be had from the hub" in ran.stdout
    assert "set model.name to its folder" in ran.stdout


def test_importing_the_encoder_does_not_import_torch() -> None:
    program = "import questream.encoder, sys; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_a_file_is_read_for_its_digest_once_and_again_when_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    digest = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        read.append(Path(file.name).name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    first, key = weights_digest(tmp_path), key_of(tmp_path, None)
    assert (weights_digest(tmp_path), key_of(tmp_path, None)) == (first, key)
    assert sorted(read) == ["config.json", "model.safetensors"]
    # As a model is replaced: a file of the same size, written beside it.
    (tmp_path / "beside").write_bytes(b"two")
    (tmp_path / "beside").replace(weights)
    assert weights_digest(tmp_path) != first
    assert key_of(tmp_path, None) != key
    # As it is written over.
    times = weights.stat()
    weights.write_bytes(b"one")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert (weights_digest(tmp_path), key_of(tmp_path, None)) == (first, key)
