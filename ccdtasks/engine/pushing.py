"""Sends pushes to phones: in order for each person, again after every outage, and follows emergencies to their end.

Pushover has no way to name a message, so one thing cannot be known: whether a message was taken when no answer came
back, or when this process died between the answer and its commit. Such a message is sent again, since an alarm that
came twice is better than none, and its row says so; of a repeated emergency the first one is silenced.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta

from ccdtasks.adapters.pushover import CONNECTIONS, NoAnswer, Push, Pushover, Quota, Spent
from ccdtasks.core import Core
from ccdtasks.core.phone.pushes import EMERGENCY, TEST
from ccdtasks.core.phone.pushqueue import Outgoing, QuotaLeft
from ccdtasks.db.models import PushoverNotification
from ccdtasks.errors import CcdError, Denied, Invalid, Unavailable
from ccdtasks.events import PushPending, wait_for_bell

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 3.0
# https://pushover.net/api, "Being Friendly to our API": no sooner than 5 s after the last try
_SHORTEST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0
_TOO_OLD = timedelta(days=1)
_SHUT_S = 3600.0
_OFTEN = timedelta(minutes=10)
_POLL_S, _LATER_POLL_S = 10.0, 30.0
_SURELY_OVER = timedelta(minutes=5)


class PushingLoop:
    """Empties the outbox of pushes."""

    def __init__(self, core: Core, pushover: Pushover) -> None:
        self._core = core
        self._queue = core.push_queue
        self._pushover = pushover
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._away_until_s = 0.0
        self._refusal: CcdError | None = None
        self._ask_again_s = core.clock.monotonic_s()

    async def run(self) -> None:
        """Sends until cancelled."""
        with self._core.bus.bell(PushPending) as bell:
            while True:
                try:
                    wait_s = 0.0 if await self.send_pending() else _LOOK_EVERY_S
                    await self.follow_receipts()
                except Unavailable as error:  # the database; Pushover's own absence is noted in the rows
                    _log.warning("pushes wait: %s", error.message)
                    wait_s = _LOOK_EVERY_S
                await wait_for_bell(bell, wait_s)

    async def send_pending(self) -> int:
        """Sends what may be sent now, of each person the oldest; says how many were settled."""
        if self._is_away():
            return 0
        await self._look_at_refusal()
        return sum(await asyncio.gather(*(self._send(push) for push in await self._queue.pending())))

    async def follow_receipts(self) -> None:
        """Looks what became of emergencies, and silences those that nobody needs any more."""
        for row in await self._queue.ringing():
            if self._is_away():
                return
            await self._follow(row)

    async def _send(self, push: Outgoing) -> bool:
        """Sends one; True when it is known what came of it."""
        async with self._slots:
            if self._is_away():
                return False
            hopeless = self._hopeless(push)
            try:
                if not hopeless:
                    return self._refusal is None and await self._try(push)
                await self._queue.failed(push.row, hopeless)
            except (
                Unavailable
            ) as error:  # the database: what came of the push is noted, or asked again, at the next look
                _log.warning("push %s waits: %s", push.row.id, error.message)
                return False
            except Exception as error:
                _log.exception("push %s could not be sent", push.row.id)
                await self._queue.failed(push.row, f"Something broke here ({type(error).__name__}).")
            return True

    def _hopeless(self, push: Outgoing) -> str | None:
        """Why a push need not be tried (any more)."""
        now, row = self._core.clock.now(), push.row
        if push.sealed_key is None:
            return "There is no Pushover key any more."
        if self._refusal is not None and row.event == TEST:
            return self._refusal.message
        if now - row.created_at > _TOO_OLD:
            return f"It was tried for a day. {row.last_error or ''}".strip()
        return None

    async def _try(self, push: Outgoing) -> bool:
        row = push.row
        try:
            assert push.sealed_key is not None  # noqa: S101  else it is hopeless
            key = await asyncio.to_thread(self._core.vault.decrypt, push.sealed_key)
        except Unavailable as error:
            await self._queue.failed(row, error.message)
            return True
        if not await self._queue.begin(row, _SHORTEST_PAUSE_S):
            return True
        try:
            if push.is_repeat and row.priority == EMERGENCY:
                await self._pushover.cancel_tagged(row.id.hex)
            accepted = await self._pushover.send(_message(push, key))
        except CcdError as error:
            return await self._note(push, error)
        await self._queue.sent(push, key, accepted.request_id, accepted.receipt, _left(accepted.quota))
        self._core.counters.add("pushes", outcome="sent")
        return True

    async def _note(self, push: Outgoing, error: CcdError) -> bool:
        """What an error means for the push; True when that is the end of it."""
        row = push.row
        if isinstance(error, Unavailable):
            pause_s = pause_after(row.attempts)
            self._away_until_s = self._core.clock.monotonic_s() + _SHORTEST_PAUSE_S
            await self._queue.put_off(push, pause_s, error.message, is_open=isinstance(error, NoAnswer))
            self._core.counters.add("pushes", outcome="put_off")
            return False
        if isinstance(error, Invalid) and error.field == "sound" and row.sound:
            await self._queue.without_sound(row)
            return True
        if isinstance(error, Spent | Denied):
            self._refuse(error)
            if row.event != TEST:
                await self._queue.put_off(push, _SHORTEST_PAUSE_S, None, is_open=False)
                self._core.counters.add("pushes", outcome="put_off")
                return False
        _log.warning("push %s is given up: %s", row.id, error.message)
        is_key = isinstance(error, Invalid) and error.field == "key"
        await self._queue.failed(row, error.message, key_is_refused=is_key)
        self._core.counters.add("pushes", outcome="failed")
        return True

    async def _look_at_refusal(self) -> None:
        """While Pushover refuses us as a whole, pushes wait; each hour it is asked whether that is over."""
        if self._refusal is None:
            return
        if self._core.clock.monotonic_s() >= self._ask_again_s and await self._is_over():
            self._refusal = None
            return
        await self._queue.hold_back(self._refusal.message, self._refusal.hint or "look at pushover.net")

    async def _is_over(self) -> bool:
        """The question is what is left of the month, never a message: a refused one must not be repeated."""
        try:
            quota = await self._pushover.quota()
        except Unavailable:
            self._away_until_s = self._core.clock.monotonic_s() + _SHORTEST_PAUSE_S
            return False
        except CcdError as error:
            self._refuse(error)
            return False
        if quota is not None and quota.remaining <= 0:
            self._refuse(Spent(quota.reset_at))
            return False
        return True

    def _refuse(self, error: CcdError) -> None:
        """Asks Pushover nothing for an hour: many refused requests get our address blocked."""
        wait_s = _SHUT_S
        if isinstance(error, Spent) and error.reset_at is not None:
            wait_s = min(wait_s, (error.reset_at - self._core.clock.now()).total_seconds())
        self._ask_again_s = self._core.clock.monotonic_s() + wait_s
        self._refusal = error

    async def _follow(self, row: PushoverNotification) -> None:
        assert row.receipt is not None and row.sent_at is not None  # noqa: S101, PT018  it rings
        age = self._core.clock.now() - row.sent_at
        is_over = age > timedelta(seconds=row.expire_s or 0) + _SURELY_OVER
        try:
            if row.withdrawn_at is not None:
                await self._pushover.cancel(row.receipt)
                await self._queue.cancelled(row)
                return
            found = await self._pushover.receipt(row.receipt)
        except Invalid:  # it is unknown, so nothing rings
            await (self._queue.cancelled(row) if row.withdrawn_at else self._queue.expired(row))
        except CcdError as error:
            if isinstance(error, Unavailable):
                self._away_until_s = self._core.clock.monotonic_s() + _SHORTEST_PAUSE_S
            await (self._queue.expired(row) if is_over else self._queue.still_rings(row, _LATER_POLL_S))
        else:
            if found.acknowledged_at is not None:
                await self._queue.acknowledged(row, found.acknowledged_by, found.device, found.acknowledged_at)
            elif found.is_expired:
                await self._queue.expired(row)
            else:
                await self._queue.still_rings(row, _POLL_S if age < _OFTEN else _LATER_POLL_S)

    def _is_away(self) -> bool:
        return self._core.clock.monotonic_s() < self._away_until_s


def pause_after(attempts: int) -> float:
    """5, 10, 20, ... up to 300 s, and up to a quarter more, so that not all come at once."""
    pause_s = min(_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S * 2.0 ** min(attempts, 10))
    return pause_s * random.uniform(1.0, 1.25)  # noqa: S311  spreads load


def _message(push: Outgoing, key: str) -> Push:
    row = push.row
    return Push(
        user_key=key,
        message=row.message,
        title=row.title,
        priority=row.priority,
        url=push.url,
        url_title=row.url_title or (None if row.url else "View in Discord"),
        sound=row.sound,
        retry_s=row.retry_s,
        expire_s=row.expire_s,
        at=row.created_at,
        tag=row.id.hex,
    )


def _left(quota: Quota | None) -> QuotaLeft | None:
    return QuotaLeft(quota.limit, quota.remaining, quota.reset_at) if quota else None
