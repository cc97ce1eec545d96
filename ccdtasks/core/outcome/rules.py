"""When a result is worth telling: `always`, on a `change`, on an `alert`, or when a condition holds.

    lowest_price < price_threshold          values of the result and parameters of the run
    lowest_price < previous_lowest_price    what it was in the last good run
    new_rows > 0 or alerts > 0              counts: rows, new_rows, alerts; `changed` is true or false

A name is written with small letters and `_`: the value `Lowest price` is `lowest_price`. A condition that cannot be
evaluated tells, and says why: silence must never mean that something is broken. Evaluated by simpleeval behind a list
of what may stand in it: there are no powers, no loops, no calls but four, and so nothing that takes long.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from simpleeval import InvalidExpression, SimpleEval

from ccdtasks.core.numbers import read_number
from ccdtasks.core.outcome.changes import Changes
from ccdtasks.core.outcome.results import Result
from ccdtasks.errors import Invalid

WORDS = ("always", "change", "alert")
MAX_RULE = 300

_PARTS_MAX = 60
_COUNTS = ("rows", "new_rows", "alerts", "changed")
_PREVIOUS = "previous_"


def _finite(act: Callable[..., Any]) -> Callable[..., Any]:
    """As `act`, but what is beyond all numbers is an error: compared with it, everything would be false."""

    def checked(*numbers: Any) -> Any:
        found = act(*numbers)
        if isinstance(found, float) and not math.isfinite(found):
            raise ValueError("not finite")
        return found

    return checked


_FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "min": min, "max": max, "round": round}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _finite(operator.add),
    ast.Sub: _finite(operator.sub),
    ast.Mult: _finite(operator.mul),
    ast.Div: _finite(operator.truediv),
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Load,
    ast.Constant, *_OPERATORS,
)  # fmt: skip
_SCALES = frozenset("kKmMbB")
_THRESHOLD = "threshold"
_EXAMPLE = "like lowest_price < price_threshold"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a result is told, and why in a few words. `is_broken`: the rule could not be evaluated."""

    is_told: bool
    why: str
    is_broken: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that a value is measured by. `name`: the parameter that holds it, empty where a rule itself does."""

    value_name: str
    number: float
    name: str


def read_rule(text: str) -> str:
    """The rule as it is kept. Raises Invalid("notify") for what is neither a word of ours nor a condition."""
    rule = " ".join(text.split())
    if rule.lower() in WORDS:
        return rule.lower()
    tree = _parsed(rule)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - _FUNCTIONS.keys()
    if not names:
        near = get_close_matches(rule.lower(), WORDS, n=1)
        raise _wrong(f"names no value, so it never changes; did you mean {near[0]}?" if near else "names no value")
    if isinstance(tree.body, ast.Name) and tree.body.id not in _COUNTS:
        near = get_close_matches(rule.lower(), WORDS, n=1, cutoff=0.4)
        raise _wrong(
            f"is neither always, change or alert nor a comparison{f'; did you mean {near[0]}?' if near else ''}"
        )
    return rule


def judge(rule: str, result: Result, changes: Changes | None, parameters: Mapping[str, Any], rows: int) -> Verdict:
    """What the rule says of a result. `changes` is None without an earlier run; `rows`: of all tables together."""
    if rule == "always":
        return Verdict(True, "")
    if rule == "change":
        if changes is None:
            return Verdict(True, "It is the first of its kind; from now on only changes are told.")
        return Verdict(not changes.is_empty, "" if not changes.is_empty else "Nothing changed.")
    if rule == "alert":
        return Verdict(bool(result.alerts), "" if result.alerts else "There is no alert.")
    known = _known(result, changes, parameters, rows)
    try:
        holds = bool(_evaluated(rule, known))
    except _Broken as broken:
        return Verdict(True, f"The rule “{rule}” could not be checked: {broken}", is_broken=True)
    return Verdict(holds, f"{rule} {'holds' if holds else 'does not hold'}.")


def limit_of(rule: str, names: Sequence[str], parameters: Mapping[str, Any]) -> Limit | None:
    """What the first of the named values that has a limit is measured by, the same in every chart.

    The first number that the rule compares one of them with, where it is a parameter or written there; else a parameter
    that calls itself the first value's threshold: `price_threshold` is that of `lowest_price`.
    """
    return _compared(rule, names, parameters) or (_threshold(names[0], parameters) if names else None)


def _threshold(value_name: str, parameters: Mapping[str, Any]) -> Limit | None:
    words, found = set(_name(value_name).split("_")), []
    for name, text in parameters.items():
        others, number = set(_name(name).split("_")), _read(text)
        is_its_own = others == {_THRESHOLD} or words & others
        if _THRESHOLD in others and is_its_own and isinstance(number, int | float):
            found.append((len(words & others), Limit(value_name, float(number), name)))
    return max(found, key=lambda each: each[0])[1] if found else None


def _compared(rule: str, names: Sequence[str], parameters: Mapping[str, Any]) -> Limit | None:
    if rule in WORDS:
        return None
    try:
        tree = _parsed(rule)
    except Invalid:
        return None
    values = {_name(name): name for name in names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or len(node.comparators) != 1:
            continue
        for one, other in ((node.left, node.comparators[0]), (node.comparators[0], node.left)):
            if not isinstance(one, ast.Name) or one.id not in values:
                continue
            name = other.id if isinstance(other, ast.Name) else ""
            number = other.value if isinstance(other, ast.Constant) else _read(parameters.get(name))
            if isinstance(number, int | float) and not isinstance(number, bool):
                return Limit(values[one.id], float(number), name)
    return None


class _Broken(Exception):
    """Why a condition has no value."""


def _parsed(rule: str) -> ast.Expression:
    if not rule or len(rule) > MAX_RULE:
        raise _wrong(f"must have 1 to {MAX_RULE} characters")
    try:
        tree = ast.parse(rule, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _wrong("cannot be read as a condition") from None
    nodes = list(ast.walk(tree))
    if len(nodes) > _PARTS_MAX:
        raise _wrong("is too long: say it in fewer parts")
    for node in nodes:
        _require_allowed(node)
    return tree


def _require_allowed(node: ast.AST) -> None:
    if isinstance(node, ast.Call):
        is_known = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and not node.keywords
        if not is_known or not 1 <= len(node.args) <= 5:
            raise _wrong(f"may call {', '.join(_FUNCTIONS)} only")
    if isinstance(node, ast.Constant) and not (
        isinstance(node.value, bool | int | float | str) and len(str(node.value)) <= 100
    ):
        raise _wrong("holds something that is neither a number nor a text")
    if not isinstance(node, _ALLOWED):
        raise _wrong("may hold only comparisons, + - * / and the words and, or, not")


def _evaluated(rule: str, known: Mapping[str, Any]) -> Any:
    try:
        tree = _parsed(rule)
    except Invalid as error:
        raise _Broken(error.message) from None
    for name in sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - _FUNCTIONS.keys()):
        if name not in known:
            raise _Broken(_unknown(name, known))
    try:
        value = SimpleEval(operators=_OPERATORS, functions=_FUNCTIONS, names=dict(known)).eval(
            rule, previously_parsed=tree.body
        )
    except ZeroDivisionError:
        raise _Broken("it divides by zero.") from None
    except (InvalidExpression, TypeError, ValueError, OverflowError, RecursionError):
        texts = [name for name in known if isinstance(known[name], str) and re.search(rf"\b{re.escape(name)}\b", rule)]
        raise _Broken(f"{texts[0]} is no number." if texts else "it has no value.") from None
    return value


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    if name.startswith(_PREVIOUS) and name.removeprefix(_PREVIOUS) in known:
        return "there is no earlier run to compare with yet, or only one in another unit."
    near = get_close_matches(name, known, n=1)
    named = [each for each in known if each not in _COUNTS and not each.startswith(_PREVIOUS)][:8]
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(named)}." if named else "."
    return f"this run has no value or parameter {name}{hint}"


def _known(result: Result, changes: Changes | None, parameters: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Everything that a rule may name; a value hides a parameter of its name."""
    known: dict[str, Any] = {_name(name): _read(value) for name, value in parameters.items()}
    if changes is not None:
        before = {name: value.number for name, value in result.values.items()}
        before |= {each.name: each.before for each in changes.values if each.before is not None}
        gone = {each.name for each in changes.values if each.before is None or each.unit_before is not None}
        known |= {_PREVIOUS + _name(name): number for name, number in before.items() if name not in gone}
    known |= {_name(name): value.number for name, value in result.values.items()}
    counts = (rows, changes.new_rows if changes else rows, len(result.alerts), changes is None or not changes.is_empty)
    return {**dict(zip(_COUNTS, counts, strict=True)), **known}


def _name(name: str) -> str:
    """`Lowest price (€)` as it is written in a rule: `lowest_price`."""
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def _read(value: Any) -> Any:
    """A parameter as a number where it is one: `$400`, `400`, `1,200.50`; else as text."""
    if not isinstance(value, str):
        return value
    found = read_number(value.strip())
    return value if found is None or found[1].strip() in _SCALES else found[0]


def _wrong(why: str) -> Invalid:
    return Invalid("notify", f"The rule {why}.", f"write always, change, alert or a condition {_EXAMPLE}")
