"""Models that would run code if they were opened: each is refused before anything of it is loaded, and nothing runs."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from questream.encoder import load_encoder
from questream.errors import ModelError
from questream.settings import ModelSettings

TRANSFORMER = "sentence_transformers.models.Transformer"


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


class Traps:
    """A model folder that leaves `mark` behind if anything of it is run."""

    def __init__(self, folder: Path, mark: Path) -> None:
        self.folder, self.mark = folder, mark
        self.write("modules.json", [{"idx": 0, "name": "0", "path": "", "type": TRANSFORMER}])
        self.write("config.json", {"model_type": "bert"})
        (folder / "model.safetensors").write_bytes(b"")

    def write(self, name: str, document: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))

    def pickle(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(Bomb(self.mark)))

    def code(self, name: str) -> None:
        (self.folder / name).write_text(f"import pathlib\npathlib.Path({str(self.mark)!r}).touch()\nclass Evil: ...\n")


def only_a_pickle(traps: Traps) -> None:
    (traps.folder / "model.safetensors").unlink()
    traps.pickle("pytorch_model.bin")


def a_pickle_in_a_later_module(traps: Traps) -> None:
    dense = {"idx": 1, "name": "1", "path": "1_Dense", "type": "sentence_transformers.models.Dense"}
    traps.write("modules.json", [{"idx": 0, "name": "0", "path": "", "type": TRANSFORMER}, dense])
    traps.pickle("1_Dense/pytorch_model.bin")


def a_pickle_behind_a_router(traps: Traps) -> None:
    traps.write("router_config.json", {"types": {"query_0_Dense": "sentence_transformers.models.Dense"}})
    traps.pickle("query_0_Dense/pytorch_model.bin")


def a_module_of_its_own(traps: Traps) -> None:
    traps.write("modules.json", [{"idx": 0, "name": "0", "path": "", "type": "evil_model.Evil"}])
    traps.code("evil_model.py")


def a_module_in_another_place(traps: Traps) -> None:
    traps.write("modules.json", [{"idx": 0, "name": "0", "path": "../elsewhere", "type": TRANSFORMER}])


def a_model_class_of_its_own(traps: Traps) -> None:
    traps.write("config.json", {"model_type": "bert", "auto_map": {"AutoModel": "evil_model.Evil"}})
    traps.code("evil_model.py")


def a_tokenizer_class_of_its_own(traps: Traps) -> None:
    traps.write("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil_model.Evil", None]}})
    traps.code("evil_model.py")


def a_tokenizer_class_by_its_path(traps: Traps) -> None:
    traps.write("wordembedding_config.json", {"tokenizer_class": "evil_model.Evil"})
    traps.code("evil_model.py")


def a_router_of_foreign_modules(traps: Traps) -> None:
    traps.write("router_config.json", {"types": {"query_0_Evil": "evil_model.Evil"}})
    traps.code("evil_model.py")


def an_activation_function_that_is_a_program(traps: Traps) -> None:
    traps.write("1_Dense/config.json", {"activation_function": "torch.utils.collect_env.main"})


SNARES = [
    only_a_pickle,
    a_pickle_in_a_later_module,
    a_pickle_behind_a_router,
    a_module_of_its_own,
    a_module_in_another_place,
    a_model_class_of_its_own,
    a_tokenizer_class_of_its_own,
    a_tokenizer_class_by_its_path,
    a_router_of_foreign_modules,
    an_activation_function_that_is_a_program,
]


@pytest.mark.parametrize("snare", SNARES, ids=lambda snare: snare.__name__)
def test_a_model_that_would_run_code_is_refused_and_runs_none(
    snare: Callable[[Traps], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mark = tmp_path / "model", tmp_path / "it-ran"
    folder.mkdir()
    traps = Traps(folder, mark)
    snare(traps)
    # The most that an attacker can hope for: a Python that finds the model's modules by their names.
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    with pytest.raises(ModelError, match=r"code of its own|can run code|leads out of that folder"):
        load_encoder(ModelSettings(name=str(folder)))
    assert not mark.exists()


def test_the_traps_would_go_off() -> None:
    """Else the tests above could not fail."""
    with pytest.raises(FileNotFoundError, match="of-no-such-folder"):
        pickle.loads(pickle.dumps(Bomb(Path("/of-no-such-folder/mark"))))
