"""The tables of the configuration and what each key may hold."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from ccdtasks.config import values


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Secret = Annotated[SecretStr, AfterValidator(values.secret)]
HttpUrl = Annotated[str, AfterValidator(values.http_url)]
SocketUrl = Annotated[str, AfterValidator(values.socket_url)]
FolderPath = Annotated[Path, AfterValidator(values.folder)]
Snowflakes = Annotated[tuple[int, ...], BeforeValidator(values.listed)]
"""Discord ids. A list is a TOML array, or text with commas in an environment variable."""
Networks = Annotated[tuple[str, ...], BeforeValidator(values.listed), AfterValidator(values.networks)]
HostPorts = Annotated[tuple[str, ...], BeforeValidator(values.listed), AfterValidator(values.host_ports)]
Hosts = Annotated[tuple[str, ...], BeforeValidator(values.listed), AfterValidator(values.hosts)]


class DiscordConfig(_Table):
    """The bot. Without a token the service runs without Discord, from the shell alone."""

    token: Secret | None = None
    guild_id: int | None = None
    api_url: HttpUrl = "https://discord.com/api/v10"
    gateway_url: SocketUrl = "wss://gateway.discord.gg/"
    admin_role_ids: Snowflakes = ()
    user_role_ids: Snowflakes = ()
    notification_channel: str | None = None


class PriceConfig(_Table):
    """What a model's tokens cost: US dollars per million. What is left out of the cache follows from `input`."""

    input: Decimal = Field(ge=0, le=100_000)
    output: Decimal = Field(ge=0, le=100_000)
    cache_write: Decimal | None = Field(None, ge=0, le=100_000)
    cache_read: Decimal | None = Field(None, ge=0, le=100_000)


Prices = Annotated[dict[str, PriceConfig], BeforeValidator(values.table)]
"""Model -> price. A TOML table, or JSON in an environment variable."""


class ClaudeConfig(_Table):
    """The model: an API key or a subscription token, never both."""

    api_key: Secret | None = None
    oauth_token: Secret | None = None
    base_url: HttpUrl = "https://api.anthropic.com"
    model: str = Field("claude-sonnet-5", min_length=1)
    fallback_model: str | None = None
    max_turns: int = Field(200, ge=1, le=10_000)
    max_budget_usd: Decimal = Field(Decimal("2.00"), gt=0, le=1000)
    prices: Prices = {}


class ServerConfig(_Table):
    """The web part."""

    enabled: bool = True
    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8420, ge=0, le=65535)
    public_url: HttpUrl | None = None
    trusted_proxies: Networks = ()


class DatabaseConfig(_Table):
    """SQLite below the data folder unless a URL says otherwise (`postgresql://user@host/name`)."""

    url: Annotated[Secret, AfterValidator(values.database_url)] | None = None


class StorageConfig(_Table):
    """Where artifacts go."""

    kind: Literal["local", "s3"] = "local"
    path: FolderPath | None = None
    endpoint_url: HttpUrl | None = None
    region: str | None = None
    bucket: str | None = None
    access_key: Secret | None = None
    secret_key: Secret | None = None
    link_ttl_s: int = Field(7 * 86400, ge=60, le=7 * 86400)


class PodmanConfig(_Table):
    """The containers. Without `socket` the running user's own is found."""

    socket: Annotated[str, AfterValidator(values.unix_socket)] | None = None
    image: str = Field("localhost/ccdtasks-session:latest", min_length=1)
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


class ScheduleConfig(_Table):
    """When scheduled runs start, and what becomes of those that could not."""

    timezone: Annotated[str, AfterValidator(values.timezone)] = "UTC"
    jitter_s: int = Field(0, ge=0, le=3000)
    catch_up_window_s: int = Field(12 * 3600, ge=0, le=7 * 86400)


class EgressConfig(_Table):
    """What the browser may reach besides the public internet, and what not."""

    allow_private: HostPorts = ()
    deny_hosts: Hosts = ()


class PushoverConfig(_Table):
    """Pushes to phones."""

    token: Secret | None = None
    api_url: HttpUrl = "https://api.pushover.net"


class PathsConfig(_Table):
    """Where the state lives; the path must be short, since sockets below it have 107 bytes."""

    data_dir: FolderPath = Path("/var/lib/ccdtasks")


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
    schedule: ScheduleConfig = ScheduleConfig()
    egress: EgressConfig = EgressConfig()
    pushover: PushoverConfig = PushoverConfig()
    paths: PathsConfig = PathsConfig()
    log: LogConfig = LogConfig()
