"""A forward pass without padding, for BERT, RoBERTa, XLM-RoBERTa and MPNet on a CPU.

The library pads every text to the longest of its batch and, for MPNet, has no fused attention. Here the tokens of all
texts lie behind one another in one matrix: linear layers run over it whole, with query, key and value in one product,
and attention runs per group of texts of equal length, which needs no mask. `questream bench encoder` measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, normalize, relu, scaled_dot_product_attention

from questream.domain import Matrix

PACKED_FAMILIES = frozenset({"bert", "roberta", "xlm-roberta", "mpnet"})

# Below this a forward pass does not fill the cores; above it nothing is gained (MiniLM and MPNet on two cores).
BATCH_TOKENS = 1024

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": gelu, "relu": relu}


@dataclass(frozen=True, slots=True)
class Affine:
    """Weight and bias of a linear layer or of a layer norm."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class Layer:
    """One transformer layer; `query_key_value` is the three projections above one another: (3 width, width)."""

    query_key_value: Affine
    attention_out: Affine
    attention_norm: Affine
    up: Affine
    down: Affine
    norm: Affine


class PackedForward:
    """A transformer without padding, then `modules`: pooling and what follows, from features to features.

    `transformer` is the library's, or has its weights under the same names (`encoder/weights.py`).

    Linear layers and attention compute in `dtype`; what they add up to, the norms and the pooling stay in float32,
    which in bfloat16 costs nothing and halves the error. Vectors are cut to `dimension`, as a model that was saved with
    `truncate_dim` asks. `features` go to the modules with every group.
    """

    def __init__(
        self,
        transformer: Any,
        modules: Sequence[Callable[[dict[str, Any]], dict[str, Any]]],
        dtype: torch.dtype,
        features: dict[str, Any],
        dimension: int,
    ) -> None:
        self.batch_tokens = BATCH_TOKENS
        config, embeddings = transformer.config, transformer.embeddings
        self._dtype = dtype
        self._features = features
        self._dimension = dimension
        self._modules = modules
        self._heads: int = config.num_attention_heads
        self._epsilon: float = config.layer_norm_eps
        self._activation = _activation(config.hidden_act)
        self._words: Tensor = embeddings.word_embeddings.weight.detach()
        self._positions: Tensor = embeddings.position_embeddings.weight.detach()
        if hasattr(embeddings, "token_type_embeddings"):
            # Every token is of type 0, so its vector can be part of the position's.
            self._positions = self._positions + embeddings.token_type_embeddings.weight[0].detach()
        self._norm = _affine([embeddings.LayerNorm], torch.float32)
        self._layers = [_layer(layer, dtype) for layer in transformer.encoder.layer]
        # BERT counts positions from 0; the others from one above their padding id, which itself counts as none.
        self._padding: int | None = None if config.model_type == "bert" else embeddings.padding_idx
        self._bias: Tensor | None = None
        if config.model_type == "mpnet":
            # It depends on the distance of two tokens alone: that of a short text is a corner of the longest's.
            longest = torch.empty(1, config.max_position_embeddings, 1)
            # One that asks for a gradient keeps torch from its fused attention, which is several times faster.
            self._bias = transformer.encoder.compute_position_bias(longest).detach().to(dtype)

    @torch.inference_mode()
    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        """Run the sub-batches one after the other: float32 (texts, d) unit rows, in the order given."""
        return cast(Matrix, torch.cat([self._embed(batch) for batch in batches]).numpy())

    def _embed(self, batch: Sequence[NDArray[np.int32]]) -> Tensor:
        groups = [np.stack(list(texts)) for _, texts in groupby(batch, key=len)]
        hidden = self._transform(groups)
        vectors = []
        for tokens, group in zip(_parts(hidden, groups), groups, strict=True):
            features = self._features | {
                "token_embeddings": tokens.view(*group.shape, -1),
                "attention_mask": torch.ones(group.shape, dtype=torch.long),
            }
            for module in self._modules:
                features = module(features)
            vectors.append(features["sentence_embedding"])
        return normalize(torch.cat(vectors)[:, : self._dimension], dim=1)

    def _transform(self, groups: Sequence[NDArray[np.int32]]) -> Tensor:
        """Token ids (texts, length) of each group to the last hidden state of all their tokens: (tokens, width)."""
        ids = torch.from_numpy(np.concatenate([group.ravel() for group in groups]))
        positions = torch.from_numpy(np.concatenate([self._position_ids(group).ravel() for group in groups]))
        hidden = self._normed(self._words[ids] + self._positions[positions], self._norm)
        for layer in self._layers:
            attended = self._linear(
                self._attend(self._linear(hidden, layer.query_key_value), groups), layer.attention_out
            )
            hidden = self._normed(attended.float() + hidden, layer.attention_norm)
            inner = self._activation(self._linear(hidden, layer.up))
            hidden = self._normed(self._linear(inner, layer.down).float() + hidden, layer.norm)
        return hidden

    def _attend(self, query_key_value: Tensor, groups: Sequence[NDArray[np.int32]]) -> Tensor:
        attended = []
        for part, group in zip(_parts(query_key_value, groups), groups, strict=True):
            texts, length = group.shape
            query, key, value = part.view(texts, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            bias = None if self._bias is None else self._bias[:, :, :length, :length]
            context = scaled_dot_product_attention(query, key, value, attn_mask=bias)
            attended.append(context.transpose(1, 2).reshape(group.size, -1))
        return attended[0] if len(attended) == 1 else torch.cat(attended)

    def _linear(self, tokens: Tensor, layer: Affine) -> Tensor:
        return linear(tokens.to(self._dtype), layer.weight, layer.bias)

    def _normed(self, tokens: Tensor, norm: Affine) -> Tensor:
        return layer_norm(tokens, tokens.shape[1:], norm.weight, norm.bias, self._epsilon)

    def _position_ids(self, group: NDArray[np.int32]) -> NDArray[np.int64]:
        if self._padding is None:
            return np.broadcast_to(np.arange(group.shape[1], dtype=np.int64), group.shape)
        # A text can spell the padding token out; the model then counts past it.
        real = (group != self._padding).astype(np.int64)
        positions: NDArray[np.int64] = np.cumsum(real, axis=1) * real + self._padding
        return positions


def _parts(tokens: Tensor, groups: Sequence[NDArray[np.int32]]) -> tuple[Tensor, ...]:
    return torch.split(tokens, [group.size for group in groups])


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name]
    # Its import takes seconds, and nearly all models have one of those above.
    from transformers.activations import ACT2FN

    return cast(Callable[[Tensor], Tensor], ACT2FN[name])


def _layer(layer: Any, dtype: torch.dtype) -> Layer:
    """The weights of a layer of BERT's family or of MPNet, which has the same under other names."""
    attention = layer.attention
    if hasattr(attention, "attn"):
        of = attention.attn
        projections, out, norm = [of.q, of.k, of.v], of.o, attention.LayerNorm
    else:
        of = attention.self
        projections, out, norm = [of.query, of.key, of.value], attention.output.dense, attention.output.LayerNorm
    intermediate, output = layer.intermediate, layer.output
    return Layer(
        query_key_value=_affine(projections, dtype),
        attention_out=_affine([out], dtype),
        attention_norm=_affine([norm], torch.float32),
        up=_affine([intermediate.dense], dtype),
        down=_affine([output.dense], dtype),
        norm=_affine([output.LayerNorm], torch.float32),
    )


def _affine(modules: Iterable[Any], dtype: torch.dtype) -> Affine:
    modules = list(modules)
    weight = torch.cat([module.weight.detach() for module in modules])
    bias = torch.cat([module.bias.detach() for module in modules])
    return Affine(weight.to(dtype), bias.to(dtype))
