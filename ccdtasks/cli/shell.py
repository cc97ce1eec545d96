"""What a verb needs from its surroundings: the options that all share, the configuration, and where to show things."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ccdtasks.config import LoadedConfig

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(slots=True)
class Shell:
    """One call of the program."""

    as_json: bool = False
    config_path: Path | None = None

    def load_config(self) -> LoadedConfig:
        """The user's configuration; its warnings are shown. Raises BadConfig."""
        from ccdtasks.config import load_config

        loaded = load_config(self.config_path)
        for warning in loaded.warnings:
            click.echo(f"warning: {warning}", err=True)
        return loaded

    def show(self, data: Any, picture: Callable[[], RenderableType]) -> None:
        """`data` as JSON, or the picture of it for people. Only the one that is wanted is made."""
        if self.as_json:
            click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        else:
            self.console().print(picture())

    def console(self, *, stderr: bool = False) -> Console:
        """Where people read: plain text and wide lines when it is no terminal."""
        from rich.console import Console

        terminal = (sys.stderr if stderr else sys.stdout).isatty()
        return Console(
            stderr=stderr,
            width=None if terminal else 200,
            highlight=False,
            soft_wrap=not terminal,
            emoji=False,
            markup=False,
        )


def verb(function: Function) -> Function:
    """Gives a verb the options that all of them take."""
    for option in (
        click.option("--json", "as_json", is_flag=True, expose_value=False, callback=_set_json, help="Answer in JSON."),
        config_option,
    ):
        function = option(function)
    return function


def pairs(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """`name=value` words, split. Anything else is a mistake in the command line."""
    for word in words:
        if "=" not in word or word.startswith("="):
            raise click.UsageError(f"“{word}” is not of the form name=value.")
    return [(name.strip(), value) for name, _, value in (word.partition("=") for word in words)]


def _set_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    ctx.ensure_object(Shell).as_json |= value


def _set_config(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Shell).config_path = value


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    expose_value=False,
    callback=_set_config,
    help="The configuration file; else $CCDTASKS_CONFIG, /etc/ccdtasks/config.toml, ~/.config/ccdtasks/config.toml.",
)
