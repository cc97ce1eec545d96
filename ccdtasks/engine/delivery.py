"""Sends what the rows of the outbox say: in order per thread, again after every failure, nothing twice."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from ccdtasks.core import Core
from ccdtasks.core.outbox import AllWait, Delivered, NotLetIn
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.enums import MessageType
from ccdtasks.db.models import DiscordMessage, TaskRun
from ccdtasks.errors import CcdError, Invalid, LimitReached, NotFound, Unavailable
from ccdtasks.events import MessagePending, PushPending, wait_for_bell

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 3.0
_EDIT_GAP_S = 2.5  # Discord allows about 5 edits in 5 s per channel; one live card in 2.5 s leaves room for the rest
_BACKOFF_CAP_S = 300.0
_AT_ONCE = 8
_ODD_ATTEMPTS_MAX = 8
_PLAIN = "plain:"


class Courier(Protocol):
    """Who carries a message to Discord."""

    async def deliver(self, message: DiscordMessage, view: RunView | None) -> Delivered:
        """Sends or edits it. Raises Unavailable (later), LimitReached (after a while) or Invalid (never)."""
        ...


class DeliveryLoop:
    """Empties the outbox. The row is the truth: what is pending is sent, whoever wrote it and whenever."""

    def __init__(
        self, core: Core, courier: Courier, edit_gap_s: float = _EDIT_GAP_S, look_every_s: float = _LOOK_EVERY_S
    ) -> None:
        self._core = core
        self._courier = courier
        self._edit_gap_s = edit_gap_s
        self._look_every_s = look_every_s
        self._edited_at: dict[UUID, float] = {}
        self._sending: dict[UUID, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._paused_until_s = 0.0

    async def run(self) -> None:
        """Sends until cancelled. A thread whose message waits for Discord holds back no other thread."""
        with self._core.bus.bell(MessagePending) as bell:
            try:
                while True:
                    try:
                        wait_s = await self._begin(bell)
                    except Unavailable as error:  # the database; Discord's own absence is noted in the rows
                        _log.warning("messages wait: %s", error.message)
                        wait_s = self._look_every_s
                    await wait_for_bell(bell, wait_s)
            finally:
                for task in self._sending.values():
                    task.cancel()
                await asyncio.gather(*self._sending.values(), return_exceptions=True)

    async def send_pending(self) -> float:
        """Sends what may be sent now, and waits for it; returns the seconds until it is worth looking again."""
        wait_s = await self._begin(asyncio.Event())
        tasks = [*self._sending.values()]
        await asyncio.gather(*tasks)
        return 0.0 if tasks else wait_s  # what was sent may have let the next of its thread go

    async def _begin(self, bell: asyncio.Event) -> float:
        """Begins to send what may be sent now, thread by thread; each rings `bell` when it is done."""
        for lane, task in [*self._sending.items()]:
            if task.done():
                del self._sending[lane]
                task.result()
        self._forget_old()
        wait_s = self._look_every_s
        if self._core.clock.monotonic_s() < self._paused_until_s:
            return wait_s
        lanes: dict[UUID, list[DiscordMessage]] = defaultdict(list)
        for row in await self._core.messages.pending(limit=50):
            left_s = self._gap_left_s(row)
            if left_s > 0:
                wait_s = min(wait_s, left_s)
            elif row.lane not in self._sending:
                lanes[row.lane].append(row)
        for lane, rows in lanes.items():
            task = asyncio.create_task(self._send_lane(rows), name=f"deliver-{lane}")
            task.add_done_callback(lambda _: bell.set())
            self._sending[lane] = task
        return wait_s

    def _gap_left_s(self, row: DiscordMessage) -> float:
        """Seconds until a message may be edited again; 0 for one that Discord does not have yet."""
        if row.delivered_revision == 0:
            return 0.0
        return self._edited_at.get(row.id, 0.0) + self._edit_gap_s - time.monotonic()

    def _forget_old(self) -> None:
        horizon = time.monotonic() - self._edit_gap_s
        self._edited_at = {row_id: at for row_id, at in self._edited_at.items() if at > horizon}

    async def _send_lane(self, rows: Sequence[DiscordMessage]) -> None:
        async with self._slots:
            for row in rows:
                if not await self._send(row):
                    return

    async def _send(self, row: DiscordMessage) -> bool:
        """Sends one message and notes how it went; False when its thread should wait."""
        self._edited_at[row.id] = time.monotonic()
        messages = self._core.messages
        try:
            view = await self._core.runs.brief(row.task_run_id) if row.task_run_id else None
            done = await self._courier.deliver(row, view)
        except LimitReached as limit:
            after_s = limit.retry_after_s or 5.0
            if isinstance(limit, AllWait):
                self._paused_until_s = self._core.clock.monotonic_s() + after_s
            await messages.retry_later(row, after_s, limit.message)
            return False
        except (Invalid, NotFound) as error:
            await self._say_plainly(row, error)
            return True
        except CcdError as error:
            await messages.retry_later(row, backoff_s(row.attempts), error.message)
            self._core.counters.add("messages", outcome="put_off")
            if isinstance(error, NotLetIn):
                await self._say_otherwise(row, error)
            return False
        except Exception as error:
            _log.exception("message %s of run %s could not be delivered", row.key, row.task_run_id)
            if row.attempts >= _ODD_ATTEMPTS_MAX:
                await self._say_plainly(row, Unavailable("bot", f"Something broke here ({type(error).__name__})."))
                return True
            await messages.retry_later(row, backoff_s(row.attempts), type(error).__name__)
            return False
        await messages.delivered(row, done)
        self._core.counters.add("messages", outcome="delivered")
        return True

    async def _say_plainly(self, row: DiscordMessage, error: CcdError) -> None:
        """Discord will never take this message: it stays visible as failed, and the thread gets a plain line."""
        _log.warning("Discord does not take message %s of run %s: %s", row.key, row.task_run_id, error.message)
        await self._core.messages.failed(row, error.message)
        self._core.counters.add("messages", outcome="failed")
        if row.task_run_id is None:
            return
        if row.key.startswith(_PLAIN):
            await self._say_otherwise(row, error)
            return
        async with self._core.db.write() as session:
            run = await session.get(TaskRun, row.task_run_id)
            if run is None:
                return  # cleaned up meanwhile, with all that was to be said about it
            payload = {"text": f"Discord did not take a message here: {error.message}"}
            await self._core.messages.put(session, run, f"{_PLAIN}{row.key}", MessageType.NOTIFICATION, payload)

    async def _say_otherwise(self, row: DiscordMessage, error: CcdError) -> None:
        """The owner hears of it by another way: a direct message and a push; once a day for each task."""
        task_id = row.task_id
        if task_id is None or row.payload.get("to"):
            return
        task = await self._core.tasks.load(task_id)
        told = {"text": unsaid_text(task.task_name, error), "to": task.owner_user_id}
        if not task.owner_user_id.isdecimal():
            del told["to"]  # made in the shell: the notification channel hears of it
        key = f"unsaid:{task_id.hex}:{self._core.clock.now():%Y%m%d}"
        async with self._core.db.write() as session:
            if await self._core.messages.is_said(session, key):
                return
            await self._core.messages.put(session, None, key, MessageType.NOTIFICATION, told)
            run = await session.get(TaskRun, row.task_run_id) if row.task_run_id else None
            if run is not None:
                await self._core.pushes.tell_unsaid(session, run, error.message)
        self._core.bus.publish(PushPending())


def unsaid_text(task_name: str, error: CcdError) -> str:
    """`I cannot tell you about shoes in its channel: ...`"""
    hint = f" {error.hint[:1].upper()}{error.hint[1:]}; what waits is posted then." if error.hint else ""
    return f"I cannot tell you about **{task_name}** in its channel: {error.message}{hint}"


def backoff_s(attempts: int) -> float:
    """1, 2, 4, ... up to 300 s, each drawn between half and all of it."""
    return min(_BACKOFF_CAP_S, 2.0 ** min(attempts, 20)) * random.uniform(0.5, 1.0)  # noqa: S311  spreads load
