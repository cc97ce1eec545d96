"""`ccdtasks settings show|timezone|pushover-key|pushover-priority|pushover-notify-on|pushover-test|pushover-disable`"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click
from rich.text import Text

from ccdtasks.cli.service import ask, is_served
from ccdtasks.cli.shell import Function, Shell, verb
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.phone.settings import PRIORITIES, Preferences
from ccdtasks.core.runs.shapes import push_shape
from ccdtasks.db.models import PushoverNotification
from ccdtasks.engine.assembly import open_pushover
from ccdtasks.errors import Unavailable
from ccdtasks.times import duration_text


@click.group()
def settings() -> None:
    """See and change what people chose for themselves: pushes to phones, timezones."""


def _of_user(function: Function) -> Function:
    return click.option("--user", metavar="ID", help="A Discord user's id; left out: tasks made in the shell.")(
        function
    )


@click.command("show")
@_of_user
@verb
@click.pass_obj
def show(shell: Shell, user: str | None) -> None:
    """Show what holds. A key is shown masked."""
    _show(shell, ask(shell, lambda core: core.settings.show(SHELL, user)))


@click.command("timezone")
@click.argument("timezone")
@_of_user
@verb
@click.pass_obj
def timezone(shell: Shell, timezone: str, user: str | None) -> None:
    """Set the clock of schedules that name none."""
    _show(shell, ask(shell, lambda core: core.settings.set_timezone(SHELL, timezone, user)))


@click.command("pushover-key")
@_of_user
@verb
@click.pass_obj
def pushover_key(shell: Shell, user: str | None) -> None:
    """Connect a phone. The key is asked for, or read from standard input: other users see command lines."""
    key = click.prompt("Pushover user key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()

    async def act(core: Core) -> Preferences:
        pushover = open_pushover(core.config)
        try:
            return await core.settings.set_key(SHELL, key, pushover.validate, user)
        finally:
            await pushover.close()

    _show(shell, ask(shell, act))


@click.command("pushover-priority", context_settings={"ignore_unknown_options": True})
@click.argument("level", type=click.IntRange(min(PRIORITIES), max(PRIORITIES)))
@click.option("--sound", help="A sound of Pushover, or default.")
@click.option("--retry", "retry_s", type=int, help="Of priority 2: seconds between rings.")
@click.option("--expire", "expire_s", type=int, help="Of priority 2: seconds until it gives up.")
@_of_user
@verb
@click.pass_obj
def pushover_priority(shell: Shell, /, level: int, user: str | None, **more: Any) -> None:
    """Set how loud pushes are, from -2 (silent) to 2 (rings until it is confirmed)."""
    _show(shell, ask(shell, lambda core: core.settings.set_priority(SHELL, level, user_id=user, **more)))


@click.command("pushover-notify-on")
@click.argument("events")
@_of_user
@verb
@click.pass_obj
def pushover_notify_on(shell: Shell, events: str, user: str | None) -> None:
    """Set what is pushed: some of complete,error,intervention; or none."""
    _show(shell, ask(shell, lambda core: core.settings.notify_on(SHELL, events, user)))


@click.command("pushover-test")
@_of_user
@verb
@click.pass_obj
def pushover_test(shell: Shell, user: str | None) -> None:
    """Send a test, and say what came of it."""
    push = ask(shell, lambda core: _test(core, user))
    shell.show(push_shape(push), lambda: Text(_came_of(push)))


@click.command("pushover-disable")
@_of_user
@verb
@click.pass_obj
def pushover_disable(shell: Shell, user: str | None) -> None:
    """Delete the key; nothing more is pushed."""
    _show(shell, ask(shell, lambda core: core.settings.disable(SHELL, user)))


for _command in (
    show,
    timezone,
    pushover_key,
    pushover_priority,
    pushover_notify_on,
    pushover_test,
    pushover_disable,
):
    settings.add_command(_command)


def _show(shell: Shell, found: Preferences) -> None:
    shell.show(_shape(found), lambda: Text(_lines(found)))


async def _test(core: Core, user: str | None) -> PushoverNotification:
    if not await is_served(core.config):
        hint = "start one: ccdtasks serve, or systemctl start ccdtasks"
        raise Unavailable("service", "No ccdtasks service is running on this database, so nobody would send it.", hint)
    return await core.pushes.test(SHELL, user)


def _shape(found: Preferences) -> dict[str, Any]:
    return {**asdict(found), "events": list(found.events), "devices": list(found.devices)}


def _lines(found: Preferences) -> str:
    state = f"on, key {found.masked_key}" if found.masked_key else "off"
    refused = " (Pushover does not know this key any more)" if found.refused else ""
    rings = (
        f"\nrings        every {duration_text(found.retry_s)}, {duration_text(found.expire_s)} at most"
        if found.priority == max(PRIORITIES)
        else ""
    )
    pushes = f"{state}{refused}" if found.is_offered else "not set up on this server"
    return (
        f"user         {found.user_id}\npushes       {pushes}\n"
        f"called for   {', '.join(found.events) or 'nothing'}\n"
        f"priority     {found.priority} ({PRIORITIES[found.priority]})\n"
        f"sound        {found.sound or 'as chosen on the phone'}{rings}\n"
        f"timezone     {found.timezone or 'that of the server'}"
    )


def _came_of(push: PushoverNotification) -> str:
    if push.success:
        return "✓ Sent; the phone should show it now."
    sign = "◌ Not sent yet" if push.success is None else "✕ Not sent"
    return f"{sign}: {push.last_error or 'Pushover has not answered yet.'}"
