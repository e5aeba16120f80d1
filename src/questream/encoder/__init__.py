"""Texts to unit vectors with any sentence-transformers model. torch is imported when a model is loaded, not before."""

from questream.encoder.encoder import Encoder
from questream.encoder.judge import CrossEncoderJudge, load_judge
from questream.encoder.load import load_encoder
from questream.encoder.presets import Preset
from questream.encoder.tokens import Tokens

__all__ = ["CrossEncoderJudge", "Encoder", "Preset", "Tokens", "load_encoder", "load_judge"]
