"""`ccdtasks token create|list|revoke`"""

from __future__ import annotations

import asyncio
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Group, RenderableType
from rich.text import Text

from ccdtasks.cli.look import plain_table, when
from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.calendar.oneshot import read_oneshot
from ccdtasks.core.pages import Page
from ccdtasks.core.tokens import MadeToken
from ccdtasks.db.models import ApiToken


@click.group()
@verb
def token() -> None:
    """Make, list and revoke tokens: they log in to the pages and the API."""


@token.command()
@click.argument("name")
@click.option("--user", help="The Discord user id that it acts as; the shell's own tasks when left out.")
@click.option("--admin", is_flag=True, help="It may do everything.")
@click.option("--expires", metavar="WHEN", help="Its end: “in 90 days”, “at 2027-01-01 00:00”; none if left out.")
@verb
@click.pass_obj
def create(shell: Shell, name: str, user: str | None, admin: bool, expires: str | None) -> None:
    """Make a token called NAME, and show it this once."""
    made = asyncio.run(_create(shell, name, user, admin, expires))
    shell.show({**_shape(made.token), "token": made.secret}, lambda: _made(made))


@token.command("list")
@click.option("--after", help="The next page: the id that the last one ended with.")
@verb
@click.pass_obj
def list_(shell: Shell, after: str | None) -> None:
    """List tokens, the newest first. What they are made of is not kept."""
    found = asyncio.run(_page(shell, after))
    shell.show({"tokens": [_shape(each) for each in found.rows], "next": found.next_after}, lambda: _table(found))


@token.command()
@click.argument("token")
@verb
@click.pass_obj
def revoke(shell: Shell, token: str) -> None:
    """End TOKEN, by its name or id: nothing gets in with it any more."""
    gone = asyncio.run(_revoke(shell, token))
    shell.show(_shape(gone), lambda: Text(f"■ The token {gone.name} is revoked."))


async def _create(shell: Shell, name: str, user: str | None, admin: bool, expires: str | None) -> MadeToken:
    async with opened(shell) as core:
        zone = ZoneInfo(core.config.schedule.timezone)
        until = read_oneshot(expires, zone, core.clock.now()).moment if expires else None
        return await core.tokens.create(SHELL, name, user_id=user, is_admin=admin, expires_at=until)


async def _page(shell: Shell, after: str | None) -> Page[ApiToken]:
    async with opened(shell) as core:
        return await core.tokens.page(SHELL, after)


async def _revoke(shell: Shell, token: str) -> ApiToken:
    async with opened(shell) as core:
        return await core.tokens.revoke(SHELL, token)


def _shape(token: ApiToken) -> dict[str, Any]:
    moments = {key: getattr(token, key) for key in ("created_at", "last_used_at", "expires_at", "revoked_at")}
    return {
        "id": str(token.id),
        "name": token.name,
        "user": token.user_id,
        "admin": token.is_admin,
        **{key: moment.isoformat() if moment else None for key, moment in moments.items()},
    }


def _made(made: MadeToken) -> RenderableType:
    return Group(
        Text(made.secret, no_wrap=True, overflow="ignore"),
        Text(f"✓ This is the token {made.token.name}. It is shown this once only; `ccdtasks token revoke` ends it."),
    )


def _table(found: Page[ApiToken]) -> RenderableType:
    if not found.rows:
        return Text("There are no tokens yet: ccdtasks token create NAME")
    table = plain_table("name", "user", "state", "last used", "made", "id")
    for each in found.rows:
        state = "revoked" if each.revoked_at else f"until {when(each.expires_at)}" if each.expires_at else "for good"
        user = f"{each.user_id} (admin)" if each.is_admin else each.user_id
        table.add_row(each.name, user, state, when(each.last_used_at) or "never", when(each.created_at), str(each.id))
    more = f"More: ccdtasks token list --after {found.next_after}" if found.next_after else ""
    return Group(table, Text(more)) if more else table
