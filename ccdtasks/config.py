"""The configuration: one TOML file, each key overridable by `CCDTASKS_<TABLE>__<KEY>`."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class DiscordConfig(_Table):
    """The bot. Without a token the service runs without Discord, from the shell alone."""

    token: SecretStr | None = None
    guild_id: int | None = None
    api_url: str = "https://discord.com/api/v10"
    gateway_url: str = "wss://gateway.discord.gg/"
    admin_role_ids: tuple[int, ...] = ()
    user_role_ids: tuple[int, ...] = ()
    notification_channel: str | None = None


class ClaudeConfig(_Table):
    """The model: an API key or a subscription token, never both."""

    api_key: SecretStr | None = None
    oauth_token: SecretStr | None = None
    base_url: str = "https://api.anthropic.com"
    model: str = "claude-sonnet-5"
    fallback_model: str | None = None
    max_turns: int = Field(200, ge=1, le=10_000)
    max_budget_usd: Decimal = Field(Decimal("2.00"), gt=0, le=1000)


class ServerConfig(_Table):
    """The web part."""

    host: str = "127.0.0.1"
    port: int = Field(8420, ge=0, le=65535)
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()


class DatabaseConfig(_Table):
    """SQLite below the data folder unless a URL says otherwise (`postgresql://user@host/name`)."""

    url: SecretStr | None = None


class StorageConfig(_Table):
    """Where artifacts go."""

    kind: Literal["local", "s3"] = "local"
    path: Path | None = None
    endpoint_url: str | None = None
    region: str | None = None
    bucket: str | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    link_ttl_s: int = Field(7 * 86400, ge=60, le=7 * 86400)


class PodmanConfig(_Table):
    """The containers. Without `socket` the running user's own is found."""

    socket: str | None = None
    image: str = "localhost/ccdtasks-session:latest"
    memory_mib: int = Field(3072, ge=512)
    cpus: float = Field(2.0, gt=0)
    pids: int = Field(1024, ge=128)
    chromium_sandbox: Literal["required", "off"] = "required"


class LimitsConfig(_Table):
    """What may be used up."""

    max_sessions: int = Field(10, ge=1, le=100)
    starts_per_minute: int = Field(10, ge=1)
    run_timeout_s: int = Field(1800, ge=30, le=86400)
    human_timeout_s: int = Field(7200, ge=60, le=7 * 86400)
    budget_usd_per_user_month: Decimal | None = Field(None, gt=0)
    run_folder_mib: int = Field(512, ge=16)


class EgressConfig(_Table):
    """What the browser may reach besides the public internet, and what not."""

    allow_private: tuple[str, ...] = ()
    deny_hosts: tuple[str, ...] = ()


class PushoverConfig(_Table):
    """Pushes to phones."""

    token: SecretStr | None = None
    api_url: str = "https://api.pushover.net"


class PathsConfig(_Table):
    """Where the state lives; the path must be short, since sockets below it have 107 bytes."""

    data_dir: Path = Path("/var/lib/ccdtasks")


class LogConfig(_Table):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Config(_Table):
    """The whole file; each table is documented in `config.example.toml`."""

    discord: DiscordConfig = DiscordConfig()
    claude: ClaudeConfig = ClaudeConfig()
    server: ServerConfig = ServerConfig()
    database: DatabaseConfig = DatabaseConfig()
    storage: StorageConfig = StorageConfig()
    podman: PodmanConfig = PodmanConfig()
    limits: LimitsConfig = LimitsConfig()
    egress: EgressConfig = EgressConfig()
    pushover: PushoverConfig = PushoverConfig()
    paths: PathsConfig = PathsConfig()
    log: LogConfig = LogConfig()
