"""From a folder to a model that runs: packed where that is faithful to the library, else as the library runs it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch import nn

from questream.encoder.device import choose_device, choose_dtype
from questream.encoder.encoder import Forward
from questream.encoder.library import LibraryForward, open_library, require_every_weight
from questream.encoder.opened import OpenModel
from questream.encoder.packed import PACKED_FAMILIES, PackedForward
from questream.encoder.probe import FAITHFUL_COSINE, Probe, probe_of, probing
from questream.encoder.tokens import Tokeniser
from questream.errors import ModelError

if TYPE_CHECKING:
    from questream.settings import ModelSettings

logger = logging.getLogger(__name__)

DEFAULT_MAX_TOKENS = 384
# A whole transformer in bfloat16 on a GPU; packed, sums stay in float32 and are held to FAITHFUL_COSINE.
FAITHFUL_COSINE_BFLOAT16 = 0.99
# The name of the table of absolute positions in transformers.
_POSITIONS = frozenset({"position_embeddings", "embed_positions", "wpe"})


def open_model(folder: Path, settings: ModelSettings) -> OpenModel:
    """Load the sentence-transformers model in `folder`: its transformer in the chosen dtype, what follows in float32.

    What it gives is held to what the library gives for the same texts. Raises ModelError if the device or `max_tokens`
    asked for cannot be had, the model's files are broken or incomplete, it does not begin with a transformer, or its
    vectors cannot be had as the library makes them.
    """
    device = choose_device(settings.device)
    library = open_library(folder)
    tokenizer = _private_tokenizer(library, folder)
    prompt = library.prompts.get(library.default_prompt_name) or ""
    max_tokens = _max_tokens(settings.max_tokens, _token_limit(library), tokenizer, prompt)
    # The library cuts where we do, so that both embed the same tokens.
    library.max_seq_length = max_tokens
    probe = _probe(library.to(device), folder, tokenizer, max_tokens, prompt)
    forward, dtype = _faithful_forward(library, folder, settings, probe, prompt)
    tokeniser = Tokeniser(tokenizer, max_tokens, prompt, settings.max_unknown_share)
    return OpenModel(tokeniser, forward, probe, max_tokens, device, dtype)


def _private_tokenizer(library: SentenceTransformer, folder: Path) -> Tokenizer:
    """A copy of the model's tokenizer, whose limits can be set without the library's changing."""
    transformer = library.transformers_model
    tokenizer = getattr(library.tokenizer, "backend_tokenizer", None)
    if transformer is None or tokenizer is None:
        raise ModelError(
            f"The model in {folder} is not a transformer with a fast tokenizer, which questream needs",
            "choose another model",
        )
    if tokenizer.get_vocab_size() < transformer.config.vocab_size // 2:
        # Without its files the library makes a tokenizer of the special tokens alone: all texts become the same.
        raise ModelError(f"The model in {folder} lacks its tokenizer's files, such as tokenizer.json", "fetch it again")
    private = Tokenizer.from_str(tokenizer.to_str())
    private.no_padding()
    private.no_truncation()
    return private


def _token_limit(library: SentenceTransformer) -> int:
    """Tokens that the model takes at most: its own limit, or fewer where it has fewer positions."""
    positions = [
        # Where padding has a position of its own, real tokens begin behind it.
        module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        for name, module in library.transformers_model.named_modules()
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _POSITIONS
    ]
    return min([library.max_seq_length or sys.maxsize, *positions])


def _max_tokens(asked: int | None, limit: int, tokenizer: Tokenizer, prompt: str) -> int:
    max_tokens = min(limit, DEFAULT_MAX_TOKENS) if asked is None else asked
    least = len(tokenizer.encode(prompt).ids) + 1
    if not least <= max_tokens <= limit:
        raise ModelError(f"model.max_tokens is {max_tokens}", f"this model takes {least} to {limit}")
    return max_tokens


def _probe(library: SentenceTransformer, folder: Path, tokenizer: Tokenizer, max_tokens: int, prompt: str) -> Probe:
    """The library's vectors of texts up to `max_tokens`, which show that it can run the model at all."""
    tokeniser, texts = probing(tokenizer, max_tokens, prompt)
    try:
        probe = probe_of(library, tokeniser, texts)
    # Modules that do not fit together fail with anything: KeyError, IndexError, RuntimeError.
    except Exception as error:
        raise ModelError(
            f"The model in {folder} does not run in sentence-transformers on texts of up to {max_tokens} tokens "
            f"({type(error).__name__})",
            "set model.max_tokens lower if it has fewer positions than it says; else its modules do not fit together:"
            " save it again with SentenceTransformer.save, or choose another model",
        ) from error
    if not np.isfinite(probe.expected).all(axis=1).any():
        raise ModelError(f"The model in {folder} returns no finite vector of any text", "fetch it again")
    return probe


def _faithful_forward(
    library: SentenceTransformer, folder: Path, settings: ModelSettings, probe: Probe, prompt: str
) -> tuple[Forward, torch.dtype]:
    """The fastest forward pass that gives the library's vectors, and its dtype."""
    family = library.transformers_model.config.model_type
    dtype = choose_dtype(settings.dtype, library.device, family)
    # Only the models that keep the prompt out of their pooling look at it.
    features = {"prompt_length": library.preprocess([""], prompt=prompt)["prompt_length"]} if prompt else {}
    if library.device.type == "cpu" and family in PACKED_FAMILIES:
        require_every_weight(library.transformers_model, folder)
        packed = _packed_if_faithful(library, dtype, features, probe)
        if packed is not None:
            return packed, dtype
        dtype = torch.float32
    forward, cosine = _as_library(library, folder, dtype, features, probe)
    if dtype != torch.float32 and settings.dtype == "auto" and cosine < FAITHFUL_COSINE_BFLOAT16:
        logger.warning("in %s the model's vectors have cosine %.4f to its own: float32 is used", dtype, cosine)
        # Opened again: the weights have been rounded.
        library, dtype = open_library(folder).to(library.device), torch.float32
        forward, cosine = _as_library(library, folder, dtype, features, probe)
    if cosine < (FAITHFUL_COSINE if dtype == torch.float32 else FAITHFUL_COSINE_BFLOAT16):
        raise _unfaithful(folder, f"cosine {cosine:.4f} in {dtype}")
    return forward, dtype


def _as_library(
    library: SentenceTransformer, folder: Path, dtype: torch.dtype, features: dict[str, Any], probe: Probe
) -> tuple[LibraryForward, float]:
    """The library's own modules, the first in `dtype`, and their least cosine to what they give in float32."""
    library[0].to(dtype)
    forward = LibraryForward(library, features, probe.dimension)
    try:
        return forward, probe.cosine(forward)
    # Modules fail with anything; one may need more than token ids and their mask.
    except Exception as error:
        raise _unfaithful(folder, type(error).__name__) from error


def _packed_if_faithful(
    library: SentenceTransformer, dtype: torch.dtype, features: dict[str, Any], probe: Probe
) -> PackedForward | None:
    """The packed forward pass; None if a variant of the architecture makes it differ from the library's."""
    try:
        pooling = list(library.children())[1:]
        packed = PackedForward(library.transformers_model, pooling, dtype, features, probe.dimension)
        cosine = probe.cosine(packed)
    # A variant of the architecture may lack what is packed, and a module may need what packing does not give.
    except Exception as error:
        logger.warning("the packed forward pass fails (%s): the library's is used", type(error).__name__)
        return None
    if cosine >= FAITHFUL_COSINE:
        return packed
    logger.warning("the packed forward pass in %s has cosine %.4f to the library's, which is used", dtype, cosine)
    return None


def _unfaithful(folder: Path, how: str) -> ModelError:
    return ModelError(
        f"The model in {folder} gives other vectors here than SentenceTransformer.encode does ({how}): texts in one "
        "batch must not change one another's, and its modules may ask for no more than token ids and their mask",
        "try model.dtype = float32; else choose a model of the modules Transformer, Pooling, Dense and Normalize",
    )
