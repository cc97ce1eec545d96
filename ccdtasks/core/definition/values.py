"""Values as people type them in one line: `origin:SFO dates:"Feb 15-22"`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from ccdtasks.core.definition.parameters import NAME, Parameter
from ccdtasks.errors import Invalid

_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "‘": "’", "«": "»"}  # phones turn quotes into typographic ones
_MARKS = "".join({*_QUOTES, *_QUOTES.values()})
_MAX_TEXT = 20_000
_LOOKED_AT = 30


def parse_values(text: str) -> dict[str, str]:
    """`name:value` pairs parted by spaces; a value with spaces stands in quotes, where a backslash takes the next sign.

    Raises Invalid("parameters") with the position of the mistake, counted from 1.
    """
    if len(text) > _MAX_TEXT:
        raise Invalid("parameters", f"The parameters are longer than {_MAX_TEXT:,} characters.")
    values: dict[str, str] = {}
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position == len(text):
            return values
        name, start = _read_name(text, position)
        if name in values:
            raise Invalid("parameters", f"`{name}` is given twice.", "give it once")
        values[name], position = _read_value(text, start, name)


def _read_name(text: str, position: int) -> tuple[str, int]:
    """The name at `position`, and where its value starts."""
    end = position
    while end < len(text) and not text[end].isspace() and text[end] not in ":=":
        end += 1
    name = text[position:end].lower()
    if end == len(text) or text[end].isspace():
        raise Invalid(
            "parameters",
            f"`{text[position:end][:40]}` at position {position + 1} is not name:value.",
            'put a value with spaces in quotes, as in dates:"Feb 15-22"',
        )
    if not NAME.match(name):
        raise Invalid(
            "parameters",
            f"`{text[position:end][:40]}` at position {position + 1} is not a parameter name.",
            "write name:value, with small letters, digits and _ in the name",
        )
    return name, end + 1


def _read_value(text: str, start: int, name: str) -> tuple[str, int]:
    """The value at `start`, and the position behind it."""
    if start < len(text) and text[start] in _QUOTES:
        return _read_quoted(text, start, name)
    end = start
    while end < len(text) and not text[end].isspace():
        end += 1
    if end == start:
        raise Invalid("parameters", f"`{name}` has no value.", f'write {name}:value, or {name}:"" for an empty one')
    return text[start:end], end


def _read_quoted(text: str, start: int, name: str) -> tuple[str, int]:
    closing = _QUOTES[text[start]]
    value: list[str] = []
    position = start + 1
    while position < len(text):
        sign = text[position]
        if sign == "\\" and position + 1 < len(text):
            value.append(text[position + 1])
            position += 2
        elif sign == closing:
            position += 1
            if position < len(text) and not text[position].isspace():
                raise Invalid(
                    "parameters",
                    f"Position {position + 1}, behind the quotes of `{name}`, needs a space.",
                    'a quote inside a value is written \\"',
                )
            return "".join(value), position
        else:
            value.append(sign)
            position += 1
    raise Invalid("parameters", f"The quotes of `{name}` at position {start + 1} are never closed.")


def values_text(values: Mapping[str, str]) -> str:
    """The values as `parse_values` reads them."""
    return " ".join(f"{name}:{_quoted(value)}" for name, value in values.items())


def _quoted(value: str) -> str:
    is_plain = value and not any(sign.isspace() for sign in value) and value[0] not in _QUOTES
    return value if is_plain else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def completions(typed: str, parameters: Sequence[Parameter]) -> list[str]:
    """What a line of values could become next: a name that is not given yet, with its default; a choice of a name."""
    before, last = _parted(typed)
    given = parse_values(before)
    name, colon, begun = last.partition(":")
    if colon:
        wanted = begun.strip(_MARKS).casefold()
        choices = [each for one in parameters if one.name == name for each in one.choices or (one.default,) if each]
        return [f"{before}{name}:{_quoted(each)}" for each in choices if each.casefold().startswith(wanted)]
    open_ones = [each for each in parameters if each.name not in given and each.name.startswith(last.casefold())]
    return [f"{before}{each.name}:{_quoted(each.default) if each.default else ''}" for each in open_ones]


def _parted(typed: str) -> tuple[str, str]:
    """Whole pairs, and what is being typed behind them."""
    for position in [each.end() for each in re.finditer(r"\s+", typed)][: -_LOOKED_AT - 1 : -1]:
        with suppress(Invalid):
            parse_values(typed[:position])
            return typed[:position], typed[position:]
    return "", typed
