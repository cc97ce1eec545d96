"""How a verb ends: one table from errors to exit codes, one way to show them. No verb catches anything itself."""

from __future__ import annotations

import json
import os
import secrets
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from ccdtasks.cli.root import cli
from ccdtasks.cli.shell import Shell
from ccdtasks.cli.wording import in_the_shell
from ccdtasks.config import BadConfig
from ccdtasks.errors import CcdError, Conflict, Denied, Invalid, LimitReached, NotFound, Unavailable

OK = 0
NOT_COMPLETED = 1
USAGE = 2
BUG = 70
INTERRUPTED = 130

EXIT_CODES: dict[type[CcdError], int] = {
    NotFound: 3,
    Invalid: 4,
    Denied: 5,
    Conflict: 6,
    LimitReached: 7,
    Unavailable: 8,
    BadConfig: 78,
}
"""The exit code of each class of mistake; the most exact class counts. 78: systemd does not restart the service."""


def run(argv: Sequence[str]) -> int:
    """The exit code of a command line, after showing whatever there is to show."""
    shell = Shell(as_json="--json" in argv)
    try:
        result = cli.main(list(argv), prog_name="ccdtasks", standalone_mode=False, obj=shell)
    except (Exception, KeyboardInterrupt) as error:
        return _show_end(shell, error)
    return result if isinstance(result, int) else OK


def _show_end(shell: Shell, error: BaseException) -> int:
    match error:
        case CcdError():
            code = exit_code(error)
            _show_mistake(shell, error)
        case click.exceptions.NoArgsIsHelpError():
            code = USAGE
            click.echo(error.format_message(), err=True)
        case click.ClickException():
            code = USAGE
            context = error.ctx if isinstance(error, click.UsageError) else None
            _show(shell, "usage", error.format_message(), f"{context.command_path if context else 'ccdtasks'} --help")
        case click.Abort() | KeyboardInterrupt():
            code = INTERRUPTED
            _show(shell, "interrupted", "Stopped from the keyboard.", "")
        case _:
            code = BUG
            _show(shell, "bug", "Something broke in ccdtasks itself.", _record_incident(error))
    return code


def exit_code(error: CcdError) -> int:
    """The code of the nearest class in the table."""
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), BUG)


def _show_mistake(shell: Shell, error: CcdError) -> None:
    if isinstance(error, BadConfig) and not shell.as_json:
        for mistake in error.mistakes:
            click.echo(f"error: {mistake}", err=True)
        click.echo(f"(hint: {error.hint})", err=True)
        return
    more: dict[str, object] = {}
    if isinstance(error, BadConfig):
        more["mistakes"] = list(error.mistakes)
    elif isinstance(error, Invalid):
        more["field"] = error.field
    elif isinstance(error, LimitReached):
        more["retry_after_s"] = error.retry_after_s
    elif isinstance(error, Unavailable):
        more["part"] = error.part
    _show(shell, error.code, error.message, in_the_shell(error.hint), more)


def _show(shell: Shell, code: str, message: str, hint: str, more: dict[str, object] | None = None) -> None:
    if shell.as_json:
        click.echo(json.dumps({"error": {"code": code, "message": message, "hint": hint, **(more or {})}}), err=True)
    else:
        click.echo(f"error: {message}{f' (hint: {hint})' if hint else ''}", err=True)


def _record_incident(error: BaseException) -> str:
    """Keeps the traceback in a file, since it means nothing to a user, and says under which number."""
    incident = secrets.token_hex(4)
    text = f"{datetime.now(UTC).isoformat()} incident {incident}\n{''.join(traceback.format_exception(error))}\n"
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "ccdtasks" / "incidents.log"
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(state, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            file.write(text)
    except OSError:
        click.echo(text, err=True)
        return f"incident {incident}; its details are above"
    return f"incident {incident}; its details are in {state}"
