"""Every setting of questream: one immutable tree, from flags, environment and a TOML file."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from questream.settings.describe import Setting, all_settings, env_name, mask_url, masked
    from questream.settings.load import CONFIG_ENV_NAME, DEFAULT_CONFIG, load_settings
    from questream.settings.tree import (
        GRANULARITY_THRESHOLDS,
        NAMESPACE_PATTERN,
        ClusterSettings,
        EventSettings,
        Granularity,
        InputSettings,
        JudgeSettings,
        KafkaSettings,
        LogSettings,
        MetricsSettings,
        ModelSettings,
        NameSettings,
        NamespaceSettings,
        RedisSettings,
        ServeSettings,
        Settings,
        WebhookSettings,
    )

# Names are imported when they are first asked for: `questream --help` needs none of them, and pydantic takes its time.
_HOMES = {
    "describe": ("Setting", "all_settings", "env_name", "mask_url", "masked"),
    "load": ("CONFIG_ENV_NAME", "DEFAULT_CONFIG", "load_settings"),
    "tree": (
        *(
            "GRANULARITY_THRESHOLDS",
            "NAMESPACE_PATTERN",
            "ClusterSettings",
            "EventSettings",
            "Granularity",
            "InputSettings",
            "JudgeSettings",
            "NameSettings",
            "NamespaceSettings",
        ),
        *("KafkaSettings", "LogSettings", "MetricsSettings", "ModelSettings", "RedisSettings", "ServeSettings"),
        "Settings",
        "WebhookSettings",
    ),
}

__all__ = [
    "CONFIG_ENV_NAME",
    "DEFAULT_CONFIG",
    "GRANULARITY_THRESHOLDS",
    "NAMESPACE_PATTERN",
    "ClusterSettings",
    "EventSettings",
    "Granularity",
    "InputSettings",
    "JudgeSettings",
    "KafkaSettings",
    "LogSettings",
    "MetricsSettings",
    "ModelSettings",
    "NameSettings",
    "NamespaceSettings",
    "RedisSettings",
    "ServeSettings",
    "Setting",
    "Settings",
    "WebhookSettings",
    "all_settings",
    "env_name",
    "load_settings",
    "mask_url",
    "masked",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"questream.settings.{module}"), name)
    raise AttributeError(f"module 'questream.settings' has no attribute {name!r}")
