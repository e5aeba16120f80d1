"""A judge of close calls: any cross-encoder of sentence-transformers that gives two texts one score."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from questream.encoder.files import download, require_safetensors, weights_digest
from questream.encoder.trust import require_no_code
from questream.errors import ModelError
from questream.prepared import about_in

if TYPE_CHECKING:
    from questream.settings import JudgeSettings

logger = logging.getLogger(__name__)

_MAX_TOKENS = 256
_BATCH = 32
_HEAD = "ForSequenceClassification"


@dataclass(frozen=True, slots=True)
class CrossEncoderJudge:
    """A cross-encoder as a judge: two texts are the same from `min_probability` on, the sigmoid of its score."""

    name: str
    revision: str
    min_probability: float
    model: Any

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """For each pair the probability, in [0, 1], that both ask the same."""
        from torch.nn import Sigmoid

        if not pairs:
            return []
        read = [(about_in(one), about_in(other)) for one, other in pairs]
        scores = self.model.predict(read, batch_size=_BATCH, activation_fn=Sigmoid(), show_progress_bar=False)
        return [float(score) for score in scores]

    def same(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """For each pair whether both ask the same."""
        return [probability >= self.min_probability for probability in self.probabilities(pairs)]


def load_judge(settings: JudgeSettings, device: str) -> CrossEncoderJudge | None:
    """Load the judge that the settings name onto a device, as in `model.device`; None where they name none.

    Raises ModelError if its files are missing, broken or pickled, it needs code of its own, or it is no cross-encoder
    with one score.
    """
    if settings.model is None:
        return None
    folder, name, revision = _locate(settings.model, settings.revision)
    _require_cross_encoder(folder)
    # torch takes seconds to import: not before a model is really needed, and not for one that is refused.
    from questream.encoder.device import choose_device
    from questream.encoder.library import open_cross_encoder

    model = open_cross_encoder(folder, choose_device(device), _MAX_TOKENS)
    logger.info("judge %s at %s", name, revision)
    return CrossEncoderJudge(name, revision, settings.min_probability, model)


def _locate(model: str, revision: str | None) -> tuple[Path, str, str]:
    folder = Path(model).expanduser()
    if folder.is_dir():
        require_safetensors(folder, weights_needed=True)
        return folder, folder.resolve().name, revision or weights_digest(folder)
    if folder.exists() or model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(
            f"judge.model is {model}, which is not a folder here",
            "give the folder that CrossEncoder.save wrote, or a hub name such as cross-encoder/quora-roberta-base",
        )
    folder = download(model, revision, "judge.model")
    require_safetensors(folder, weights_needed=True)
    return folder, model, folder.name


def _require_cross_encoder(folder: Path) -> None:
    """Raise ModelError unless the folder holds a classifier with one score: any other would get a head of chance."""
    require_no_code(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        heads = [str(name) for name in config["architectures"]]
        # Where it is not written, labels have their default: two.
        labels = len(config.get("id2label", {0: "", 1: ""}))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"The judge in {folder} has no config.json that can be read", "fetch it again") from error
    if not any(head.endswith(_HEAD) for head in heads):
        raise ModelError(
            f"The model in {folder} is no cross-encoder: it has no head that scores two texts",
            "give judge.model a cross-encoder; `questream train --judge` trains one",
        )
    if labels != 1:
        raise ModelError(
            f"The cross-encoder in {folder} gives {labels} scores, as those of NLI do, where a judge has one",
            "give judge.model a cross-encoder for duplicates or similarity",
        )
