"""Who somebody is and what they may do: owners have their own things, admins have everything."""

from __future__ import annotations

from dataclasses import dataclass

from ccdtasks.config import Config
from ccdtasks.errors import Denied


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and by which way in.

    `user_id`: a Discord user id, `shell` or `system`. `via`: discord, shell, api, engine.
    `is_admin`: granted by the way in itself (a token, Discord's administrator right); roles are looked up here.
    """

    user_id: str
    via: str
    role_ids: frozenset[int] = frozenset()
    is_admin: bool = False


SHELL = Actor("shell", "shell", is_admin=True)
"""Whoever can run the program on the box can read its files anyway."""

SYSTEM = Actor("system", "engine", is_admin=True)
"""The appliance itself: schedules, retries, dependencies."""


class Access:
    """The rules by the roles of the configuration."""

    def __init__(self, config: Config) -> None:
        self._admin_roles = frozenset(config.discord.admin_role_ids)
        self._user_roles = frozenset(config.discord.user_role_ids)

    def is_admin(self, actor: Actor) -> bool:
        """Whether the actor may do everything."""
        return actor.is_admin or bool(actor.role_ids & self._admin_roles)

    def may_use(self, actor: Actor) -> bool:
        """Whether the actor may use the appliance at all; without configured roles everyone of the guild may."""
        if actor.via != "discord" or not self._user_roles or self.is_admin(actor):
            return True
        return bool(actor.role_ids & self._user_roles)

    def require_use(self, actor: Actor) -> None:
        """Raises Denied for somebody without any of the configured roles."""
        if not self.may_use(actor):
            raise Denied("You need one of this server's ccdtasks roles to do that.", "ask an admin for the role")

    def require_owner(self, actor: Actor, owner_user_id: str, act: str) -> None:
        """Raises Denied unless the actor owns the thing or is an admin. `act`: `stop this run`, `change this task`."""
        self.require_use(actor)
        if actor.user_id != owner_user_id and not self.is_admin(actor):
            raise Denied(f"Only {person(owner_user_id)} or an admin can {act}.")


def person(user_id: str) -> str:
    """How a user is named in a sentence: a mention for Discord's ids, else the word itself."""
    return f"<@{user_id}>" if user_id.isdecimal() else {"shell": "the shell"}.get(user_id, user_id)
