"""What the API's headers say about a usage limit: until when nobody gets an answer, whatever a session claims."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_SHORT = timedelta(seconds=60)  # the CLI waits out a shorter one by itself (measured: 45 s)
_FARTHEST = timedelta(days=8)  # the longest limit is a week's
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def limited_until(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """The end of the usage limit that a 429 with these headers tells of; None for one that a repeat gets over."""
    moment = None
    if headers.get("anthropic-ratelimit-unified-status") == "rejected":
        moment = _after(_EPOCH, headers.get("anthropic-ratelimit-unified-reset"))
    moment = moment or _retry_after(headers.get("retry-after"), now)
    if moment is None or moment <= now + _SHORT:
        return None
    return min(moment, now + _FARTHEST)


def _retry_after(text: str | None, now: datetime) -> datetime | None:
    """RFC 9110, 10.2.3: seconds, or a date."""
    if text is None:
        return None
    moment = _after(now, text)
    if moment is not None:
        return moment
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)


def _after(start: datetime, seconds: str | None) -> datetime | None:
    try:
        return start + timedelta(seconds=int(seconds)) if seconds is not None else None
    except (ValueError, OverflowError):
        return None
