"""`config.example.toml` says every key there is, no other, and the true defaults."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from ccdtasks.config import Config, load_config
from ccdtasks.config.keys import TABLES

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
_KEY = re.compile(r"# ([a-z_]+) = ")
NO_DEFAULT = {"budget_usd_per_user_month", "fallback_model", "guild_id", "notification_channel", "prices", "public_url"}
NO_DEFAULT |= {"url", "path", "endpoint_url", "region", "bucket", "socket", "allow_private", "deny_hosts"}


def _with_keys_switched_on() -> dict[str, dict[str, object]]:
    lines = EXAMPLE.read_text().splitlines()
    text = "\n".join(line[2:] if _KEY.match(line) else line for line in lines)
    return tomllib.loads(text)


def test_example_and_code_know_the_same_keys() -> None:
    documented = {table: set(keys) for table, keys in _with_keys_switched_on().items()}
    assert documented == {table: set(keys) for table, keys in TABLES.items()}


def test_each_key_is_explained_above_it() -> None:
    lines = EXAMPLE.read_text().splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("[")]
    for start in starts:
        assert lines[start + 1].startswith("# "), lines[start]
        assert not _KEY.match(lines[start + 1]), f"the first key of {lines[start]} has no explanation"


def test_defaults_in_the_example_are_the_true_ones() -> None:
    defaults = Config().model_dump(mode="json")
    for table, values in _with_keys_switched_on().items():
        for key, value in values.items():
            if key in NO_DEFAULT or TABLES[table][key]:
                assert defaults[table][key] in (None, [], {}), f"[{table}] {key} has a default: document it"
            else:
                default = defaults[table][key]
                assert value == (float(default) if isinstance(value, float) else default), f"[{table}] {key}"


def test_secrets_are_marked_as_such() -> None:
    text = EXAMPLE.read_text()
    for table, keys in TABLES.items():
        section = text.split(f"[{table}]\n", 1)[1].split("\n[", 1)[0]
        if any(keys.values()):
            assert "secret" in section, table


def test_the_example_as_shipped_is_a_valid_configuration() -> None:
    assert load_config(EXAMPLE).config == Config()
