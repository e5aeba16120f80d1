"""From a folder to a model that runs: packed where that is faithful to the library, else as the library runs it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from questream.encoder.device import choose_device, choose_dtype
from questream.encoder.encoder import Forward
from questream.encoder.library import LibraryForward, open_library, require_every_weight
from questream.encoder.packed import PACKED_FAMILIES, PackedForward
from questream.encoder.tokens import Tokeniser, Tokens
from questream.errors import ModelError

if TYPE_CHECKING:
    from questream.settings import ModelSettings

logger = logging.getLogger(__name__)

# Of different lengths, one of them of several dozen tokens, so that positions far out are compared too.
PROBE_TEXTS = ("What?", "How do I reset my password?", "Why was my payment of 25.00 declined twice? " * 6)
FAITHFUL_COSINE = 0.999


DEFAULT_MAX_TOKENS = 384


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model ready to run, and what it runs on and in."""

    tokeniser: Tokeniser
    forward: Forward
    dimension: int
    max_tokens: int
    device: torch.device
    dtype: torch.dtype


def open_model(folder: Path, settings: ModelSettings) -> OpenModel:
    """Load the sentence-transformers model in `folder`: its transformer in the chosen dtype, what follows in float32.

    Raises ModelError if the device or `max_tokens` asked for cannot be had, the model's files are broken or
    incomplete, or it does not begin with a transformer.
    """
    device = choose_device(settings.device)
    library = open_library(folder)
    tokenizer = _private_tokenizer(library, folder)
    max_tokens = _max_tokens(settings.max_tokens, library.max_seq_length or sys.maxsize, tokenizer)
    prompt = library.prompts.get(library.default_prompt_name) or ""
    # Only the models that keep the prompt out of their pooling look at it.
    features = {"prompt_length": library.preprocess([""], prompt=prompt)["prompt_length"]} if prompt else {}
    tokeniser = Tokeniser(tokenizer, max_tokens, prompt, settings.max_unknown_share)
    family = library.transformers_model.config.model_type
    dtype = choose_dtype(settings.dtype, device, family)
    forward: Forward
    if device.type == "cpu" and family in PACKED_FAMILIES:
        require_every_weight(library.transformers_model, folder)
        probe = Tokeniser(tokenizer, max_tokens, prompt, max_unknown_share=1.0)(PROBE_TEXTS)
        forward, dtype = _packed_if_faithful(library, dtype, features, probe)
    else:
        library[0].to(dtype)
        forward = LibraryForward(library.to(device), features)
    return OpenModel(tokeniser, forward, library.get_embedding_dimension(), max_tokens, device, dtype)


def _private_tokenizer(library: SentenceTransformer, folder: Path) -> Tokenizer:
    """A copy of the model's tokenizer, whose limits can be set without the library's changing."""
    transformer = library.transformers_model
    tokenizer = getattr(library.tokenizer, "backend_tokenizer", None)
    if transformer is None or tokenizer is None:
        raise ModelError(f"The model in {folder} is not a transformer with a fast tokenizer, which questream needs.")
    if tokenizer.get_vocab_size() < transformer.config.vocab_size // 2:
        # Without its files the library makes a tokenizer of the special tokens alone: all texts become the same.
        raise ModelError(f"The model in {folder} lacks its tokenizer's files, such as tokenizer.json: fetch it again.")
    return Tokenizer.from_str(tokenizer.to_str())


def _max_tokens(asked: int | None, limit: int, tokenizer: Tokenizer) -> int:
    if asked is None:
        return min(limit, DEFAULT_MAX_TOKENS)
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    if not special < asked <= limit:
        raise ModelError(f"model.max_tokens is {asked}; this model takes {special + 1} to {limit}.")
    return asked


def _packed_if_faithful(
    library: SentenceTransformer, dtype: torch.dtype, features: dict[str, Any], probe: Sequence[Tokens]
) -> tuple[Forward, torch.dtype]:
    """The packed forward pass and its dtype; the library's own if a variant of the architecture makes them differ."""
    exact = LibraryForward(library, features)
    packed = PackedForward(library, dtype, features)
    batches = [[tokens.ids for tokens in probe]]
    cosine = float((exact(batches) * packed(batches)).sum(axis=1).min())
    if cosine >= FAITHFUL_COSINE:
        return packed, dtype
    logger.warning("the packed forward pass in %s has cosine %.4f to the library's, which is used", dtype, cosine)
    return exact, torch.float32
