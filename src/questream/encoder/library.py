"""The model as sentence-transformers opens and runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers.utils import logging as transformers_logging

from questream.domain import Matrix
from questream.errors import ModelError

# How many tokens at once: small enough for a CPU's caches, large enough to fill a GPU.
CPU_BATCH_TOKENS = 512
GPU_BATCH_TOKENS = 16_384


_Model = TypeVar("_Model", SentenceTransformer, CrossEncoder)


def open_library(folder: Path) -> SentenceTransformer:
    """The sentence-transformers model in `folder`, on the CPU in float32, ready to run.

    Nothing is fetched and no code of the model's own is run. Raises ModelError if its files are broken or incomplete.
    """
    return _open(SentenceTransformer, folder, torch.device("cpu"))


def open_cross_encoder(folder: Path, device: torch.device, max_tokens: int) -> CrossEncoder:
    """The cross-encoder in `folder`, ready to run on pairs of at most so many tokens; as `open_library` otherwise."""
    library = _open(CrossEncoder, folder, device)
    library.max_seq_length = min(max_tokens, library.max_seq_length or max_tokens)
    require_every_weight(library.transformers_model, folder)
    return library


def _open(kind: type[_Model], folder: Path, device: torch.device) -> _Model:
    progress_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped in transformers
    try:
        library = kind(
            str(folder),
            device=str(device),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
    # Broken files come as anything: OSError, SafetensorError, KeyError, JSONDecodeError, RuntimeError.
    except Exception as error:
        raise ModelError(
            f"The model in {folder} cannot be loaded ({type(error).__name__}: {error}). Its files are incomplete "
            "or broken, or of a kind that the installed sentence-transformers does not know",
            "fetch it again",
        ) from error
    finally:
        if progress_bar:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # untyped in transformers
    return library.eval()


def require_every_weight(transformer: nn.Module, folder: Path) -> None:
    """Raise ModelError if a weight of the transformer is in none of the folder's files.

    The library fills such a weight with random numbers and goes on: every vector would be noise. The names in a file
    may have the model's own prefix; the pooler that BERT has on top is not used for vectors.
    """
    stored: set[str] = set()
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            # The names that old checkpoints have for the two halves of a layer norm.
            stored |= {key.replace(".gamma", ".weight").replace(".beta", ".bias") for key in weights.keys()}  # noqa: SIM118 (not a dict)
    missing = [
        name
        for name, _ in transformer.named_parameters()
        if not name.startswith("pooler.") and not any(key == name or key.endswith(f".{name}") for key in stored)
    ]
    if missing:
        raise ModelError(
            f"The weights in {folder} are not the whole model: {len(missing)} are missing, {missing[0]} for one. "
            "Fetch the model again."
        )


class LibraryForward:
    """The model's own modules, one after the other, on sub-batches padded to their longest text.

    Vectors are cut to `dimension`, as a model that was saved with `truncate_dim` asks. `features` go to the modules
    with every sub-batch. What follows the transformer computes in float32, whatever
    the transformer does.
    """

    def __init__(self, library: SentenceTransformer, features: dict[str, Any], dimension: int) -> None:
        self.batch_tokens = CPU_BATCH_TOKENS if library.device.type == "cpu" else GPU_BATCH_TOKENS
        self._modules = list(library.children())
        self._device = library.device
        self._features = features
        self._dimension = dimension
        self._pad_id = library.tokenizer.pad_token_id or 0
        self._pad_left = library.tokenizer.padding_side == "left"

    @torch.inference_mode()
    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        """Run the sub-batches one after the other: float32 (texts, d) unit rows, in the order given."""
        vectors = [self._embed(batch) for batch in batches]
        # One copy at the end: a GPU computes the next sub-batch while this one is still under way.
        return cast(Matrix, torch.cat(vectors).cpu().numpy())

    def _embed(self, batch: Sequence[NDArray[np.int32]]) -> Tensor:
        features = self._features | self._pad(batch)
        for module in self._modules:
            features = _in_float32(module(features))
        return normalize(features["sentence_embedding"][:, : self._dimension], dim=1)

    def _pad(self, batch: Sequence[NDArray[np.int32]]) -> dict[str, Tensor]:
        longest = max(len(ids) for ids in batch)
        input_ids = np.full((len(batch), longest), self._pad_id, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for row, ids in enumerate(batch):
            columns = slice(longest - len(ids), None) if self._pad_left else slice(len(ids))
            input_ids[row, columns] = ids
            attention_mask[row, columns] = 1
        return {
            "input_ids": torch.from_numpy(input_ids).to(self._device),
            "attention_mask": torch.from_numpy(attention_mask).to(self._device),
        }


def _in_float32(features: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
        for key, value in features.items()
    }
