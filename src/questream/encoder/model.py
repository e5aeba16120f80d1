"""The model in torch: its files opened, its device and dtype chosen, and its forward pass as the library does it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch.nn.functional import normalize
from transformers.utils import logging as transformers_logging

from questream.domain import Matrix
from questream.encoder.encoder import Forward
from questream.errors import ModelError

# How many tokens at once: small enough for a CPU's caches, large enough to fill a GPU.
CPU_BATCH_TOKENS = 512
GPU_BATCH_TOKENS = 16_384

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An open model: `max_tokens` is its own limit; `prompt` goes before every text; `tokenizer` is a private copy."""

    forward: Forward
    tokenizer: Tokenizer
    prompt: str
    dimension: int
    max_tokens: int
    dtype: torch.dtype


def choose_device(asked: str) -> torch.device:
    """The device of this name; for `auto` CUDA, else MPS, else the CPU. Raises ModelError if it is not there."""
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.empty(1, device=device)
    # A device that is not there is a RuntimeError, AssertionError or NotImplementedError, by its kind.
    except Exception as error:
        raise ModelError(
            f"model.device is {asked}, which this machine does not have; auto takes what is there."
        ) from error
    return device


def choose_dtype(asked: str, device: torch.device) -> torch.dtype:
    """The dtype of this name; for `auto` bfloat16 where the device computes in it natively, else float32."""
    if asked != "auto":
        return DTYPES[asked]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # Without these instructions bfloat16 is emulated, and slower than float32.
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def open_model(folder: Path, device: torch.device, dtype: torch.dtype) -> LoadedModel:
    """Load the sentence-transformers model in `folder`, its transformer in `dtype` and the rest in float32.

    Raises ModelError if its files are broken or incomplete, or it does not begin with a transformer.
    """
    library = _open_library(folder)
    transformer = library.transformers_model
    fast_tokenizer = getattr(library.tokenizer, "backend_tokenizer", None)
    if transformer is None or fast_tokenizer is None:
        raise ModelError(f"The model in {folder} is not a transformer with a fast tokenizer, which questream needs.")
    library[0].to(dtype)
    library.to(device)
    return LoadedModel(
        forward=LibraryForward(library, device),
        tokenizer=Tokenizer.from_str(fast_tokenizer.to_str()),
        prompt=default_prompt(library),
        dimension=library.get_embedding_dimension(),
        max_tokens=library.max_seq_length or sys.maxsize,
        dtype=dtype,
    )


def default_prompt(library: SentenceTransformer) -> str:
    """What the model's configuration puts before every text; empty for most models."""
    return library.prompts.get(library.default_prompt_name) or ""


def _open_library(folder: Path) -> SentenceTransformer:
    progress_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped in transformers
    try:
        library = SentenceTransformer(
            str(folder),
            device="cpu",
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
    # Broken files come as anything: OSError, SafetensorError, KeyError, JSONDecodeError, RuntimeError.
    except Exception as error:
        raise ModelError(
            f"The model in {folder} cannot be loaded ({type(error).__name__}: {error}). Its files are incomplete "
            "or broken, or of a kind that the installed sentence-transformers does not know: fetch it again."
        ) from error
    finally:
        if progress_bar:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # untyped in transformers
    return library.eval()


class LibraryForward:
    """The model's own modules, one after the other, on sub-batches padded to their longest text."""

    def __init__(self, library: SentenceTransformer, device: torch.device) -> None:
        self.batch_tokens = CPU_BATCH_TOKENS if device.type == "cpu" else GPU_BATCH_TOKENS
        self._modules = list(library.children())
        self._device = device
        self._pad_id = library.tokenizer.pad_token_id or 0
        self._pad_left = library.tokenizer.padding_side == "left"
        # Only for the models that keep the prompt out of pooling; the others pass it by.
        prompt = default_prompt(library)
        self._prompt = {"prompt_length": library.preprocess([""], prompt=prompt)["prompt_length"]} if prompt else {}

    @torch.inference_mode()
    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        """Run the sub-batches one after the other: float32 (texts, d) unit rows, in the order given."""
        rows = [self._embed(batch) for batch in batches]
        # One copy at the end: a GPU computes the next sub-batch while this one is still under way.
        return cast(Matrix, torch.cat(rows).cpu().numpy())

    def _embed(self, batch: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        features = self._pad(batch) | self._prompt
        for module in self._modules:
            features = module(features)
            # Pooling in float32: a sum over bfloat16 tokens loses the digits that similarities differ in.
            features = {
                key: value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
                for key, value in features.items()
            }
        return normalize(features["sentence_embedding"], dim=1)

    def _pad(self, batch: Sequence[NDArray[np.int32]]) -> dict[str, Any]:
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
