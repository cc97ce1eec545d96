"""Which keys there are, which hold secrets, and which one was probably meant."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import SecretStr

from ccdtasks.config.tables import Config

PREFIX = "CCDTASKS_"
PATH_VARIABLE = "CCDTASKS_CONFIG"


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


TABLES: dict[str, dict[str, bool]] = {
    table: {key: _holds_secret(info.annotation) for key, info in type(getattr(Config(), table)).model_fields.items()}
    for table in Config.model_fields
}
"""table -> key -> whether it holds a secret."""

_HARMLESS = re.compile(r"[A-Za-z_]{1,24}", re.ASCII)


def takes(table: str, key: str) -> bool:
    """True for a known key, and for `<key>_file` of a secret one."""
    keys = TABLES.get(table, {})
    return key in keys or keys.get(key.removesuffix("_file"), False)


def unknown_key(table: str, key: str) -> str:
    """The sentence for a key of the file that nothing reads; it names the nearest known one."""
    if table not in TABLES:
        return f"{_shown(f'[{table}]', table, 'A table')} is not known; the nearest known one is [{_nearest(table)}]."
    near_table, near_key = nearest_key(table, key)
    where = "" if near_table == table else f"[{near_table}] "
    return f"[{table}] {_shown(key, key, 'one key of it')} is not known; the nearest known key is {where}{near_key}."


def outside_tables(key: str) -> str:
    """The sentence for a key that stands before the first `[table]`."""
    table, near = nearest_key(None, key)
    return f"{_shown(key, key, 'A key')} stands outside of every table; the nearest known key is [{table}] {near}."


def unknown_variable(name: str) -> str:
    """The sentence for an environment variable with our prefix that nothing reads."""
    rest = name[len(PREFIX) :].lower()
    table, mark, key = rest.partition("__")
    if not mark:
        table, _, key = rest.partition("_")
    near_table, near_key = nearest_key(_nearest(table), key or rest)
    shown = _shown(name.upper(), key or rest, f"A variable {PREFIX}...")
    return f"{shown} is not known; the nearest known one is {PREFIX}{near_table.upper()}__{near_key.upper()}."


def nearest_key(table: str | None, key: str) -> tuple[str, str]:
    """The known key that `key` was probably meant to be: a namesake elsewhere, else the closest one of `table`."""
    key = key.lower()
    namesakes = [name for name, keys in TABLES.items() if key in keys]
    if table is None or (namesakes and table not in namesakes):
        table = namesakes[0] if namesakes else table
    if table is None:
        every = {known: name for name, keys in TABLES.items() for known in keys}
        near = _closest(key, list(every))
        return every[near], near
    return table, _closest(
        key, [name for known in TABLES[table] for name in (known, f"{known}_file") if takes(table, name)]
    )


def _nearest(table: str) -> str:
    return _closest(table.lower(), list(TABLES))


def _closest(word: str, known: list[str]) -> str:
    return get_close_matches(word[:100], known, n=1, cutoff=0.0)[0]


def _shown(text: str, judged: str, otherwise: str) -> str:
    """`text`, unless it may be a secret that slipped to the left of the equals sign."""
    return text if _HARMLESS.fullmatch(judged) else otherwise
