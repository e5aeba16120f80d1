"""Models that questream knows by name: the revision it pins, and what a model's card says about clustering with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from questream.clustering.rules import Linkage, Similarity
from questream.errors import ModelError

DEFAULT_ORGANISATION = "sentence-transformers"


@dataclass(frozen=True, slots=True)
class Preset:
    """The clustering rules of a model's card: a cosine threshold, the similarity it is measured in, a licence.

    `linkage` is the one in whose unit the threshold is. `licence` is None where the model may be used without asking.
    """

    threshold: float
    similarity: Similarity
    linkage: Linkage
    licence: str | None


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A hub model by name. `revision` is a commit; `weights_sha256` is the digest of its model.safetensors at it."""

    name: str
    revision: str | None
    weights_sha256: str | None = None
    preset: Preset | None = None


KNOWN_MODELS = (
    KnownModel(
        "sentence-transformers/all-mpnet-base-v2",
        revision="e8c3b32edf5434bc2275fc9bab85f82640a19130",
        weights_sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    ),
    KnownModel(
        "sentence-transformers/all-MiniLM-L6-v2",
        revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    KnownModel(
        "aiknowyou/all-mpnet-base-questions-clustering-en",
        revision=None,
        # The card's cossim_accuracy_threshold on WikiAnswers: a raw cosine, 0.35143423. Average linkage, since adaptive
        # linkage gives away up to half, which a threshold below that does not have.
        preset=Preset(threshold=0.3514, similarity="cosine", linkage="average", licence="CC BY-NC-SA 4.0"),
    ),
)


def known_by_name(name: str) -> KnownModel | None:
    """The known model of this hub name."""
    return next((model for model in KNOWN_MODELS if model.name == name), None)


def known_by_folder(folder: Path) -> KnownModel | None:
    """The known model that a folder is named after, as a clone of its repository is."""
    return next((model for model in KNOWN_MODELS if model.name.split("/")[1] == folder.name), None)


def known_by_weights(sha256: str) -> KnownModel | None:
    """The known model whose published weights have this digest."""
    return next((model for model in KNOWN_MODELS if model.weights_sha256 == sha256), None)


def require_licence(name: str, preset: Preset | None, accepted: bool) -> None:
    """Let a model with a restrictive licence through only if the operator accepted it.

    Raises ModelError that says what is asked and how to say yes.
    """
    if preset is None or preset.licence is None or accepted:
        return
    raise ModelError(
        f"The model {name} is licensed under {preset.licence}: no commercial use, credit to its authors, "
        "and what is built from it shared under the same licence",
        "if you may use it on these terms, set model.accept_license = true; otherwise choose another model, such as the"
        f" default {KNOWN_MODELS[0].name} (Apache-2.0)",
    )
