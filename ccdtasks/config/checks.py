"""What keys must not say together. Each check takes one table and gives the mistakes it finds, one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ccdtasks.config.tables import ClaudeConfig, Config, DiscordConfig, PathsConfig, StorageConfig

MAX_SOCKET_PATH_BYTES = 107  # unix(7): sun_path is 108 bytes with its closing zero
_BELOW_DATA_DIR = len("/runs/123456789abc/guest/control.sock")  # docs/run-folder.md: the longest one
_SMALLEST_SNOWFLAKE = 10**15  # Discord, Reference, Snowflakes: the first ones, of 2015, have 17 digits


def mistakes_in(config: Config, tables: set[str]) -> list[str]:
    """The mistakes in those `tables` whose keys could all be read."""
    return [text for name, check in _CHECKS.items() if name in tables for text in check(getattr(config, name))]


def _discord(discord: DiscordConfig) -> Iterator[str]:
    if discord.token and discord.guild_id is None:
        yield "[discord] guild_id is missing: with a token, say which server the bot works in."
    ids: dict[str, tuple[int, ...]] = {"guild_id": () if discord.guild_id is None else (discord.guild_id,)}
    ids |= {"admin_role_ids": discord.admin_role_ids, "user_role_ids": discord.user_role_ids}
    for key, found in ids.items():
        if any(not _SMALLEST_SNOWFLAKE <= snowflake < 2**63 for snowflake in found):
            yield (
                f"[discord] {key} must be ids of 17 to 20 digits: switch on Discord's developer mode, "
                "then right-click and choose Copy ID."
            )


def _claude(claude: ClaudeConfig) -> Iterator[str]:
    if claude.api_key and claude.oauth_token:
        yield "[claude] api_key and oauth_token are both set: keep only the one you want to pay with."


def _storage(storage: StorageConfig) -> Iterator[str]:
    if storage.kind == "s3":
        if not storage.bucket:
            yield '[storage] bucket is missing: kind = "s3" needs to know where to put files.'
        if bool(storage.access_key) != bool(storage.secret_key):
            yield "[storage] access_key and secret_key belong together: set both, or neither."
        if storage.path:
            yield '[storage] path means nothing with kind = "s3": remove it.'
        return
    unused = [key for key in ("endpoint_url", "region", "bucket", "access_key", "secret_key") if getattr(storage, key)]
    if unused:
        yield f'[storage] kind = "s3" is missing, or {" and ".join(unused)} should not be there.'


def _paths(paths: PathsConfig) -> Iterator[str]:
    longest = MAX_SOCKET_PATH_BYTES - _BELOW_DATA_DIR
    length = len(str(paths.data_dir).encode())
    if length > longest:
        yield f"[paths] data_dir is {length} bytes long; sockets below it need it to be at most {longest}."


_CHECKS: dict[str, Callable[[Any], Iterator[str]]] = {
    "discord": _discord,
    "claude": _claude,
    "storage": _storage,
    "paths": _paths,
}
