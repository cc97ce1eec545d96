"""Patterns that the authors of tasks give to values. They are matched on the event loop, so none may take for ever.

Python's matcher tries every way in which a pattern could fit; each choice in it doubles or multiplies them. What is
counted here is the logarithm of the number of ways: 22 bits take a third of a second at the worst.
"""

from __future__ import annotations

import math
import re

from ccdtasks.errors import Invalid

MAX_VALUE = 200
"""Characters of a value that a pattern judges; the bits of repetitions are for values of this length."""
_MAX_PATTERN = 200
_MAX_BITS = 22
_REPETITIONS_BITS = (0, 8, 14, 20)
_ONE_SIGN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_REPETITION = re.compile(r"[*+]|\{\d*,\d*\}")
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_HIDING = re.compile(r"\(\?(?:#|[a-z]*x)", re.IGNORECASE)  # comments, in which a bracket is none
_INNERMOST = re.compile(r"\(([^()]*)\)")


def check_pattern(name: str, pattern: str) -> str:
    """The pattern, when it is a regular expression that is quick on every value. Raises Invalid("parameters")."""
    if is_slow(pattern):
        hint = "repeat no group, at most three signs, and leave little open; `choices` lists what may be chosen"
        raise Invalid("parameters", f"The pattern of `{name}` is too complex.", hint)
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        said = error.msg if isinstance(error, re.error) else str(error)
        raise Invalid("parameters", f"The pattern of `{name}` is no regular expression: {said}.") from None
    return pattern


def is_slow(pattern: str) -> bool:
    """True if some value may keep the matcher busy for long."""
    plain = _ONE_SIGN.sub("x", pattern)
    repetitions = len(_REPETITION.findall(plain))
    if len(pattern) > _MAX_PATTERN or repetitions >= len(_REPETITIONS_BITS):
        return True
    if _HIDING.search(pattern) or _REPEATED_GROUP.search(plain):
        return True
    options = plain.count("?") - plain.count("(?")
    return _REPETITIONS_BITS[repetitions] + options + _alternative_bits(plain) > _MAX_BITS


def _alternative_bits(plain: str) -> float:
    bits = 0.0
    while (group := _INNERMOST.search(plain)) is not None:
        bits += math.log2(1 + group[1].count("|"))
        plain = plain[: group.start()] + "x" + plain[group.end() :]
    return bits + math.log2(1 + plain.count("|"))
