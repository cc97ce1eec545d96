"""What Discord should show, as rows: written with the change they tell of, sent by the delivery loop.

A row is pending until we hold a message id for its present revision. A crash between sending and noting repeats the
send with the same nonce, which Discord folds into one message; so nothing is said twice and nothing stays unsaid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, SQLColumnExpression, case, exists, func, literal_column, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ccdtasks.db import Database
from ccdtasks.db.bulk import Insert
from ccdtasks.db.enums import Delivery, MessageType
from ccdtasks.db.models import DiscordMessage, TaskRun
from ccdtasks.errors import LimitReached, Unavailable
from ccdtasks.times import Clock

LONGEST_WAIT = timedelta(hours=1)
"""Nothing is put off for longer at once. What seems to be was put off before the clock was set back: it is time."""
_TOO_EARLY = "from before Discord was set up"
_FAILED: Any = literal_column("'failed'")
_PENDING: Any = literal_column("'pending'")  # no bound parameter, so that SQLite may use the partial index


@dataclass(frozen=True, slots=True)
class Delivered:
    """What Discord took, and where it lies now."""

    message_id: str
    channel_id: str
    thread_id: str | None = None
    content: str | None = None
    embeds: Sequence[Mapping[str, Any]] = ()
    attachments: Sequence[Mapping[str, Any]] = ()
    buttons: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class MessageDraft:
    """A message of a run that is only being inserted, or, without a run, to the task's channel; else as for `put`."""

    run_id: UUID | None
    task_id: UUID
    key: str
    type: MessageType
    payload: Mapping[str, Any]


class NotLetIn(Unavailable):
    """Discord does not let us say it there, until somebody changes a permission."""

    code = "not_let_in"


class AllWait(LimitReached):
    """Discord takes nothing at all from us for a while: whoever goes on asking is locked out for longer."""

    code = "all_wait"


class Outbox:
    """The messages of all runs and of the instance."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def put(
        self,
        session: AsyncSession,
        run: TaskRun | None,
        key: str,
        type: MessageType,
        payload: Mapping[str, Any] | None = None,
        *,
        task_id: UUID | None = None,
    ) -> DiscordMessage:
        """Says something in the caller's transaction; the same `key` of the same run again edits what was said.

        Without a run the message goes to the channel of the task `task_id`, without that to the instance's
        notification channel.
        """
        run_id = run.id if run else None
        same_run = DiscordMessage.task_run_id == run_id if run_id else DiscordMessage.task_run_id.is_(None)
        row = await session.scalar(select(DiscordMessage).where(same_run, DiscordMessage.key == key))
        if row is None:
            row = await self._insert(session, run, key, type)
            row.task_id = row.task_id or task_id
        else:
            row.revision += 1
            row.message_type = type
            if row.state is Delivery.FAILED:
                row.attempts, row.next_attempt_at, row.last_error = 0, None, None
        row.payload = dict(payload or {})
        row.state = Delivery.PENDING
        return row

    async def _insert(self, session: AsyncSession, run: TaskRun | None, key: str, type: MessageType) -> DiscordMessage:
        await session.flush()
        row_id, now = uuid4(), self._clock.now()
        lane = (run.retry_of or run.id) if run else row_id
        last = await session.scalar(select(func.max(DiscordMessage.position)).where(DiscordMessage.lane == lane))
        row = DiscordMessage(
            id=row_id,
            task_id=run.task_id if run else None,
            task_run_id=run.id if run else None,
            lane=lane,
            key=key,
            message_type=type,
            position=(last or 0) + 1,
            revision=1,
            delivered_revision=0,
            attempts=0,
            nonce=row_id.hex[:25],
            created_at=now,
        )
        session.add(row)
        return row

    async def drafted(self, session: AsyncSession, drafts: Sequence[MessageDraft]) -> Insert:
        """Many things to say, in order within a run, as rows for the caller to write; what was said is edited."""
        loose = [draft.key for draft in drafts if draft.run_id is None]
        same = (DiscordMessage.task_run_id.is_(None), DiscordMessage.key.in_(loose))
        said = set(await session.scalars(select(DiscordMessage.key).where(*same))) if loose else set()
        positions = Counter[UUID]()
        rows: list[dict[str, Any]] = []
        for draft in drafts:
            if draft.run_id is None and draft.key in said:
                await self.put(session, None, draft.key, draft.type, draft.payload, task_id=draft.task_id)
                continue
            row_id = uuid4()
            lane = draft.run_id or row_id
            positions[lane] += 1
            rows.append(
                {
                    "id": row_id,
                    "task_id": draft.task_id,
                    "task_run_id": draft.run_id,
                    "lane": lane,
                    "key": draft.key,
                    "message_type": draft.type,
                    "payload": draft.payload,
                    "position": positions[lane],
                    "nonce": row_id.hex[:25],
                }
            )
        return Insert(DiscordMessage, rows, {"created_at": self._clock.now()})

    async def is_said(self, session: AsyncSession, key: str) -> bool:
        """Whether there is a message of that key that belongs to no run."""
        query = select(DiscordMessage.id).where(DiscordMessage.task_run_id.is_(None), DiscordMessage.key == key)
        return await session.scalar(query) is not None

    async def touch(self, session: AsyncSession, run_id: UUID, key: str) -> None:
        """Asks for an edit of a message whose looks come from the run's row (the live card)."""
        await session.execute(
            update(DiscordMessage)
            .where(DiscordMessage.task_run_id == run_id, DiscordMessage.key == key)
            .values(revision=DiscordMessage.revision + 1, state=Delivery.PENDING)
        )

    async def pending(self, limit: int = 20) -> Sequence[DiscordMessage]:
        """What may be sent now, oldest first; of the unsent messages of one thread only the first.

        So a message that has to wait holds back the later ones of its thread and no other; edits hold back nothing.
        """
        message, earlier = DiscordMessage, aliased(DiscordMessage)
        is_behind = exists().where(
            earlier.lane == message.lane,
            earlier.state == _PENDING,
            earlier.delivered_revision == 0,
            earlier.position < message.position,
        )
        query = (
            select(message)
            .where(
                message.state == _PENDING,
                may_be_tried(message.next_attempt_at, self._clock.now()),
                or_(message.delivered_revision > 0, ~is_behind),
            )
            .order_by(message.created_at, message.position)
            .limit(limit)
        )
        async with self._db.read() as session:
            return (await session.scalars(query)).all()

    async def delivered(self, row: DiscordMessage, done: Delivered) -> None:
        """Notes that Discord shows `row` as it was read; a revision that was written since stays pending."""
        await self._settle(
            row,
            message_id=done.message_id,
            channel_id=done.channel_id,
            thread_id=done.thread_id,
            content=done.content,
            embeds=[dict(embed) for embed in done.embeds],
            attachments=[dict(attachment) for attachment in done.attachments],
            buttons=[dict(button) for button in done.buttons],
            delivered_revision=row.revision,
            state=_unless_newer(row, Delivery.DELIVERED),
            attempts=0,
            next_attempt_at=None,
            last_error=None,
            sent_at=func.coalesce(DiscordMessage.sent_at, self._clock.now()),
        )

    async def failed(self, row: DiscordMessage, error: str) -> None:
        """Notes that this revision can never be sent, and why."""
        await self._settle(row, state=_unless_newer(row, Delivery.FAILED), last_error=error[:1000])

    async def known(self, message_ids: Iterable[str]) -> set[str]:
        """Which of these messages of Discord are of a row of ours."""
        wanted = list(message_ids)
        async with self._db.read() as session:
            query = select(DiscordMessage.message_id).where(DiscordMessage.message_id.in_(wanted))
            return {found for found in await session.scalars(query) if found}

    async def failures(self, since: datetime) -> Sequence[DiscordMessage]:
        """What Discord never took of what was said since then, the newest first."""
        message = DiscordMessage
        query = select(message).where(
            message.state == _FAILED, message.created_at >= since, message.last_error.is_distinct_from(_TOO_EARLY)
        )
        async with self._db.read() as session:
            return (await session.scalars(query.order_by(message.created_at.desc()).limit(100))).all()

    async def retry_later(self, row: DiscordMessage, after_s: float, error: str) -> None:
        """Puts the message off; the later ones of its thread wait with it."""
        await self._settle(
            row,
            attempts=DiscordMessage.attempts + 1,
            next_attempt_at=self._clock.now() + min(timedelta(seconds=after_s), LONGEST_WAIT),
            last_error=error[:1000],
        )

    async def forget(self, row: DiscordMessage) -> None:
        """Notes that somebody deleted the message in Discord: it is sent anew."""
        await self._settle(row, message_id=None, delivered_revision=0, state=Delivery.PENDING, nonce=uuid4().hex[:25])

    async def skip_older(self, moment: datetime) -> int:
        """Gives up what waits since before `moment`, and says how much that was; the runs keep their results."""
        async with self._db.write() as session:
            result = await session.execute(
                update(DiscordMessage)
                .where(DiscordMessage.state == _PENDING, DiscordMessage.created_at < moment)
                .values(state=Delivery.FAILED, last_error=_TOO_EARLY)
            )
        assert isinstance(result, CursorResult)  # noqa: S101 - an UPDATE has no other result
        return result.rowcount

    async def _settle(self, row: DiscordMessage, **values: Any) -> None:
        async with self._db.write() as session:
            await session.execute(update(DiscordMessage).where(DiscordMessage.id == row.id).values(**values))


def may_be_tried(next_attempt_at: SQLColumnExpression[datetime | None], now: datetime) -> ColumnElement[bool]:
    """Whether what was put off until then may be tried again."""
    return or_(next_attempt_at.is_(None), next_attempt_at <= now, next_attempt_at > now + LONGEST_WAIT)


def _unless_newer(row: DiscordMessage, state: Delivery) -> Any:
    return case((DiscordMessage.revision == row.revision, state.value), else_=Delivery.PENDING.value)
