"""Reads the user's configuration and finds all its mistakes at once.

    environment  >  systemd credentials  >  TOML file  >  defaults

A secret may be given as `<key>_file`, the path of a file that holds it. No mistake, warning or error names a value.
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ccdtasks.config import keys, sources
from ccdtasks.config.checks import mistakes_in
from ccdtasks.config.sources import Findings, Raw
from ccdtasks.config.tables import Config
from ccdtasks.errors import Invalid

_PLAIN_WORDS = {
    "Input should be": "must be",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "a valid string": "text in quotes",
}
_NAME = re.compile(r"(?!sk-)[A-Za-z0-9_.:@-]{1,60}", re.ASCII)


class BadConfig(Invalid):
    """The configuration cannot be used; `mistakes` holds one sentence each, all that were found."""

    code = "bad_config"

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("config", " ".join(mistakes), "see config.example.toml, then: ccdtasks config check")
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """`path`: the file that was read, None if there is none. `warnings`: sentences that the user should see."""

    config: Config
    path: Path | None
    warnings: tuple[str, ...] = ()


def load_config(explicit: Path | None = None) -> LoadedConfig:
    """The configuration of `explicit`, or of the first file that exists of the usual ones, or the defaults.

    Raises BadConfig with every mistake in it; also when the explicit file, or `$CCDTASKS_CONFIG`, does not exist.
    """
    found = Findings()
    path = _find_file(explicit, found)
    raw: Raw = {}
    for source in (
        sources.from_toml(path, found) if path else {},
        sources.from_credentials(os.environ.get("CREDENTIALS_DIRECTORY"), found),
        sources.from_environment(os.environ, found),
    ):
        for table, values in source.items():
            raw.setdefault(table, {}).update(values)
    config, wrong = _validate(raw, found)
    found.mistakes += mistakes_in(config, set(keys.TABLES) - wrong)
    if found.mistakes:
        raise BadConfig(found.mistakes) from None
    return LoadedConfig(config, path, (*found.warnings, *_of_another_user(config.paths.data_dir)))


def _of_another_user(data_dir: Path) -> list[str]:
    """What to type instead, where the data belong to the service's user: his Podman and his configuration are meant."""
    try:
        owner = pwd.getpwuid(data_dir.stat().st_uid)
    except (OSError, KeyError):
        return []
    if owner.pw_uid in {os.geteuid(), 0}:
        return []
    return [f"{data_dir} belongs to the user {owner.pw_name}; act as that user: sudo -u {owner.pw_name} ccdtasks ..."]


def _find_file(explicit: Path | None, found: Findings) -> Path | None:
    variable = os.environ.get(keys.PATH_VARIABLE)
    named = explicit or (Path(variable) if variable else None)
    if named is not None:
        if _is_absent(named):
            found.mistakes.append(f"The configuration file {named} does not exist.")
            return None
        return named
    home = os.environ.get("XDG_CONFIG_HOME")
    usual = (
        Path("/etc/ccdtasks/config.toml"),
        (Path(home) if home else Path("~/.config").expanduser()) / "ccdtasks" / "config.toml",
    )
    return next((path for path in usual if os.path.exists(path)), None)


def _is_absent(path: Path) -> bool:
    """False also in a folder that is closed to this user: reading it will say so."""
    try:
        path.stat()
    except PermissionError:
        return False
    except OSError:
        return True
    return False


def _validate(raw: Raw, found: Findings) -> tuple[Config, set[str]]:
    """The configuration without the keys that cannot be read, and the tables that had such keys."""
    try:
        return Config.model_validate(raw), set()
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
    wrong = set()
    for detail in details:
        table, key = (str(part) for part in detail["loc"][:2])
        wrong.add(table)
        raw[table].pop(key, None)
        sentence = _sentence(table, _path(detail["loc"]), detail)
        if sentence not in found.mistakes:
            found.mistakes.append(sentence)
    return Config.model_validate(raw), wrong


def _path(loc: tuple[int | str, ...]) -> str:
    """`model`, `prices.claude-sonnet-5.input`; what may be a secret that slipped into a name is left out."""
    return ".".join(str(part) for part in loc[1:] if isinstance(part, str) and _NAME.fullmatch(part))


def _sentence(table: str, key: str, detail: ErrorDetails | dict[str, Any]) -> str:
    text = detail["msg"].removeprefix("Value error, ")
    for words, plain in _PLAIN_WORDS.items():
        text = text.replace(words, plain)
    text = text[0].lower() + text[1:]
    if detail["type"] == "extra_forbidden":
        text = "is not known"
    elif detail["type"] == "missing":
        text = "is missing"
    elif detail["type"].startswith("int_"):
        text = "must be a whole number"
    elif "decimal" in detail["type"] or "float" in detail["type"]:
        text = "must be a number"
    return f"[{table}] {key} {text}."
