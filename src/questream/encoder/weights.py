"""A transformer's weights straight from its files, under the names that they have in the library's modules."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

# The buckets of distances in transformers' modeling_mpnet.py.
_MPNET_BUCKETS = 32
_MPNET_DISTANCE = 128
_MPNET_PADDING = 1
_FIRST = "embeddings.word_embeddings.weight"


def open_weights(folder: Path) -> Any:
    """The transformer of BERT's family or MPNet in `folder`, as float32, with all that `PackedForward` reads of one.

    Raises LookupError, OSError or ValueError where the files are none of those or not whole.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    (first,) = (key for key in tensors if key == _FIRST or key.endswith(f".{_FIRST}"))
    transformer = _tree(tensors, first.removesuffix(_FIRST))
    transformer.config = SimpleNamespace(**config)
    layers = vars(transformer.encoder.layer)
    transformer.encoder.layer = [layers[str(at)] for at in range(config["num_hidden_layers"])]
    if config["model_type"] == "mpnet":
        transformer.embeddings.padding_idx = _MPNET_PADDING
        distances = transformer.encoder.relative_attention_bias.weight
        transformer.encoder.compute_position_bias = lambda longest: _position_bias(distances, longest.shape[1])
    else:
        transformer.embeddings.padding_idx = config["pad_token_id"]
    return transformer


def _tree(tensors: Mapping[str, Tensor], prefix: str) -> SimpleNamespace:
    """Each weight at the attributes that its name spells, without the prefix that it has in the whole model."""
    root = SimpleNamespace()
    for key, tensor in tensors.items():
        if not key.startswith(prefix):
            continue
        # The names that old checkpoints have for the two halves of a layer norm.
        name = key.removeprefix(prefix).replace(".gamma", ".weight").replace(".beta", ".bias")
        *parents, last = name.split(".")
        node = root
        for parent in parents:
            node = vars(node).setdefault(parent, SimpleNamespace())
        # A copy: the file may be written anew under a tensor that is mapped from it.
        setattr(node, last, tensor.to(torch.float32, copy=True))
    return root


def _position_bias(weight: Tensor, length: int) -> Tensor:
    """(1, heads, length, length): what MPNet adds to attention by the distance of two tokens, from (buckets, heads)."""
    places = torch.arange(length)
    distance = places[:, None] - places[None, :]
    half = _MPNET_BUCKETS // 2
    exact = half // 2
    bucket = (distance < 0).long() * half
    distance = distance.abs()
    far = exact + (
        torch.log(distance.float() / exact) / math.log(_MPNET_DISTANCE / exact) * (half - exact)
    ).long().clamp(max=half - 1 - exact)
    bucket = bucket + torch.where(distance < exact, distance, far)
    return weight[bucket].permute(2, 0, 1).unsqueeze(0).contiguous()
