"""From a folder to a model that runs: by its files alone where an earlier start asked the library, else by the library.

Importing sentence-transformers takes most of a start. It says what a model's vectors are; that is kept, and where the
packed forward pass gives the same from the files alone, the library is not needed again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer
from torch import Tensor

from questream.encoder.device import choose_device, choose_dtype
from questream.encoder.kept import KeptProbe, KeptProbes, key_of
from questream.encoder.opened import OpenModel
from questream.encoder.packed import PACKED_FAMILIES, PackedForward
from questream.encoder.probe import FAITHFUL_COSINE, Probe, probing
from questream.encoder.weights import open_weights
from questream.garbage import garbage_collection_delayed

if TYPE_CHECKING:
    from questream.settings import ModelSettings

logger = logging.getLogger(__name__)

_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


def open_kept_model(folder: Path, settings: ModelSettings, probes: KeptProbes) -> OpenModel:
    """Open the sentence-transformers model in `folder`; raises ModelError as `model.open_model` does."""
    device = choose_device(settings.device)
    if device.type != "cpu":
        return _by_library(folder, settings)
    try:
        key = key_of(folder, settings.max_tokens)
    except (OSError, PackageNotFoundError):
        # The library names the file that cannot be read; of packages without a version no start is like another.
        return _by_library(folder, settings)
    kept = probes.find(key)
    opened = None if kept is None else _by_files(folder, settings, kept)
    if opened is None:
        opened = _by_library(folder, settings)
        if isinstance(opened.forward, PackedForward):
            probes.keep(key, KeptProbe(opened.max_tokens, opened.probe.expected))
    return opened


def _by_library(folder: Path, settings: ModelSettings) -> OpenModel:
    with garbage_collection_delayed():
        # It takes seconds to import: not before it is really needed.
        from questream.encoder.model import open_model

    return open_model(folder, settings)


def _by_files(folder: Path, settings: ModelSettings, kept: KeptProbe) -> OpenModel | None:
    """The packed forward pass, held to the kept probe; None where the model needs more, or gives something else."""
    try:
        return _packed(folder, settings, kept)
    # The library finds out what is wrong with the files, and says so; it may also be nothing.
    except Exception as error:
        logger.debug("the model in %s is left to the library (%s)", folder, type(error).__name__)
        return None


def _packed(folder: Path, settings: ModelSettings, kept: KeptProbe) -> OpenModel | None:
    modules = _modules(folder)
    if modules is None:
        return None
    transformer_folder, pooling = modules
    transformer = open_weights(transformer_folder)
    family = transformer.config.model_type
    if family not in PACKED_FAMILIES:
        return None
    device = choose_device("cpu")
    dtype = choose_dtype(settings.dtype, device, family)
    tokenizer = Tokenizer.from_file(str(transformer_folder / "tokenizer.json"))
    lenient, texts = probing(tokenizer, kept.max_tokens, "")
    probe = Probe(lenient(texts), kept.expected)
    forward = PackedForward(transformer, [pooling], dtype, {}, probe.dimension)
    if probe.cosine(forward) < FAITHFUL_COSINE:
        return None
    tokeniser = lenient.refusing(settings.max_unknown_share)
    return OpenModel(tokeniser, forward, probe, kept.max_tokens, device, dtype)


def _modules(folder: Path) -> tuple[Path, Callable[[dict[str, Any]], dict[str, Any]]] | None:
    """The transformer's folder and the pooling behind it; None for a model with other modules, or with a prompt."""
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    configuration = folder / "config_sentence_transformers.json"
    if configuration.exists() and json.loads(configuration.read_text(encoding="utf-8")).get("default_prompt_name"):
        return None
    pooling = json.loads((folder / modules[1]["path"] / "config.json").read_text(encoding="utf-8"))
    modes = [name for name, on in pooling.items() if name.startswith("pooling_mode") and on]
    named = [pooling["pooling_mode"]] if "pooling_mode" in pooling else [_MODES.get(mode) for mode in modes]
    if named not in (["mean"], ["cls"]):
        return None
    return folder / modules[0]["path"], _mean if named == ["mean"] else _first


def _mean(features: dict[str, Any]) -> dict[str, Any]:
    tokens: Tensor = features["token_embeddings"]
    return {"sentence_embedding": tokens.sum(dim=1) / tokens.shape[1]}


def _first(features: dict[str, Any]) -> dict[str, Any]:
    return {"sentence_embedding": features["token_embeddings"][:, 0]}
