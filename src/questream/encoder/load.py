"""From settings to an encoder; the one place where it is put together."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from questream.encoder.encoder import Encoder
from questream.encoder.files import ModelFiles, locate_model
from questream.encoder.tokens import Tokeniser
from questream.errors import ModelError

if TYPE_CHECKING:
    from questream.encoder.model import LoadedModel
    from questream.settings import ModelSettings

logger = logging.getLogger(__name__)

DEFAULT_MAX_TOKENS = 384


def load_encoder(model: ModelSettings) -> Encoder:
    """Load the model that the settings name onto its device, in the dtype that is fast there.

    Raises ModelError if its licence is not accepted, its files are missing, broken or pickled, it needs code of its
    own, or the device, dtype or `max_tokens` asked for cannot be had.
    """
    files = locate_model(model)
    # torch takes seconds to import: not before a model is really needed, and not for one that is refused.
    from questream.encoder.model import choose_device, choose_dtype, open_model

    device = choose_device(model.device)
    dtype = choose_dtype(model.dtype, device)
    loaded = open_model(files.folder, device, dtype)
    max_tokens = _max_tokens(model.max_tokens, loaded, files)
    encoder = Encoder(
        name=files.name,
        revision=files.revision,
        folder=files.folder,
        dimension=loaded.dimension,
        max_tokens=max_tokens,
        device=str(device),
        dtype=str(loaded.dtype).removeprefix("torch."),
        preset=files.preset,
        tokeniser=Tokeniser(loaded.tokenizer, max_tokens, loaded.prompt),
        forward=loaded.forward,
    )
    logger.info("model %s at %s on %s in %s", encoder.name, encoder.revision, encoder.device, encoder.dtype)
    return encoder


def _max_tokens(asked: int | None, loaded: LoadedModel, files: ModelFiles) -> int:
    if asked is None:
        return min(loaded.max_tokens, DEFAULT_MAX_TOKENS)
    special = loaded.tokenizer.num_special_tokens_to_add(is_pair=False)
    if not special < asked <= loaded.max_tokens:
        raise ModelError(f"model.max_tokens is {asked}; {files.name} takes {special + 1} to {loaded.max_tokens}.")
    return asked
