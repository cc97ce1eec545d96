"""Timezones by their IANA names: found, completed, and where their clocks are changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from ccdtasks.core.text import clean_line
from ccdtasks.errors import Invalid

_ODD = ("posix/", "right/", "Etc/", "SystemV/", "US/")
_FILES = ("posix/", "right/", "SystemV/")
_ODD_NAMES = {"localtime", "posixrules", "Factory"}
_PLACES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("PST", "PDT", "PT"), ("America/Los_Angeles",)),
    **dict.fromkeys(("MST", "MT"), ("America/Denver", "America/Phoenix")),
    "MDT": ("America/Denver",),
    "CST": ("America/Chicago", "Asia/Shanghai"),
    **dict.fromkeys(("CDT", "CT"), ("America/Chicago",)),
    **dict.fromkeys(("EST", "EDT", "ET"), ("America/New_York",)),
    **dict.fromkeys(("AKST", "AKDT"), ("America/Anchorage",)),
    **dict.fromkeys(("AST", "ADT"), ("America/Halifax",)),
    **dict.fromkeys(("NST", "NDT"), ("America/St_Johns",)),
    "BRT": ("America/Sao_Paulo",),
    "ART": ("America/Argentina/Buenos_Aires",),
    "BST": ("Europe/London",),
    "WEST": ("Europe/Lisbon",),
    **dict.fromkeys(("CET", "CEST", "MEZ", "MESZ"), ("Europe/Berlin", "Europe/Paris")),
    **dict.fromkeys(("EET", "EEST"), ("Europe/Athens", "Europe/Helsinki")),
    "MSK": ("Europe/Moscow",),
    "TRT": ("Europe/Istanbul",),
    "SAST": ("Africa/Johannesburg",),
    "WAT": ("Africa/Lagos",),
    "EAT": ("Africa/Nairobi",),
    "GST": ("Asia/Dubai",),
    "PKT": ("Asia/Karachi",),
    "IST": ("Asia/Kolkata", "Europe/Dublin", "Asia/Jerusalem"),
    "WIB": ("Asia/Jakarta",),
    "HKT": ("Asia/Hong_Kong",),
    "SGT": ("Asia/Singapore",),
    "JST": ("Asia/Tokyo",),
    "KST": ("Asia/Seoul",),
    "AWST": ("Australia/Perth",),
    **dict.fromkeys(("ACST", "ACDT"), ("Australia/Adelaide",)),
    **dict.fromkeys(("AEST", "AEDT"), ("Australia/Sydney", "Australia/Brisbane")),
    **dict.fromkeys(("NZST", "NZDT"), ("Pacific/Auckland",)),
}
"""What people mean by letters that name no place: many stand for several, and most for half of the year only."""
_WITHOUT_SUMMER_TIME = {"EST": "America/New_York", "MST": "America/Denver"}
_TURNED = re.compile(r"Etc/GMT([+-])([1-9]\d?)\Z")
_OFFSET = re.compile(r"(?:utc|gmt)?\s*[+-]\s*\d{1,2}(?::?\d{2})?\Z", re.IGNORECASE)
_HINT = "use a name like Europe/Berlin or America/New_York"
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
    raise Invalid("timezone", f"There is no timezone named {wanted or 'that'}.", _near(names, wanted))


def typed_zone(name: str) -> ZoneInfo:
    """As `find_zone`, for what somebody chooses now: a name of a place, not one of the machine's own files."""
    wanted = clean_line(name, 60)
    if wanted in _ODD_NAMES or wanted.startswith(_FILES):
        raise Invalid("timezone", f"{wanted} is not the name of a place.", _HINT)
    return find_zone(name)


def surprises_of(zone: ZoneInfo) -> list[str]:
    """What somebody should hear who chose the winter's clock for all the year, or a sign that means its opposite."""
    place, turned = _WITHOUT_SUMMER_TIME.get(zone.key), _TURNED.match(zone.key)
    if turned:
        where = "behind" if turned[1] == "+" else "ahead of"
        return [f"{zone.key} is {turned[2]} h {where} UTC, whatever its sign seems to say."]
    return [f"{zone.key} has no summer time; {place} has, so choose that for a clock there."] if place else []


def _near(names: Sequence[str], wanted: str) -> str:
    if _OFFSET.match(wanted):
        return "name a place, like Europe/Berlin: its clock knows when summer time begins"
    if any(name.casefold().startswith(wanted.casefold().rstrip("/") + "/") for name in names if wanted):
        return f"add the city: {_HINT}"
    near = _PLACES.get(wanted.upper()) or _begins(names, wanted) or get_close_matches(wanted, names, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(near[:3] if wanted.upper() in _PLACES else near[:2])}?" if near else _HINT


def complete_zone(names: Sequence[str], typed: str, limit: int = 25) -> list[str]:
    """Those of `names` that fit: what letters like PST mean, places that begin so, then names that contain it."""
    wanted = clean_line(typed, 60).replace(" ", "_").casefold()
    first = [*_PLACES.get(wanted.upper(), ()), *_begins(names, wanted)]
    contains = [name for name in names if wanted in name.casefold()]
    return list(dict.fromkeys([*first, *contains]))[:limit]


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
