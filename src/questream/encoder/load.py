"""From settings to an encoder; the one place where it is put together."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from questream.encoder.encoder import Encoder
from questream.encoder.files import locate_model
from questream.encoder.kept import KeptProbes, default_folder
from questream.garbage import garbage_collection_delayed

if TYPE_CHECKING:
    from questream.settings import ModelSettings

logger = logging.getLogger(__name__)


def load_encoder(model: ModelSettings, probes: Path | None = None) -> Encoder:
    """Load the model that the settings name onto its device, in the dtype that is fast there.

    `probes` is the folder where the library's vectors of a few texts are kept between starts; by default one beside
    the hub's cache. Raises ModelError if its licence is not accepted, its files are missing, broken or pickled, it
    needs code of its own, or the device or `max_tokens` asked for cannot be had.
    """
    files = locate_model(model)
    with garbage_collection_delayed():
        # torch takes seconds to import: not before a model is really needed, and not for one that is refused.
        from questream.encoder.opening import open_kept_model

    opened = open_kept_model(files.folder, model, KeptProbes(default_folder() if probes is None else probes))
    encoder = Encoder(
        name=files.name,
        revision=files.revision,
        folder=files.folder,
        dimension=opened.probe.dimension,
        max_tokens=opened.max_tokens,
        device=str(opened.device),
        dtype=str(opened.dtype).removeprefix("torch."),
        preset=files.preset,
        tokeniser=opened.tokeniser,
        forward=opened.forward,
    )
    logger.info("model %s at %s on %s in %s", encoder.name, encoder.revision, encoder.device, encoder.dtype)
    return encoder
