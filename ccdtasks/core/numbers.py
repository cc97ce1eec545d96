"""Numbers as pages and people write them: `$1,299.00`, `−4 %`, `1.299,00 €`."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"([^\w\s.,+−-]{0,3}) ?([-+−]?) ?([^\w\s.,+−-]{0,3}) ?(\d[\d.,'’ ]*)([^\d]{0,6})\Z")
_LONGEST = 100  # a cell of a stranger may be long; a number is not, and reading it takes no time then


def read_number(text: str) -> tuple[float, str] | None:
    """The number in a text and its unit, sign of currency first; None for other words."""
    text = " ".join(text.split())
    match = _NUMBER.match(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    before, sign, between, digits, unit = match.groups()
    digits = re.sub(r"['’\s]", "", digits.strip())
    point = max(digits.rfind("."), digits.rfind(","))
    is_grouped = point >= 0 and (digits.count(digits[point]) > 1 or (digits[point] == "," and len(digits) - point == 4))
    whole, part = (digits, "") if point < 0 or is_grouped else (digits[:point], digits[point + 1 :])
    value = float(f"{re.sub('[.,]', '', whole) or '0'}.{re.sub('[.,]', '', part) or '0'}")
    return (-value if sign in ("-", "−") else value), f"{before}{between} {unit.strip()}"
