"""From settings to an encoder; the one place where it is put together."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from questream.encoder.encoder import Encoder
from questream.encoder.files import locate_model

if TYPE_CHECKING:
    from questream.settings import ModelSettings

logger = logging.getLogger(__name__)


def load_encoder(model: ModelSettings) -> Encoder:
    """Load the model that the settings name onto its device, in the dtype that is fast there.

    Raises ModelError if its licence is not accepted, its files are missing, broken or pickled, it needs code of its
    own, or the device or `max_tokens` asked for cannot be had.
    """
    files = locate_model(model)
    with _garbage_left_alone():
        # torch takes seconds to import: not before a model is really needed, and not for one that is refused.
        from questream.encoder.model import open_model

    opened = open_model(files.folder, model)
    encoder = Encoder(
        name=files.name,
        revision=files.revision,
        folder=files.folder,
        dimension=opened.dimension,
        max_tokens=opened.max_tokens,
        device=str(opened.device),
        dtype=str(opened.dtype).removeprefix("torch."),
        preset=files.preset,
        tokeniser=opened.tokeniser,
        forward=opened.forward,
    )
    logger.info("model %s at %s on %s in %s", encoder.name, encoder.revision, encoder.device, encoder.dtype)
    return encoder


@contextmanager
def _garbage_left_alone() -> Iterator[None]:
    """Without the garbage collector: half a million objects come with torch, and all of them stay."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
