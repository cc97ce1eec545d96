"""Timezones by their IANA names: found, completed, and where their clocks are changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from ccdtasks.core.text import clean_line
from ccdtasks.errors import Invalid

_ODD = ("posix/", "right/", "Etc/", "SystemV/", "US/")
_ODD_NAMES = {"localtime", "posixrules", "Factory"}
_PROBE = timedelta(days=7)
"""No zone changes its clocks and back again within a week."""


def find_zone(name: str) -> ZoneInfo:
    """The timezone of that name. Raises Invalid("timezone") that names the nearest ones. Reads files."""
    wanted = clean_line(name, 60)
    try:
        return ZoneInfo(wanted)
    except (KeyError, OSError, ValueError):  # unknown; a folder of zones; no name at all
        names = zone_names()
    same = [known for known in names if known.casefold() == wanted.replace(" ", "_").casefold()]
    if same:
        return ZoneInfo(same[0])
    near = _begins(names, wanted) or get_close_matches(wanted, names, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near[:2])}?" if near else "use a name like Europe/Berlin or America/New_York"
    raise Invalid("timezone", f"There is no timezone named {wanted or 'that'}.", hint)


def complete_zone(names: Sequence[str], typed: str, limit: int = 25) -> list[str]:
    """Those of `names` that fit: places that begin with what was typed first, then names that contain it."""
    wanted = clean_line(typed, 60).replace(" ", "_").casefold()
    begins = _begins(names, wanted)
    contains = [name for name in names if wanted in name.casefold() and name not in begins]
    return [*begins, *contains][:limit]


def zone_names() -> list[str]:
    """Every name a person may want, sorted. Reads folders: not for the event loop."""
    return sorted(name for name in available_timezones() if not name.startswith(_ODD) and name not in _ODD_NAMES)


def _begins(names: Iterable[str], typed: str) -> list[str]:
    wanted = typed.replace(" ", "_").casefold()
    return [name for name in names if wanted and name.rpartition("/")[2].casefold().startswith(wanted)]


def wall_of(moment: datetime, zone: ZoneInfo) -> datetime:
    """What a clock on the wall shows at that moment, naive."""
    return moment.astimezone(zone).replace(tzinfo=None)


def moments_of(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """The moments in UTC at which the clock shows `wall`: none in a gap, two where the clock is set back, else one."""
    found = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return sorted({moment for moment in found if wall_of(moment, zone) == wall})


def next_change(zone: ZoneInfo, start: datetime, end: datetime) -> datetime | None:
    """The first moment after `start`, up to `end`, from which the clock is another one; None when there is none."""
    low, last = int(start.timestamp()), int(end.timestamp())
    offset, probe = _offset(zone, low), int(_PROBE.total_seconds())
    while low < last:
        high = min(low + probe, last)
        if _offset(zone, high) != offset:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
            return datetime.fromtimestamp(high, UTC)
        low = high
    return None


def _offset(zone: ZoneInfo, timestamp: int) -> timedelta | None:
    return datetime.fromtimestamp(timestamp, UTC).astimezone(zone).utcoffset()
