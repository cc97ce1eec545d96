"""Numbers with units as people write them, the same in cards, charts, tables and the shell."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ccdtasks.times import duration_text, size_text

CURRENCY_SIGNS = frozenset("$€£¥₩₹₽₺₫₪₱฿₴₦₿") | {"US$", "A$", "C$", "HK$", "NZ$", "R$", "S$"}
_SIGNS_OF = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "KRW": "₩"}
"""Sessions name currencies by their codes (ISO 4217), people by their signs."""
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
MINUS = "−"


def number_text(number: float, *, short: bool = False) -> str:
    """`2,847`, `−3.5`, `0.00034`; what nobody can count is written as `1.2e18`. `short` makes `1.2 M` of a million."""
    size, sign = abs(number), MINUS if number < 0 else ""
    if not math.isfinite(number):
        return "—"
    if size >= 1e15:
        return sign + f"{size:.2e}".replace("e+", "e")
    if short and size >= 1e6:
        scale, letter = next(each for each in _SCALES if size >= each[0])
        return f"{sign}{_trimmed(f'{size / scale:.2f}')} {letter}"
    if isinstance(number, int) or size == int(size):
        return f"{sign}{int(size):,}"
    if size >= 1:
        return sign + _trimmed(f"{size:,.2f}")
    return sign + _trimmed(f"{size:.3g}" if size >= 1e-4 else f"{size:.2e}")


def counted(number: int, thing: str, things: str = "") -> str:
    """`1 file`, `2,847 files`, `0 files`; `things` where an s is not enough: `2 pushes`."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; `last` stands before the last one."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def some(words: Sequence[str], most: int) -> str:
    """`a, b and c`, or `a, b and 3 more` where there are more than `most`."""
    left = len(words) - most
    return listed([*words[:most], f"{left:,} more"] if left > 0 else words)


def cell_text(number: float) -> str:
    """The same for a cell of a table, where four digits are as often a year as a count: `2026`, `12,500`."""
    is_short = isinstance(number, int) and abs(number) < 10_000
    return f"{MINUS if number < 0 else ''}{abs(number)}" if is_short else number_text(number)


def amount_text(number: float, unit: str | None = None, *, short: bool = False) -> str:
    """`$342` (of USD too), `$11.50`, `342 CHF`, `−4 %`, `21.5 °C`; the unit `s` makes a duration, `bytes` a size."""
    unit = unit_text(unit)
    if unit in ("s", "seconds") and math.isfinite(number):
        return _seconds_text(number)
    if unit == "bytes" and math.isfinite(number):
        return (MINUS if number < 0 else "") + size_text(int(abs(number)))
    said = number_text(number, short=short)
    if not unit:
        return said
    if unit in CURRENCY_SIGNS:
        said = _with_cents(abs(number), number_text(abs(number), short=short))
        return f"{MINUS if number < 0 else ''}{unit}{said}"
    return f"{said} {unit}"


def unit_text(unit: str | None) -> str:
    """The unit as it is shown, the same for what means the same: `$` for USD."""
    unit = (unit or "").strip()
    return _SIGNS_OF.get(unit, unit)


def change_text(before: float, now: float, unit: str | None = None) -> str:
    """`$412 → $378 (−8 %)`: what it was stands first, and is what the percentage is of."""
    said = f"{amount_text(before, unit)} → {amount_text(now, unit)}"
    share = percent_text(before, now)
    return f"{said} ({share})" if share else said


def percent_text(before: float, now: float) -> str:
    """`−8 %`, `+0.4 %`; nothing where there is no base: from zero, or across it."""
    crosses = (before < 0 < now) or (now < 0 < before)
    if before in (0, now) or crosses:
        return ""
    share = (now - before) / abs(before) * 100
    if not math.isfinite(share):
        return ""
    size = abs(share)
    digits = f"{size:.0f}" if size >= 1 else f"{size:.1g}" if size >= 0.01 else "less than 0.01"
    if size >= 1000:
        digits = f"{size:,.0f}" if size < 1e6 else f"{size:.1e}".replace("e+", "e")
    return f"{'+' if share > 0 else MINUS}{digits} %"


def _seconds_text(seconds: float) -> str:
    sign, size = MINUS if seconds < 0 else "", abs(seconds)
    if size < 10 and size != int(size):
        return f"{sign}{_trimmed(f'{size:.1f}')} s" if size >= 0.05 else f"{sign}{size * 1000:.0f} ms"
    return sign + duration_text(size)


def _with_cents(size: float, said: str) -> str:
    """`11.50` for `11.5`: a price has two digits of cents or none."""
    is_cut_short = "." in said and said[-2] == "." and said[-1].isdigit() and round(size, 1) == round(size, 2)
    return f"{said}0" if is_cut_short else said


def _trimmed(digits: str) -> str:
    """Without zeros behind the point."""
    return digits.rstrip("0").rstrip(".") if "." in digits and "e" not in digits else digits
