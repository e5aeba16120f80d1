"""The place of a model's files: a folder, or a pinned commit of the hub. Only safetensors weights are let in."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from questream.encoder.digests import file_digest
from questream.encoder.presets import (
    DEFAULT_ORGANISATION,
    Preset,
    known_by_folder,
    known_by_name,
    known_by_weights,
    require_licence,
)
from questream.encoder.trust import require_no_code
from questream.errors import ModelError

if TYPE_CHECKING:
    from questream.settings import ModelSettings

logger = logging.getLogger(__name__)

# The files that a model needs and no others: no pickles, no ONNX or OpenVINO copies, no code.
HUB_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model"]
HUB_IGNORED = ["onnx/*", "openvino/*"]
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine's disk: which one it is, and the folder of its modules.json."""

    name: str
    revision: str
    folder: Path
    preset: Preset | None


def locate_model(settings: ModelSettings) -> ModelFiles:
    """Find the model that the settings name, and check that its files may be loaded.

    Downloads from the hub what is not in its cache yet. Raises ModelError if the licence is not accepted, the model
    is nowhere, or its files are incomplete or pickled.
    """
    folder = Path(settings.name).expanduser()
    if folder.is_dir():
        return _in_folder(folder, settings)
    if folder.exists() or settings.name.startswith((".", "/", "~")) or settings.name.count("/") > 1:
        raise ModelError(
            f"model.name is {settings.name}, which is not a folder here",
            "give the folder that holds the model's modules.json, or a hub name such as"
            " sentence-transformers/all-mpnet-base-v2",
        )
    return _on_hub(settings)


def _in_folder(folder: Path, settings: ModelSettings) -> ModelFiles:
    known = known_by_folder(folder)
    preset = known.preset if known else None
    require_licence(folder.name, preset, settings.accept_license)
    _require_loadable(folder)
    name, revision = _identify(folder)
    return ModelFiles(name, settings.revision or revision, folder, preset)


def _on_hub(settings: ModelSettings) -> ModelFiles:
    name = settings.name if "/" in settings.name else f"{DEFAULT_ORGANISATION}/{settings.name}"
    known = known_by_name(name)
    preset = known.preset if known else None
    require_licence(name, preset, settings.accept_license)
    folder = download(name, settings.revision or (known.revision if known else None))
    _require_loadable(folder)
    # The hub's cache keeps each snapshot in a folder named by its commit.
    return ModelFiles(name, folder.name, folder, preset)


def _describe_hub_error(error: Exception) -> str:
    """Why the hub gave nothing, in words."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "HFValidationError" in kinds:
        return "that is no name of a model there"
    if "RevisionNotFoundError" in kinds:
        return "the model has no such revision"
    if kinds & {"RepositoryNotFoundError", "GatedRepoError"}:
        return "it shows this login no such model"
    if "LocalEntryNotFoundError" in kinds:
        return "it did not answer, and no copy is kept here"
    return (isinstance(error, OSError) and error.strerror) or "it refused the call"


def download(name: str, revision: str | None, setting: str = "model.name") -> Path:
    """The folder of a model of the hub in its cache. `setting` is the one that names it.

    Raises ModelError.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    group = setting.partition(".")[0]
    if revision is None:
        logger.warning("model %s is unpinned: set %s.revision to a commit, or it may change under you", name, group)
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=HUB_PATTERNS, ignore_patterns=HUB_IGNORED)
        )
    # Its errors (HTTP, no connection, nothing in the cache) are OSErrors, but for a malformed name.
    except (OSError, HFValidationError) as error:
        at = f" at revision {revision}" if revision else ""
        raise ModelError(
            f"The model {name}{at} could not be had from the hub: {_describe_hub_error(error)}. Check {setting}, "
            f"{group}.revision and the network (HF_TOKEN for a private model). Without a network, fetch it once "
            f"elsewhere and set {setting} to its folder, or fill the hub's cache and set HF_HUB_OFFLINE=1."
        ) from error


def _require_loadable(folder: Path) -> None:
    """Raise ModelError unless every module in `folder` can be loaded without pickles and without foreign code."""
    if (folder / "adapter_config.json").exists():
        raise ModelError(f"The model in {folder} is an adapter", "merge it into its base model and save that")
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        module_folders = [folder / module["path"] for module in modules]
        foreign = [module["type"] for module in modules if not module["type"].startswith("sentence_transformers.")]
        outside = [module["path"] for module in modules if not _stays_inside(module["path"])]
        first = module_folders[0]
    except FileNotFoundError as error:
        raise ModelError(
            f"The folder {folder} is not a sentence-transformers model: it has no modules.json. Give the folder "
            "that SentenceTransformer.save wrote."
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"The modules.json in {folder} cannot be read", "fetch the model again") from error
    if foreign:
        raise ModelError(f"The model in {folder} needs code of its own ({foreign[0]}), which is never run.")
    if outside:
        raise ModelError(f"The modules.json in {folder} leads out of that folder", "fetch the model again")
    require_no_code(folder)
    for module_folder in module_folders:
        submodule_folders = _submodules(module_folder)
        require_safetensors(module_folder, weights_needed=module_folder == first and not submodule_folders)
        for submodule_folder in submodule_folders:
            require_safetensors(submodule_folder, weights_needed=False)


def _stays_inside(path: str) -> bool:
    return not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts


def _submodules(module_folder: Path) -> list[Path]:
    """The folders of the modules that a Router chooses from."""
    if not (module_folder / "router_config.json").exists():
        return []
    return [path for path in module_folder.iterdir() if path.is_dir()]


def require_safetensors(module_folder: Path, *, weights_needed: bool) -> None:
    """Raise ModelError where a folder has its weights in pickles alone, or none although they are needed."""
    files = [path for path in module_folder.iterdir() if path.is_file()] if module_folder.is_dir() else []
    if any(path.suffix == ".safetensors" for path in files):
        return
    pickles = [path.name for path in files if path.suffix in PICKLE_SUFFIXES]
    if pickles or weights_needed:
        what = f"only pickled weights ({pickles[0]}), which can run code" if pickles else "no weights"
        raise ModelError(
            f"The folder {module_folder} holds {what}: questream loads model.safetensors alone",
            "if you trust the model, convert it once with SentenceTransformer(MODEL).save(FOLDER), and set model.name"
            " to that folder",
        )


def _identify(folder: Path) -> tuple[str, str]:
    """Name and revision of a model that comes without: those of the published model whose weights it has, else the
    folder's name and a digest of its weights, so that workers with different disks agree on what they run.
    """
    digests = _digests(folder)
    known = known_by_weights(digests[0])
    if len(digests) == 1 and known and known.revision:
        return known.name, known.revision
    return folder.resolve().name, _digest_of(digests)


def weights_digest(folder: Path) -> str:
    """A digest that identifies the weights in a folder."""
    return _digest_of(_digests(folder))


def _digests(folder: Path) -> list[str]:
    return [file_digest(path) for path in sorted(folder.rglob("*.safetensors"))]


def _digest_of(digests: Sequence[str]) -> str:
    return "sha256:" + hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
