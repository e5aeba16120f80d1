"""Which device the model runs on, and in which dtype."""

from __future__ import annotations

import torch

from questream.encoder.packed import PACKED_FAMILIES
from questream.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_device(asked: str) -> torch.device:
    """The device of this name; for `auto` CUDA, else MPS, else the CPU. Raises ModelError if it is not there."""
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.empty(1, device=device)
    # The error of torch for a device that is not there depends on its kind: RuntimeError, AssertionError and others.
    except Exception as error:
        raise ModelError(
            f"model.device is {asked}, which this machine or torch does not have", "auto takes what is there"
        ) from error
    return device


def choose_dtype(asked: str, device: torch.device, family: str) -> torch.dtype:
    """The dtype of this name; for `auto` bfloat16 where it is fast and keeps the vectors, else float32.

    `family` is the transformer's model_type. On a CPU bfloat16 is taken only with the instructions that make it fast,
    and only for the packed families, whose vectors are held to those of float32 when the model is opened.
    """
    if asked != "auto":
        return DTYPES[asked]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu" and family in PACKED_FAMILIES:
        # torch before 2.9 has no such function.
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32
