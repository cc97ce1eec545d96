"""`ccdtasks config check`"""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from ccdtasks.cli.look import plain_table
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.config import Config, LoadedConfig


@click.group()
def config() -> None:
    """Check the configuration."""


@config.command()
@verb
@click.pass_obj
def check(shell: Shell) -> None:
    """Read the configuration, name every mistake, and show what holds. Secrets are never shown."""
    loaded = shell.load_config()
    shell.show(_data(loaded), lambda: _table(loaded))


def _data(loaded: LoadedConfig) -> dict[str, Any]:
    return {
        "path": str(loaded.path) if loaded.path else None,
        "warnings": list(loaded.warnings),
        "config": loaded.config.model_dump(mode="json"),
    }


def _table(loaded: LoadedConfig) -> Table:
    defaults = Config()
    table = plain_table("key", "value", "")
    for name, values in loaded.config.model_dump(mode="json").items():
        for key, value in values.items():
            changed = getattr(getattr(loaded.config, name), key) != getattr(getattr(defaults, name), key)
            table.add_row(f"{name}.{key}", "" if value is None else str(value), "" if changed else "default")
    table.title = f"✓ {loaded.path} is good." if loaded.path else "✓ No configuration file; the defaults hold."
    return table
