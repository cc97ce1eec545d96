"""The pushing loop's side of the pushes: what may be sent now, what came of it, and which emergencies still ring.

pending --begin--> on its way --sent--> taken, or ringing (priority 2) --> acknowledged | expired | cancelled
   ^                  |   \\--failed--> given up, with a reason that the run's thread shows
   +---- put_off -----+
   +---- hold_back: Pushover takes nothing from us, for no fault of the push; its thread says so
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, literal_column, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ccdtasks.config import Config
from ccdtasks.core.facts import Facts
from ccdtasks.core.outbox import LONGEST_WAIT, Outbox, may_be_tried
from ccdtasks.core.phone.pushes import TEST, hash_of
from ccdtasks.db import Database
from ccdtasks.db.enums import MessageType
from ccdtasks.db.models import InstanceFact, PushoverNotification, TaskRun, UserSettings
from ccdtasks.events import Bus, MessagePending, PushSettled
from ccdtasks.times import Clock

ABOUT = "push"
"""What a message about a push has in `payload["about"]`."""

QUOTA = "pushover_quota"
RINGING = "ringing"
_RINGING: Any = literal_column("'ringing'")  # no bound parameter, so that SQLite may use the partial index
_NEARLY = 0.05
_TOLD_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A push that may be sent now. `sealed_key`: None when its owner has taken the key back; `url` of its thread.

    `is_repeat`: it was on its way before, and nobody knows whether it arrived.
    """

    row: PushoverNotification
    sealed_key: str | None
    url: str | None
    is_repeat: bool


@dataclass(frozen=True, slots=True)
class QuotaLeft:
    """What Pushover said last of the month's messages."""

    limit: int
    remaining: int
    reset_at: datetime

    @property
    def is_nearly_spent(self) -> bool:
        """Less than a twentieth is left."""
        return self.remaining <= self.limit * _NEARLY


class PushQueue:
    """The outbox of pushes as the loop sees it."""

    def __init__(self, *, db: Database, bus: Bus, clock: Clock, config: Config, facts: Facts, outbox: Outbox) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._config = config
        self._facts = facts
        self._outbox = outbox

    async def pending(self, limit: int = 20) -> list[Outgoing]:
        """What may be sent now, the oldest first; of the waiting pushes of one person only the first."""
        push, earlier = PushoverNotification, aliased(PushoverNotification)
        is_behind = exists().where(
            earlier.owner_user_id == push.owner_user_id,
            earlier.success.is_(None),
            or_(
                earlier.created_at < push.created_at,
                (earlier.created_at == push.created_at) & (earlier.id < push.id),
            ),
        )
        query = (
            select(push, UserSettings.pushover_user_key, TaskRun)
            .outerjoin(UserSettings, UserSettings.user_id == push.owner_user_id)
            .outerjoin(TaskRun, TaskRun.id == push.task_run_id)
            .where(
                push.success.is_(None),
                may_be_tried(push.next_attempt_at, self._clock.now()),
                ~is_behind,
            )
            .order_by(push.created_at, push.id)
            .limit(limit)
        )
        async with self._db.read() as session:
            found = (await session.execute(query)).all()
        return [
            Outgoing(row, sealed, row.url or self._thread_url(run), bool((row.pushover_response or {}).get("open")))
            for row, sealed, run in found
        ]

    async def begin(self, row: PushoverNotification, again_after_s: float) -> bool:
        """Notes, before the request goes out, that it may have been taken; False when nobody needs it any more.

        Without news of what came of it, as after a crash, it is asked again no sooner than `again_after_s`.
        """
        async with self._db.write() as session:
            fresh = await session.get_one(PushoverNotification, row.id)
            if fresh.success is not None:
                return False
            now = self._clock.now()
            fresh.attempts += 1
            fresh.next_attempt_at = now + timedelta(seconds=again_after_s)
            fresh.pushover_response = {"open": True, "asked_at": now.isoformat(), "held": _was_held(fresh)}
        return True

    async def sent(
        self, push: Outgoing, key: str, request_id: str, receipt: str | None, quota: QuotaLeft | None
    ) -> None:
        """Pushover has it. A withdrawn one that rings is silenced by the next look at the receipts."""
        now = self._clock.now()
        note = "perhaps sent twice: the first time nobody answered" if push.is_repeat else None
        async with self._db.write() as session:
            await session.execute(
                update(PushoverNotification)
                .where(PushoverNotification.id == push.row.id)
                .values(
                    success=True,
                    sent_at=now,
                    user_key=hash_of(key),
                    url=push.url,
                    receipt=receipt,
                    receipt_state=RINGING if receipt else None,
                    next_attempt_at=None,
                    last_error=note,
                    pushover_response={"request": request_id, "open": False},
                )
            )
            if _was_held(push.row):
                await self._tell(session, push.row, {"state": "late"})
            if quota is not None:
                await self._keep_quota(session, quota)
        self._bus.publish(PushSettled())
        self._bus.publish(MessagePending())

    async def put_off(self, push: Outgoing, after_s: float, why: str | None, *, is_open: bool) -> None:
        """Puts a push off. `is_open`: nobody knows whether Pushover took it this time."""
        await self._set(
            push.row.id,
            next_attempt_at=self._clock.now() + min(timedelta(seconds=after_s), LONGEST_WAIT),
            last_error=why[:1000] if why else None,
            pushover_response={"open": is_open or push.is_repeat, "held": _was_held(push.row)},
        )

    async def hold_back(self, why: str, remedy: str) -> None:
        """Pushover takes nothing from us: all that waits keeps waiting, and each thread says so once.

        So does the notification channel, once a day, with what an admin can do.
        """
        push = PushoverNotification
        untold = (push.success.is_(None), push.event != TEST, push.last_error.is_distinct_from(why))
        async with self._db.read() as session:
            if await session.scalar(select(push.id).where(*untold).limit(1)) is None:
                return
        async with self._db.write() as session:
            for row in await session.scalars(
                select(push).where(*untold).order_by(push.created_at).limit(_TOLD_AT_ONCE)
            ):
                row.last_error = why
                row.pushover_response = {**(row.pushover_response or {}), "held": True}
                await self._tell(session, row, {"state": "held", "text": why})
            key = f"alert:pushover:{self._clock.now():%Y%m%d}"
            if not await self._outbox.is_said(session, key):
                words = f"{why} Until that is mended nobody's phone is told of anything: {remedy}."
                await self._outbox.put(
                    session, None, key, MessageType.NOTIFICATION, {"text": words, "severity": "warning"}
                )
        self._bus.publish(MessagePending())

    async def without_sound(self, row: PushoverNotification) -> None:
        """Pushover does not know its sound: it is sent with the phone's own."""
        await self._set(row.id, sound=None, next_attempt_at=None, pushover_response={"open": False})

    async def failed(self, row: PushoverNotification, why: str, *, key_is_refused: bool = False) -> None:
        """Gives a push up; the thread of its run says why. A refused key is used no more until a new one is set."""
        async with self._db.write() as session:
            fresh = await session.get_one(PushoverNotification, row.id)
            fresh.success, fresh.last_error, fresh.next_attempt_at = False, why[:1000], None
            fresh.pushover_response = {"open": False}
            if key_is_refused and fresh.owner_user_id:
                settings = await session.get(UserSettings, fresh.owner_user_id)
                if settings is not None and settings.settings.get("pushover_hash") == fresh.user_key:
                    settings.settings = {**settings.settings, "pushover_refused": True}
            if fresh.withdrawn_at is None:
                await self._tell(session, fresh, {"state": "failed", "text": why})
        self._bus.publish(PushSettled())
        self._bus.publish(MessagePending())

    async def ringing(self, limit: int = 20) -> Sequence[PushoverNotification]:
        """Emergencies whose receipts may be looked at now."""
        push = PushoverNotification
        query = (
            select(push)
            .where(
                push.receipt_state == _RINGING,
                may_be_tried(push.next_attempt_at, self._clock.now()),
            )
            .order_by(push.created_at)
            .limit(limit)
        )
        async with self._db.read() as session:
            return (await session.scalars(query)).all()

    async def still_rings(self, row: PushoverNotification, after_s: float) -> None:
        """Looks again after that."""
        await self._set(row.id, next_attempt_at=self._clock.now() + timedelta(seconds=after_s))

    async def acknowledged(self, row: PushoverNotification, key: str | None, device: str | None, at: datetime) -> None:
        """Somebody confirmed an emergency on a phone: the run's thread says who."""
        who = row.owner_user_id if key and hash_of(key) == row.user_key else "someone"
        payload = {"state": "acknowledged", "by": who, "device": device, "at": at.isoformat()}
        await self._silent(row, "acknowledged", payload, acknowledged_at=at, acknowledged_by=who)

    async def expired(self, row: PushoverNotification) -> None:
        """Nobody confirmed it in time."""
        await self._silent(row, "expired", {"state": "expired", "minutes": (row.expire_s or 0) // 60})

    async def cancelled(self, row: PushoverNotification) -> None:
        """It was silenced, since nobody needs it any more."""
        await self._silent(row, "cancelled", None)

    async def quota(self) -> QuotaLeft | None:
        """What Pushover said last of the month's messages; None before the first, and when that month is over."""
        known = await self._facts.get(QUOTA)
        return _read_quota(known, self._clock.now()) if known else None

    async def failures(self, since: datetime) -> list[PushoverNotification]:
        """What was given up since then, the newest first."""
        push = PushoverNotification
        query = select(push).where(push.success.is_(False), push.withdrawn_at.is_(None), push.created_at >= since)
        async with self._db.read() as session:
            return list(await session.scalars(query.order_by(push.created_at.desc()).limit(100)))

    async def waiting(self) -> int:
        """How many are not sent yet."""
        async with self._db.read() as session:
            query = select(func.count()).select_from(PushoverNotification)
            return int(await session.scalar(query.where(PushoverNotification.success.is_(None))) or 0)

    async def note_quota(self, quota: QuotaLeft) -> None:
        """Keeps what Pushover said of the month's messages, and warns once a month when they are nearly used up."""
        async with self._db.write() as session:
            await self._keep_quota(session, quota)
        self._bus.publish(MessagePending())

    async def _keep_quota(self, session: AsyncSession, quota: QuotaLeft) -> None:
        before = await session.get(InstanceFact, QUOTA)
        known = _read_quota(before.value, self._clock.now()) if before else None
        was_low = known is not None and known.is_nearly_spent
        data = {"limit": quota.limit, "remaining": quota.remaining, "reset_at": quota.reset_at.isoformat()}
        await self._facts.put(session, QUOTA, json.dumps(data))
        if quota.is_nearly_spent and not was_low:
            left = f"{quota.remaining:,} of {quota.limit:,} are left this month."
            key = f"alert:pushover_quota:{quota.reset_at:%Y%m%d}"
            payload = {"text": f"Pushover's messages are nearly used up: {left}", "severity": "warning"}
            await self._outbox.put(session, None, key, MessageType.NOTIFICATION, payload)

    async def _silent(self, row: PushoverNotification, state: str, payload: dict[str, Any] | None, **more: Any) -> None:
        async with self._db.write() as session:
            fresh = await session.get_one(PushoverNotification, row.id)
            if fresh.receipt_state != RINGING:
                return
            fresh.receipt_state, fresh.next_attempt_at = state, None
            for name, value in more.items():
                setattr(fresh, name, value)
            if payload is not None:
                await self._tell(session, fresh, payload)
        self._bus.publish(MessagePending())

    async def _tell(self, session: AsyncSession, row: PushoverNotification, payload: dict[str, Any]) -> None:
        """Says it in the thread of the run that the push was about, if there is one."""
        run = await session.get(TaskRun, row.task_run_id) if row.task_run_id else None
        if run is None:  # about no run, or one that was cleaned up meanwhile
            return
        said = {"about": ABOUT, "event": row.event, **payload}
        await self._outbox.put(session, run, f"push:{row.id}", MessageType.NOTIFICATION, said)

    async def _set(self, push_id: UUID, **values: Any) -> None:
        async with self._db.write() as session:
            await session.execute(
                update(PushoverNotification).where(PushoverNotification.id == push_id).values(**values)
            )

    def _thread_url(self, run: TaskRun | None) -> str | None:
        guild = self._config.discord.guild_id
        place = (run.discord_thread_id or run.discord_channel_id) if run else None
        return f"https://discord.com/channels/{guild}/{place}" if guild and place else None


def _was_held(row: PushoverNotification) -> bool:
    """Whether its thread says that it waits."""
    return bool((row.pushover_response or {}).get("held"))


def _read_quota(stored: str, now: datetime) -> QuotaLeft | None:
    data = json.loads(stored)
    found = QuotaLeft(data["limit"], data["remaining"], datetime.fromisoformat(data["reset_at"]).astimezone(UTC))
    return found if found.reset_at > now else None
