"""A model that is ready to run, from any opener."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from questream.encoder.encoder import Forward
from questream.encoder.probe import Probe
from questream.encoder.tokens import Tokeniser


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model ready to run, what it runs on and in, and the probe that its forward pass was held to."""

    tokeniser: Tokeniser
    forward: Forward
    probe: Probe
    max_tokens: int
    device: torch.device
    dtype: torch.dtype
