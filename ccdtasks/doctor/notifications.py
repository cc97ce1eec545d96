"""Checks of what people are told: Pushover's token and quota, and what could not be delivered lately."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from ccdtasks.adapters.pushover import Pushover, Quota
from ccdtasks.amounts import counted
from ccdtasks.core import Core
from ccdtasks.core.phone.pushqueue import QuotaLeft
from ccdtasks.db.models import DiscordMessage, PushoverNotification
from ccdtasks.doctor.finding import Finding, fail, failed, ok, warn
from ccdtasks.engine.assembly import open_pushover
from ccdtasks.errors import CcdError, Unavailable

_LATELY = timedelta(days=7)


async def notification_findings(core: Core) -> AsyncIterator[Finding]:
    """Pushover, if it is set up, and what of the last week nobody was told."""
    if core.config.pushover.token is None:
        yield ok("pushover", "No [pushover] token is set: people are told in Discord only.")
    else:
        pushover = open_pushover(core.config)
        try:
            yield await _pushover(core, pushover)
        finally:
            await pushover.close()
    yield await _undelivered(core)


async def _pushover(core: Core, pushover: Pushover) -> Finding:
    try:
        quota = await pushover.quota()
    except Unavailable as error:
        left = await core.push_queue.quota()
        known = f" {_left(left)}, as of the last push." if left else ""
        return warn("pushover", f"{error.message}{known}", "pushes wait and are sent later")
    except CcdError as error:
        return failed("pushover", error)
    if quota is None:
        return warn("pushover", "Pushover takes the token, but does not say what is left of the month.", "")
    left = QuotaLeft(quota.limit, quota.remaining, quota.reset_at)
    await core.push_queue.note_quota(left)
    if quota.remaining <= 0:
        return fail("pushover", f"No push goes out: {_left(left)}.", "buy more at pushover.net, or wait for the reset")
    if left.is_nearly_spent:
        return warn("pushover", f"Pushover takes the token, but only {_left(left)}.", "buy more at pushover.net")
    return ok("pushover", f"Pushover takes the token; {_left(left)}.")


def _left(quota: Quota | QuotaLeft) -> str:
    return f"{quota.remaining:,} of {counted(quota.limit, 'message')} are left until {quota.reset_at:%-d %B}"


async def _undelivered(core: Core) -> Finding:
    """What was given up: a person may not know what they should."""
    since = core.clock.now() - _LATELY
    pushes, messages = await core.push_queue.failures(since), await core.messages.failures(since)
    if not pushes and not messages:
        return ok("notifications", "Everything from the last 7 days was delivered, or is on its way.")
    told = [f"{counted(len(messages), 'message')} to Discord"] * bool(messages)
    told += [counted(len(pushes), "push", "pushes")] * bool(pushes)
    rows: list[DiscordMessage | PushoverNotification] = [*messages, *pushes]
    latest = max(rows, key=lambda row: row.created_at)
    return warn(
        "notifications",
        f"In the last 7 days {' and '.join(told)} could not be delivered; the latest: {latest.last_error}",
        "`ccdtasks logs RUN --result` shows what the run found",
    )
