"""The model: its files, whether the namespace was built with it, and what it runs on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from questream.clustering.background import FEWEST_QUESTIONS, least_threshold, loose_share
from questream.domain import NamespaceState
from questream.errors import ModelError
from questream.preparing import is_of_one_kind, version_of
from questream.settings import ModelSettings
from questream.store.redis.store import RedisStore
from questream.tools.doctor.findings import Check, CheckContext, Finding, FoundModel
from questream.tools.suggestions import rules_built_with

# Their first position is the one behind the padding token's.
_POSITIONS_BEHIND_PADDING = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})

# Centroids of more clusters are not read here: half a minute, and hundreds of megabytes.
_MOST_CLUSTERS_READ = 20_000
# With less of the questions in loose clusters a threshold is as good as others.
_LARGEST_LOOSE_SHARE = 0.02


def check_model_files(context: CheckContext) -> Iterator[Finding]:
    """On this machine's disk, loadable, of which dimension; torch is not loaded."""
    settings = context.settings.model
    located = _locate(settings)
    if located is None:
        yield Finding(
            "model",
            "warn",
            f"{settings.name} is not on this machine yet",
            "the worker fetches it from the hub at its start; without a network set model.name to a folder",
        )
        return
    name, revision, folder = located
    dimension, family = _read_modules(folder)
    context.model = FoundModel(name, revision, dimension, family)
    text = f"{name} at {revision[:19]}, {dimension} dimensions"
    limit = _token_limit(folder)
    if settings.max_tokens is not None and limit is not None and settings.max_tokens > limit:
        remedy = f"set model.max_tokens to {limit} or less, or leave it unset"
        yield Finding(
            "model", "fail", f"{text}; it takes {limit} tokens, model.max_tokens is {settings.max_tokens}", remedy
        )
        return
    yield Finding("model", "ok", text)


def check_agreement(context: CheckContext) -> Iterator[Finding]:
    """The namespace was built with this model, or is new."""
    namespace = context.settings.clusters.namespace
    store = RedisStore(context.redis, prefix=context.settings.redis.prefix)
    built = store.namespace_state(namespace)
    if built is None:
        yield Finding("namespace", "ok", f"{namespace} is new")
        return
    text = f"{namespace} was built with {built.model} at {built.model_revision[:19]}, {built.dimension} dimensions"
    if context.model is None:
        yield Finding("namespace", "ok", text)
    elif context.model[:3] == (built.model, built.model_revision, built.dimension):
        yield Finding("namespace", "ok", f"{text}, as this worker would")
        yield from _preparation(store, context)
    elif _is_former(context.settings.model, built):
        yield Finding("namespace", "ok", f"{text}, this worker's former model; questream migrate moves it on")
    else:
        yield Finding(
            "namespace",
            "fail",
            text,
            "set model.name and model.revision to that model, or clusters.namespace to a new one; to move it to this "
            "worker's model, set model.former to that one and run: questream migrate",
        )


def check_threshold(context: CheckContext) -> Iterator[Finding]:
    """Unrelated questions of the namespace do not reach the threshold that is in force."""
    namespace = context.settings.clusters.namespace
    store = RedisStore(context.redis, prefix=context.settings.redis.prefix)
    built = store.namespace_state(namespace)
    if built is None or built.mean_questions < FEWEST_QUESTIONS:
        return
    rules = rules_built_with(built)
    least = least_threshold(built.mean_sum, built.mean_questions, rules.similarity)
    if least is not None and rules.threshold < least:
        yield Finding(
            "threshold",
            "warn",
            f"unrelated questions of {namespace} reach its threshold of {rules.threshold:.3f}: its clusters become "
            "heaps",
            f"set clusters.threshold to {least:.3f} or more; for wider groups than clusters read the levels above them",
        )
        return
    # Numbers of clusters are never given again, so that there are no more clusters than numbers.
    share = loose_share(store.load(namespace)) if built.next_cluster <= _MOST_CLUSTERS_READ else 0.0
    if share < _LARGEST_LOOSE_SHARE:
        text = f"unrelated questions of {namespace} stay below {rules.threshold:.3f}"
        if least is None:
            text = f"the questions of {namespace} are too alike to show how near unrelated ones come to each other"
        yield Finding("threshold", "ok", text)
        return
    yield Finding(
        "threshold",
        "warn",
        f"{share:.0%} of the questions of {namespace} are in clusters of questions with little in common, at its "
        f"threshold of {rules.threshold:.3f}",
        "set clusters.threshold higher; for wider groups than clusters read the levels above them",
    )


def _preparation(store: RedisStore, context: CheckContext) -> Iterator[Finding]:
    """Check that all texts of the namespace were prepared as this worker prepares them."""
    first, ours = store.prepared_by(context.settings.clusters.namespace), version_of(context.settings.input)
    if first is None or first == ours:
        return
    yield Finding(
        "preparation",
        "warn",
        f"its first texts were prepared by {first or 'nothing'}, this worker's are by {ours or 'nothing'}: its clusters"
        " hold both",
        "nothing has to be done; a new clusters.namespace has texts of one preparation alone"
        if is_of_one_kind(first, ours)
        else "set input.prepare and input.prepare_hook as they were, or clusters.namespace to a new one",
    )


def _is_former(model: ModelSettings, built: NamespaceState) -> bool:
    former = None if model.former_settings is None else _locate(model.former_settings)
    return former is not None and former[:2] == (built.model, built.model_revision)


def check_device(context: CheckContext) -> Iterator[Finding]:
    """Check on which device the model would run, and in which number format."""
    # Here torch is loaded, which takes seconds: the last of the checks.
    import torch

    from questream.encoder.device import choose_device, choose_dtype

    settings = context.settings.model
    device = choose_device(settings.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    dtype = choose_dtype(settings.dtype, device, context.model.family) if context.model else settings.dtype
    yield Finding("device", "ok", f"{device} ({name}), dtype {str(dtype).removeprefix('torch.')}")


def _locate(settings: ModelSettings) -> tuple[str, str, Path] | None:
    """Name, revision and folder of the model, or None where the hub would have to be asked for it."""
    from questream.encoder.files import locate_model
    from questream.encoder.presets import DEFAULT_ORGANISATION, known_by_name, require_licence

    known = known_by_name(settings.name)
    require_licence(settings.name, known.preset if known else None, settings.accept_license)
    folder = Path(settings.name).expanduser()
    if folder.exists() or settings.name.startswith((".", "/", "~")) or settings.name.count("/") > 1:
        files = locate_model(settings)
        return files.name, files.revision, files.folder
    name = settings.name if "/" in settings.name else f"{DEFAULT_ORGANISATION}/{settings.name}"
    revision = settings.revision or (known.revision if known else None)
    cached = _cached(name, revision)
    if cached is None:
        return None
    # Through its folder, so that no network is needed; the hub's cache names it by the commit.
    locate_model(settings.model_copy(update={"name": str(cached)}))
    return name, cached.name, cached


def _cached(name: str, revision: str | None) -> Path | None:
    """The folder of a model in the hub's cache on this machine."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "modules.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _read_modules(folder: Path) -> tuple[int, str]:
    """The length of the vectors, from the configuration of the last module that sets it, and the model's family."""
    dimension, family = 0, ""
    for module in _read(folder / "modules.json"):
        kind, path = module["type"].rpartition(".")[2], folder / module["path"]
        if kind == "Transformer":
            transformer = _read(path / "config.json")
            dimension, family = int(transformer.get("hidden_size", 0)), str(transformer.get("model_type", ""))
        elif kind == "Dense":
            dimension = int(_read(path / "config.json")["out_features"])
        elif kind == "Pooling":
            dimension = _pooled(_read(path / "config.json"), dimension)
    options = folder / "config_sentence_transformers.json"
    # The dimension to which a model that was saved with it cuts its vectors.
    truncated = _read(options).get("truncate_dim") if options.exists() else None
    return min(dimension, truncated or dimension), family


def _token_limit(folder: Path) -> int | None:
    """Tokens that the model says it takes, or that it has positions for, whichever are fewer; None where it says none.

    The probe at the worker's start is what decides; this needs no torch.
    """
    (first, *_) = _read(folder / "modules.json")
    options, config = (folder / first["path"] / name for name in ("sentence_bert_config.json", "config.json"))
    limits = [_read(options).get("max_seq_length")] if options.exists() else []
    if first["type"].endswith(".Transformer"):
        transformer = _read(config)
        positions = transformer.get("max_position_embeddings")
        if positions and transformer.get("model_type") in _POSITIONS_BEHIND_PADDING:
            positions -= int(transformer.get("pad_token_id", 1)) + 1
        limits.append(positions)
    return min((int(limit) for limit in limits if limit), default=None)


def _pooled(pooling: dict[str, Any], dimension: int) -> int:
    width = int(pooling.get("word_embedding_dimension") or pooling.get("embedding_dimension") or dimension)
    # Several modes at once lie side by side.
    modes = sum(value is True for name, value in pooling.items() if name.startswith("pooling_mode_"))
    return width * max(modes, 1)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({type(error).__name__})", "fetch the model again") from error


MODEL_CHECKS = (
    Check("model", check_model_files, limit_seconds=60.0),
    Check("namespace", check_agreement, needs=("redis", "model")),
    Check("threshold", check_threshold, needs=("redis",), limit_seconds=60.0),
    Check("device", check_device, limit_seconds=120.0),
)
