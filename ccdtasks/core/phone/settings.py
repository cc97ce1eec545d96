"""What a person chose for themselves: whether, when and how loudly their phone is called, and their timezone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.access import Access, Actor
from ccdtasks.core.audit import Audit
from ccdtasks.core.calendar.timezones import typed_zone
from ccdtasks.core.phone.pushes import (
    DEFAULT_EXPIRE_S,
    DEFAULT_RETRY_S,
    EMERGENCY,
    EVENTS,
    Pushes,
    checked_seconds,
    checked_sound,
    hash_of,
)
from ccdtasks.core.text import clean_line
from ccdtasks.core.vault import Vault
from ccdtasks.db import Database
from ccdtasks.db.models import UserSettings
from ccdtasks.errors import Conflict, Invalid
from ccdtasks.times import Clock

PRIORITIES = {-2: "lowest: no alert at all", -1: "low: no sound", 0: "normal", 1: "high: also in quiet hours"} | {
    EMERGENCY: "emergency: repeated until you confirm it"
}
SOUNDS = (
    *("pushover", "bike", "bugle", "cashregister", "classical", "cosmic", "falling", "gamelan", "incoming"),
    *("intermission", "magic", "mechanical", "pianobar", "siren", "spacealarm", "tugboat", "alien", "climb"),
    *("persistent", "echo", "updown", "vibrate", "none"),
)
"""Pushover's own; the account of the application may have more (https://pushover.net/api, "Notification Sounds")."""

_KEY = re.compile(r"[A-Za-z0-9]{30}")
_OFF = ("none", "nothing", "off")

KeyCheck = Callable[[str], Awaitable[Sequence[str]]]
"""Asks Pushover for the devices of a key; raises Invalid("key") when there is no such user."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """The settings of one person. `masked_key`: None without a key; `refused`: Pushover knows it no more.

    `sound`: None is the one chosen on the phone. `devices`: those that a key was just checked with.
    """

    user_id: str
    masked_key: str | None
    priority: int
    events: tuple[str, ...]
    sound: str | None
    retry_s: int
    expire_s: int
    timezone: str | None
    refused: bool
    is_offered: bool
    devices: tuple[str, ...] = ()


class Settings:
    """The acts on one's own settings; an admin may act for somebody else by `user_id`."""

    def __init__(
        self,
        *,
        db: Database,
        clock: Clock,
        config: Config,
        access: Access,
        audit: Audit,
        vault: Vault,
        pushes: Pushes,
    ) -> None:
        self._db = db
        self._clock = clock
        self._config = config
        self._access = access
        self._audit = audit
        self._vault = vault
        self._pushes = pushes

    async def show(self, actor: Actor, user_id: str | None = None) -> Preferences:
        """What holds for the person."""
        whose = self._whose(actor, user_id)
        async with self._db.read() as session:
            return self._read(await session.get(UserSettings, whose) or _fresh(whose))

    async def set_key(self, actor: Actor, key: str, check: KeyCheck, user_id: str | None = None) -> Preferences:
        """Keeps a Pushover key, encrypted, once `check` has found its devices.

        Raises Invalid("key") for what is no key of an active user, Unavailable when Pushover cannot be asked.
        """
        whose = self._whose(actor, user_id)
        self._require_offered()
        key = key.strip()
        if not _KEY.fullmatch(key):
            hint = "it stands on pushover.net when you are logged in, below Your User Key"
            raise Invalid("key", "A Pushover key has 30 letters and digits.", hint)
        devices = await check(key)
        sealed = await asyncio.to_thread(self._vault.encrypt, key)
        async with self._db.write() as session:
            row = await self._row(session, whose)
            row.pushover_user_key = sealed
            row.settings = {**_without_key(row), "pushover_hash": hash_of(key), "pushover_hint": key[-4:]}
            self._audit.record(session, actor, "settings.pushover_key", whose)
            return self._read(row, devices)

    async def set_priority(
        self,
        actor: Actor,
        priority: int,
        *,
        sound: str | None = None,
        retry_s: int | None = None,
        expire_s: int | None = None,
        user_id: str | None = None,
    ) -> Preferences:
        """How loud pushes are. `sound`: a name, or `default` for the phone's own; left out: as it is.

        `retry_s`, `expire_s`: how often and how long an emergency rings.
        """
        whose = self._whose(actor, user_id)
        if priority not in PRIORITIES:
            raise Invalid("level", f"There is no priority {priority}.", "from -2 (silent) to 2 (emergency)")
        changes: dict[str, Any] = {}
        if sound is not None:
            changes["pushover_sound"] = None if sound == "default" else checked_sound(sound)
        if retry_s is not None:
            changes["pushover_retry_s"] = checked_seconds("retry", retry_s)
        if expire_s is not None:
            changes["pushover_expire_s"] = checked_seconds("expire", expire_s)
        async with self._db.write() as session:
            row = await self._row(session, whose)
            row.pushover_priority = priority
            row.settings = {**row.settings, **changes}
            self._audit.record(session, actor, "settings.pushover_priority", whose, {"priority": priority, **changes})
            return self._read(row)

    async def notify_on(self, actor: Actor, events: str, user_id: str | None = None) -> Preferences:
        """Which events are pushed: some of complete, error, intervention, as words; or none."""
        whose = self._whose(actor, user_id)
        chosen = read_events(events)
        async with self._db.write() as session:
            row = await self._row(session, whose)
            row.pushover_events = list(chosen)
            self._audit.record(session, actor, "settings.pushover_notify_on", whose, {"events": list(chosen)})
            return self._read(row)

    async def disable(self, actor: Actor, user_id: str | None = None) -> Preferences:
        """Forgets the key; what still waits is not sent any more, and what rings is silenced."""
        whose = self._whose(actor, user_id)
        async with self._db.write() as session:
            row = await self._row(session, whose)
            if row.pushover_user_key is None:
                raise Conflict("Pushes are off already.", "/settings pushover-key turns them on")
            await self._pushes.withdraw_all(session, whose)
            row.pushover_user_key, row.settings = None, _without_key(row)
            self._audit.record(session, actor, "settings.pushover_disable", whose)
            return self._read(row)

    async def set_timezone(self, actor: Actor, timezone: str, user_id: str | None = None) -> Preferences:
        """The clock of schedules that name none. Raises Invalid("timezone") that names the nearest ones."""
        whose = self._whose(actor, user_id)
        zone = await asyncio.to_thread(typed_zone, timezone)
        async with self._db.write() as session:
            row = await self._row(session, whose)
            row.timezone = zone.key
            self._audit.record(session, actor, "settings.timezone", whose, {"timezone": zone.key})
            return self._read(row)

    def _whose(self, actor: Actor, user_id: str | None) -> str:
        self._access.require_use(actor)
        if user_id is None:
            return actor.user_id
        whose = clean_line(user_id, 64)
        self._access.require_owner(actor, whose, "change these settings")
        return whose

    def _require_offered(self) -> None:
        if self._config.pushover.token is None:
            raise Conflict("Pushes to phones are not set up on this server.", "an admin sets `[pushover] token`")

    async def _row(self, session: AsyncSession, user_id: str) -> UserSettings:
        row = await session.get(UserSettings, user_id, with_for_update=True)
        if row is None:
            row = _fresh(user_id)
            session.add(row)
        return row

    def _read(self, row: UserSettings, devices: Sequence[str] = ()) -> Preferences:
        more = row.settings
        return Preferences(
            user_id=row.user_id,
            masked_key=f"•••• {more.get('pushover_hint', '')}" if row.pushover_user_key else None,
            priority=row.pushover_priority,
            events=tuple(event for event in EVENTS if event in row.pushover_events),
            sound=more.get("pushover_sound"),
            retry_s=more.get("pushover_retry_s") or DEFAULT_RETRY_S,
            expire_s=more.get("pushover_expire_s") or DEFAULT_EXPIRE_S,
            timezone=row.timezone,
            refused=bool(more.get("pushover_refused")),
            is_offered=self._config.pushover.token is not None,
            devices=tuple(devices),
        )


def read_events(typed: str) -> tuple[str, ...]:
    """`error, intervention` as names, in one order; `none` for nothing at all. Raises Invalid("events")."""
    words = [word for word in re.split(r"[\s,;+]+", typed.strip().casefold()) if word]
    if words in ([off] for off in _OFF):
        return ()
    if words == ["all"]:
        return EVENTS
    odd = [word for word in words if word not in EVENTS]
    if odd or not words:
        said = f"There is no event {clean_line(odd[0], 40)}." if odd else "No event is named."
        raise Invalid("events", said, "choose among complete, error, intervention; or none")
    return tuple(event for event in EVENTS if event in words)


def _without_key(row: UserSettings) -> dict[str, Any]:
    of_key = ("pushover_hash", "pushover_hint", "pushover_refused")
    return {name: value for name, value in row.settings.items() if name not in of_key}


def _fresh(user_id: str) -> UserSettings:
    return UserSettings(user_id=user_id, pushover_priority=0, pushover_events=["error", "intervention"], settings={})
