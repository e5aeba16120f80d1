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
    **dict.fromkeys(("Setting", "all_settings", "env_name", "mask_url", "masked"), "describe"),
    **dict.fromkeys(("CONFIG_ENV_NAME", "DEFAULT_CONFIG", "load_settings"), "load"),
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
    if name in __all__:
        return getattr(import_module(f"questream.settings.{_HOMES.get(name, 'tree')}"), name)
    raise AttributeError(f"module 'questream.settings' has no attribute {name!r}")
