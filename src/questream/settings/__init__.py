"""Every setting of questream: one immutable tree, from flags, environment and a TOML file."""

from questream.settings.describe import Setting, all_settings, env_name, mask_url, masked
from questream.settings.load import CONFIG_ENV_NAME, DEFAULT_CONFIG, load_settings
from questream.settings.tree import (
    GRANULARITY_THRESHOLDS,
    NAMESPACE_PATTERN,
    ClusterSettings,
    Granularity,
    InputSettings,
    KafkaSettings,
    LogSettings,
    MetricsSettings,
    ModelSettings,
    RedisSettings,
    Settings,
)

__all__ = [
    "CONFIG_ENV_NAME",
    "DEFAULT_CONFIG",
    "GRANULARITY_THRESHOLDS",
    "NAMESPACE_PATTERN",
    "ClusterSettings",
    "Granularity",
    "InputSettings",
    "KafkaSettings",
    "LogSettings",
    "MetricsSettings",
    "ModelSettings",
    "RedisSettings",
    "Setting",
    "Settings",
    "all_settings",
    "env_name",
    "load_settings",
    "mask_url",
    "masked",
]
