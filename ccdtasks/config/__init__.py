"""The configuration: one TOML file, each key overridable by `CCDTASKS_<TABLE>__<KEY>`.

`Config(...)` builds one by hand (tests, the demo); `load_config` reads the user's.
"""

from __future__ import annotations

from ccdtasks.config.load import BadConfig, LoadedConfig, load_config
from ccdtasks.config.tables import (
    ClaudeConfig,
    Config,
    DatabaseConfig,
    DiscordConfig,
    EgressConfig,
    LimitsConfig,
    LogConfig,
    PathsConfig,
    PodmanConfig,
    PriceConfig,
    PushoverConfig,
    ScheduleConfig,
    ServerConfig,
    StorageConfig,
)

__all__ = [
    "BadConfig",
    "ClaudeConfig",
    "Config",
    "DatabaseConfig",
    "DiscordConfig",
    "EgressConfig",
    "LimitsConfig",
    "LoadedConfig",
    "LogConfig",
    "PathsConfig",
    "PodmanConfig",
    "PriceConfig",
    "PushoverConfig",
    "ScheduleConfig",
    "ServerConfig",
    "StorageConfig",
    "load_config",
]
