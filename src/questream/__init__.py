"""Real-time question clustering for Kafka.

In a notebook:

    from questream import ModelSettings, QuestionClusterer, load_encoder

    clusterer = QuestionClusterer(load_encoder(ModelSettings(name="sentence-transformers/all-MiniLM-L6-v2")))
    clusterer.assign(["Where is my card?", "My card has not arrived"]).ids
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from questream.clustering.levels import LevelRules
    from questream.domain import ClusterState, Decision, RunnerUp
    from questream.encoder import Encoder, load_encoder, load_judge
    from questream.errors import QuestreamError
    from questream.estimator import OnlineClustering
    from questream.library import Assigned, Neighbour, QuestionClusterer
    from questream.settings import ModelSettings

# Names are imported when they are first asked for: the commands that need no model must start at once.
_HOMES = {
    "Assigned": "questream.library",
    "ClusterState": "questream.domain",
    "Decision": "questream.domain",
    "Encoder": "questream.encoder",
    "LevelRules": "questream.clustering.levels",
    "ModelSettings": "questream.settings",
    "Neighbour": "questream.library",
    "OnlineClustering": "questream.estimator",
    "QuestionClusterer": "questream.library",
    "QuestreamError": "questream.errors",
    "RunnerUp": "questream.domain",
    "load_encoder": "questream.encoder",
    "load_judge": "questream.encoder",
}

__all__ = [
    "Assigned",
    "ClusterState",
    "Decision",
    "Encoder",
    "LevelRules",
    "ModelSettings",
    "Neighbour",
    "OnlineClustering",
    "QuestionClusterer",
    "QuestreamError",
    "RunnerUp",
    "load_encoder",
    "load_judge",
]


def __dir__() -> list[str]:
    return sorted({*__all__, "__doc__", "__name__", "__version__"})


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("questream")
    raise AttributeError(f"module 'questream' has no attribute {name!r}")
