"""Where keys come from: the TOML file, the environment, systemd credentials. Mistakes name places, never values."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from ccdtasks.config import keys
from ccdtasks.config.tables import Config

_MAX_SECRET_BYTES = 16_384

Raw = dict[str, dict[str, Any]]
"""table -> key -> value as written."""


@dataclass(slots=True)
class Findings:
    """What was noticed on the way: sentences for the user."""

    mistakes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Settings(Config, BaseSettings):
    """The keys of `Config` in the form that pydantic-settings reads; lists stay text until they are checked."""

    model_config = SettingsConfigDict(
        env_prefix=keys.PREFIX, env_nested_delimiter="__", env_ignore_empty=True, enable_decoding=False
    )


def from_toml(path: Path, found: Findings) -> Raw:
    """The keys of the file. A world-readable one that holds secrets is warned about."""
    try:
        data = TomlConfigSettingsSource(_Settings, path)()
    except tomllib.TOMLDecodeError as error:
        # The parser's own words may quote the line, and the line may hold a secret.
        line = re.search(r"\(at line (\d+)", str(error))
        found.mistakes.append(f"{path} is not valid TOML: look at {f'line {line[1]}' if line else 'its end'}.")
        return {}
    except UnicodeDecodeError:
        found.mistakes.append(f"{path} is not UTF-8 text.")
        return {}
    except OSError as error:
        found.mistakes.append(f"{path} cannot be read: {error.strerror}.")
        return {}
    raw: Raw = {}
    for table, values in data.items():
        if not isinstance(values, dict):
            found.mistakes.append(keys.outside_tables(table))
        elif table not in keys.TABLES:
            found.mistakes.append(keys.unknown_key(table, ""))
        else:
            found.mistakes += [keys.unknown_key(table, key) for key in values if not keys.takes(table, key)]
            raw[table] = {key: value for key, value in values.items() if keys.takes(table, key)}
    if any(keys.TABLES[table].get(key) for table, values in raw.items() for key in values) and _others_read(path):
        found.warnings.append(f"{path} holds secrets, and every user of this machine can read it: chmod 640 {path}")
    return _with_secret_files(raw, found)


def from_environment(environ: Mapping[str, str], found: Findings) -> Raw:
    """The keys of the process's environment."""
    raw: Raw = {}
    data = EnvSettingsSource(_Settings)()
    for name in sorted(name for name in environ if name.upper().startswith(keys.PREFIX)):
        table, _, key = name[len(keys.PREFIX) :].lower().partition("__")
        if keys.takes(table, key):
            if key in data.get(table, {}):  # it is not there when the variable is empty: that means "not set"
                raw.setdefault(table, {})[key] = data[table][key]
        elif name.upper() != keys.PATH_VARIABLE:
            # A single underscore or a misspelt table must not leave the default in force unseen.
            found.mistakes.append(keys.unknown_variable(name))
    return _with_secret_files(raw, found)


def from_credentials(folder: str | None, found: Findings) -> Raw:
    """What systemd's `LoadCredential=claude.api_key:/some/file` put into the service's own `folder`."""
    raw: Raw = {}
    if folder:
        for table, known in keys.TABLES.items():
            for key in (key for key, secret in known.items() if secret):
                path = Path(folder) / f"{table}.{key}"
                if path.exists():
                    raw.setdefault(table, {})[f"{key}_file"] = str(path)
    return _with_secret_files(raw, found)


def _with_secret_files(raw: Raw, found: Findings) -> Raw:
    """`raw` with each `<secret>_file` replaced by what the file holds."""
    for table, values in raw.items():
        for name in [name for name in values if name not in keys.TABLES[table]]:
            key, path = name.removesuffix("_file"), values.pop(name)
            if key in values:
                found.mistakes.append(f"[{table}] {key} and {name} are both set: keep one.")
            elif not isinstance(path, str):
                found.mistakes.append(f"[{table}] {name} must be the path of a file.")
            else:
                text = _read_secret(Path(path).expanduser(), f"[{table}] {name}", found)
                if text is not None:
                    values[key] = text
    return raw


def _read_secret(path: Path, where: str, found: Findings) -> str | None:
    # The path is not named: somebody may have pasted the secret itself there.
    try:
        if not path.is_file():
            found.mistakes.append(f"{where} names a file that does not exist.")
            return None
        with path.open("rb") as file:
            text = file.read(_MAX_SECRET_BYTES + 1).decode()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        found.mistakes.append(f"{where} names a file that cannot be read: {reason}.")
        return None
    if len(text) > _MAX_SECRET_BYTES or not text.strip():
        found.mistakes.append(f"{where} names a file that holds no secret: it is empty or too large.")
        return None
    if _others_read(path):
        found.warnings.append(f"{where} names a file that every user of this machine can read: chmod 600 on it.")
    return text


def _others_read(path: Path) -> bool:
    return bool(os.stat(path).st_mode & stat.S_IROTH)
