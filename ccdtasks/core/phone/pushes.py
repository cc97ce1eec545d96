"""Pushes to phones, as rows: written with the change they tell of, sent by the pushing loop.

A row holds no key, only whose phone it is for; the key is read when it is sent, so a changed one counts at once.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeGuard
from uuid import UUID, uuid4

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.access import Access, Actor
from ccdtasks.core.audit import Audit
from ccdtasks.core.limits import PUSH_SENT, require_push_rate
from ccdtasks.core.lookup import find_run
from ccdtasks.core.phone import pushtexts
from ccdtasks.core.phone.pushtexts import Said
from ccdtasks.core.text import clean_line, clean_text
from ccdtasks.db import Database
from ccdtasks.db.models import Intervention, PushoverNotification, Task, TaskRun, UserSettings
from ccdtasks.errors import Conflict, Denied, Invalid, NotFound
from ccdtasks.events import Bus, PushPending, PushSettled, wait_for_bell
from ccdtasks.times import Clock

EVENTS = ("complete", "error", "intervention")
"""What a person may be called for; the last two unless they choose otherwise."""

TEST = "test"
"""The event of a push that somebody asked for to see whether any arrive: it is worth nothing later."""

EMERGENCY = 2
HIGH = 1
# https://pushover.net/api, "Emergency Priority": at least 30 s between repeats, at most 3 h in all
SHORTEST_S = 30
LONGEST_S = 10_800
DEFAULT_RETRY_S = 60
DEFAULT_EXPIRE_S = 3600

_SOUND = re.compile(r"[A-Za-z0-9_-]{1,20}")

Event = Literal["complete", "error", "intervention"]


@dataclass(frozen=True, slots=True)
class PushDraft:
    """A push that somebody asks for. `run`: the id of a run that it is about.

    `user_id` or `user_key`: whose phone, if not the actor's own. `key`: the same key again sends nothing more.
    """

    message: str
    title: str | None = None
    run: str | None = None
    user_id: str | None = None
    user_key: str | None = None
    priority: int | None = None
    url: str | None = None
    url_title: str | None = None
    sound: str | None = None
    retry_s: int | None = None
    expire_s: int | None = None
    key: str | None = None


class Pushes:
    """Writes pushes: for others in their transactions, and for people who ask for one."""

    def __init__(self, *, db: Database, bus: Bus, clock: Clock, config: Config, access: Access, audit: Audit) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._config = config
        self._access = access
        self._audit = audit

    async def tell_failed(self, session: AsyncSession, task: Task, run: TaskRun) -> None:
        """A run failed for good."""
        await self._tell(session, task, run, "error", pushtexts.failed(task, run))

    async def tell_completed(self, session: AsyncSession, task: Task, run: TaskRun) -> None:
        """A run completed with something worth a ping."""
        await self._tell(session, task, run, "complete", pushtexts.completed(task, run))

    async def tell_wanted(self, session: AsyncSession, task: Task, run: TaskRun, asked: Intervention) -> None:
        """A run waits for a person."""
        said = pushtexts.wanted(task, run, asked)
        await self._tell(session, task, run, "intervention", said, key=_key_of(asked))

    async def tell_unsaid(self, session: AsyncSession, run: TaskRun, why: str) -> None:
        """Discord did not take what was to be said about a run; told once a run."""
        task = await session.get_one(Task, run.task_id)
        settings = await session.get(UserSettings, run.owner_user_id)
        if self._can_reach(settings):
            said = pushtexts.unsaid(task, run, why)
            row = self._row(settings, "unsaid", f"unsaid:{run.retry_of or run.id}", said, run)
            await self._put(session, row)

    async def no_longer(self, session: AsyncSession, run: TaskRun, asked: Intervention) -> None:
        """What a run asked is settled: what is not sent yet stays unsent, what rings is silenced."""
        mine = (
            PushoverNotification.owner_user_id == run.owner_user_id,
            PushoverNotification.key == _key_of(asked),
        )
        await self._withdraw(session, *mine)

    async def withdraw_all(self, session: AsyncSession, user_id: str) -> None:
        """Nothing more goes to this person's phone."""
        await self._withdraw(session, PushoverNotification.owner_user_id == user_id)

    async def test(self, actor: Actor, user_id: str | None = None, within_s: float = 10.0) -> PushoverNotification:
        """Sends a test to the actor's own phone, and waits that long for what comes of it: `success` and `last_error`.

        Raises Conflict without a key.
        """
        self._access.require_use(actor)
        whose = user_id or actor.user_id
        self._access.require_owner(actor, whose, "send a test to this phone")
        async with self._db.write() as session:
            settings = await self._reachable(session, whose)
            row = self._row(settings, TEST, f"test:{uuid4()}", pushtexts.tried(self._clock.now()), None)
            row.priority = min(row.priority, HIGH)
            session.add(row)
        self._bus.publish(PushPending())
        return await self._settled(row.id, within_s)

    async def send(self, actor: Actor, draft: PushDraft) -> PushoverNotification:
        """Sends a message of somebody's own to their phone; an admin's to anybody's who has a key here.

        The row is returned as it is: `success` is empty until Pushover answered. Raises Invalid, with the field, for
        what Pushover would not take; Denied, NotFound, Conflict; LimitReached when programs send too many.
        """
        self._access.require_use(actor)
        async with self._db.write() as session:
            settings = await self._reachable(session, await self._whose(session, actor, draft))
            run = await self._run(session, actor, draft.run)
            row = _filled(self._row(settings, "api", _api_key(draft), _checked(draft), run), draft)
            known = await self._known(session, row)
            if known is not None:
                return _same(known, row)
            await require_push_rate(session, actor, self._clock.now())
            session.add(row)
            self._audit.record(session, actor, PUSH_SENT, row.id, {"to": settings.user_id})
        self._bus.publish(PushPending())
        return row

    async def find(self, actor: Actor, push_id: UUID) -> PushoverNotification:
        """A push of the actor's own, or any for an admin."""
        self._access.require_use(actor)
        async with self._db.read() as session:
            row = await session.get(PushoverNotification, push_id)
        if row is None or (row.owner_user_id != actor.user_id and not self._access.is_admin(actor)):
            raise NotFound("There is no such notification.")
        return row

    async def of_run(self, run_id: UUID) -> list[PushoverNotification]:
        """The pushes about a run, the oldest first."""
        mine = PushoverNotification.task_run_id == run_id
        async with self._db.read() as session:
            query = select(PushoverNotification).where(mine).order_by(PushoverNotification.created_at).limit(100)
            return list(await session.scalars(query))

    async def _tell(
        self, session: AsyncSession, task: Task, run: TaskRun, event: Event, said: Said, *, key: str | None = None
    ) -> None:
        if not task.pushover_enabled or self._config.pushover.token is None:
            return
        settings = await session.get(UserSettings, task.owner_user_id)
        if not self._can_reach(settings) or event not in settings.pushover_events:
            return
        row = self._row(settings, event, key or f"{event}:{run.id}", said, run)
        if event == "complete":
            row.priority = min(row.priority, HIGH)  # nothing in it has to be confirmed
        await self._put(session, row)

    async def _put(self, session: AsyncSession, row: PushoverNotification) -> None:
        if await self._known(session, row) is None:
            session.add(row)

    async def _known(self, session: AsyncSession, row: PushoverNotification) -> PushoverNotification | None:
        query = select(PushoverNotification).where(
            PushoverNotification.owner_user_id == row.owner_user_id, PushoverNotification.key == row.key
        )
        found: PushoverNotification | None = await session.scalar(query)
        return found

    def _can_reach(self, settings: UserSettings | None) -> TypeGuard[UserSettings]:
        if settings is None or self._config.pushover.token is None:
            return False
        return settings.pushover_user_key is not None and not settings.settings.get("pushover_refused")

    async def _reachable(self, session: AsyncSession, user_id: str) -> UserSettings:
        if self._config.pushover.token is None:
            raise Conflict("Pushes to phones are not set up on this server.", "an admin sets `[pushover] token`")
        settings = await session.get(UserSettings, user_id)
        if settings is None or settings.pushover_user_key is None:
            raise Conflict("There is no Pushover key yet.", "set it with /settings pushover-key")
        return settings

    def _row(
        self, settings: UserSettings, event: str, key: str, said: Said, run: TaskRun | None
    ) -> PushoverNotification:
        more = settings.settings
        return PushoverNotification(
            id=uuid4(),
            task_run_id=run.id if run else None,
            owner_user_id=settings.user_id,
            key=key,
            event=event,
            user_key=more["pushover_hash"],
            title=said.title,
            message=said.message,
            priority=settings.pushover_priority,
            sound=more.get("pushover_sound"),
            retry_s=more.get("pushover_retry_s") or DEFAULT_RETRY_S,
            expire_s=more.get("pushover_expire_s") or DEFAULT_EXPIRE_S,
            attempts=0,
            created_at=self._clock.now(),
        )

    async def _withdraw(self, session: AsyncSession, *which: object) -> None:
        """One that is on its way right now stays pending, and is silenced as soon as it has a receipt."""
        now, row = self._clock.now(), PushoverNotification
        await session.execute(
            update(row)
            .where(*which, row.success.is_(None), row.withdrawn_at.is_(None))  # type: ignore[arg-type]
            .values(withdrawn_at=now, success=False, last_error="nobody needs it any more")
        )
        await session.execute(
            update(row)
            .where(*which, row.receipt_state == "ringing")  # type: ignore[arg-type]
            .values(withdrawn_at=now, next_attempt_at=None)
        )

    async def _whose(self, session: AsyncSession, actor: Actor, draft: PushDraft) -> str:
        """The person a draft is for; a key stands for the person here who has it."""
        whose = clean_line(draft.user_id, 64) if draft.user_id else actor.user_id
        if draft.user_key is not None:
            wanted = hash_of(draft.user_key.strip())
            own = await session.get(UserSettings, whose)
            if own is None or own.settings.get("pushover_hash") != wanted:
                if not self._access.is_admin(actor):
                    raise Denied("That is not your own Pushover key.", "leave `user_key` out to send to yourself")
                whose = await _owner_of(session, wanted)
        if whose != actor.user_id and not self._access.is_admin(actor):
            raise Denied("Only an admin can send to somebody else's phone.", "leave `user_id` out")
        return whose

    async def _run(self, session: AsyncSession, actor: Actor, ref: str | None) -> TaskRun | None:
        if ref is None:
            return None
        run = await find_run(session, ref)
        self._access.require_owner(actor, run.owner_user_id, "send news of this run")
        return run

    async def _settled(self, push_id: UUID, within_s: float) -> PushoverNotification:
        deadline_s = time.monotonic() + within_s
        with self._bus.bell(PushSettled) as bell:
            while True:
                async with self._db.read() as session:
                    row = await session.get_one(PushoverNotification, push_id)
                left_s = deadline_s - time.monotonic()
                if row.success is not None or left_s <= 0:
                    return row
                await wait_for_bell(bell, min(left_s, 1.0))  # another process may send it, whose bell we do not hear


def hash_of(key: str) -> str:
    """Tells keys apart without giving them away: 62^30 of them cannot be tried."""
    return sha256(f"pushover:{key}".encode()).hexdigest()


def checked_sound(sound: str) -> str:
    """A name of a sound, which Pushover may know or not; for one that it does not know the phone's own is played."""
    if not _SOUND.fullmatch(sound):
        raise Invalid("sound", "That is not the name of a sound.", "such as bike, siren, none; or default")
    return sound


def checked_seconds(field: str, seconds: int) -> int:
    """How often or how long an emergency rings, within Pushover's bounds."""
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise Invalid(field, f"`{field}` must be between {SHORTEST_S} and {LONGEST_S:,} seconds.")
    return seconds


async def _owner_of(session: AsyncSession, wanted: str) -> str:
    rows = await session.scalars(select(UserSettings).where(UserSettings.pushover_user_key.is_not(None)))
    for row in rows:
        if row.settings.get("pushover_hash") == wanted:
            return row.user_id
    raise Invalid("user_key", "Nobody here has this key.", "they set it with /settings pushover-key")


def _key_of(asked: Intervention) -> str:
    return f"intervention:{asked.id}"


def _api_key(draft: PushDraft) -> str:
    """A caller's key whole, however long: two that only begin alike are two."""
    return f"api:{sha256(draft.key.encode()).hexdigest() if draft.key else uuid4()}"


def _checked(draft: PushDraft) -> Said:
    """The text of a draft, refused where Pushover would refuse it."""
    message = clean_text(draft.message, pushtexts.MESSAGE * 2).strip()
    if not message:
        raise Invalid("message", "The message is empty.")
    title = clean_line(draft.title or "ccdtasks", pushtexts.TITLE * 2)
    for field, text, limit in (
        ("message", message, pushtexts.MESSAGE),
        ("title", title, pushtexts.TITLE),
        ("url_title", draft.url_title or "", pushtexts.URL_TITLE),
    ):
        if len(text) > limit:
            raise Invalid(field, f"It has {len(text):,} characters; {limit:,} are allowed.", "say it shorter")
    return Said(title, message)


def _filled(row: PushoverNotification, draft: PushDraft) -> PushoverNotification:
    """The row with what the draft chooses itself."""
    if draft.priority is not None and draft.priority not in range(-2, EMERGENCY + 1):
        raise Invalid("priority", f"There is no priority {draft.priority}.", "from -2 (silent) to 2 (emergency)")
    if draft.url is not None and pushtexts.address(draft.url) is None:
        raise Invalid("url", f"It must be an http or https address of at most {pushtexts.URL} characters.")
    if draft.url_title and not draft.url:
        raise Invalid("url_title", "There is no `url` that it could name.", "give both, or neither")
    row.url, row.url_title = draft.url, clean_line(draft.url_title, 100) if draft.url_title else None
    row.priority = row.priority if draft.priority is None else draft.priority
    row.sound = checked_sound(draft.sound) if draft.sound else row.sound
    row.retry_s = row.retry_s if draft.retry_s is None else checked_seconds("retry", draft.retry_s)
    row.expire_s = row.expire_s if draft.expire_s is None else checked_seconds("expire", draft.expire_s)
    return row


def _same(known: PushoverNotification, row: PushoverNotification) -> PushoverNotification:
    """The row of an earlier call with the same key, when it asked for the same."""
    for name in ("task_run_id", "title", "message", "priority", "url", "url_title", "sound"):
        if getattr(known, name) != getattr(row, name):
            raise Conflict("This key was used for another notification.", "take a new one for each")
    return known
