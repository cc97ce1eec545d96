"""The placeholders of a prompt: `{name}` is required, `{name=default}` optional, `{{` and `}}` are literal braces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from ccdtasks.core.definition import matching
from ccdtasks.errors import Invalid

MAX_PARAMETERS = 25
MAX_VALUE = 2000
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_PIECE = re.compile(r"\{\{|\}\}|\{|\}|[^{}]+")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One placeholder. Without a `default` a value must be given; `pattern` and `choices` narrow what is taken."""

    name: str
    default: str | None = None
    description: str = ""
    pattern: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def is_required(self) -> bool:
        return self.default is None

    def as_row(self) -> dict[str, Any]:
        """As the lists `required_parameters` and `optional_parameters` of a task hold it."""
        row: dict[str, Any] = {"name": self.name, "description": self.description}
        if self.default is not None:
            row["default"] = self.default
        if self.pattern:
            row["pattern"] = self.pattern
        if self.choices:
            row["choices"] = list(self.choices)
        return row


def from_rows(required: Sequence[Mapping[str, Any]], optional: Sequence[Mapping[str, Any]]) -> list[Parameter]:
    """The parameters of a task from its two lists, required ones first."""
    return [
        Parameter(
            name=row["name"],
            default=row.get("default"),
            description=row.get("description", ""),
            pattern=row.get("pattern"),
            choices=tuple(row.get("choices", ())),
        )
        for row in (*required, *optional)
    ]


def placeholders(prompt: str) -> list[Parameter]:
    """The parameters that a prompt names, in order of appearance.

    Raises Invalid("prompt") with the position of the mistake, counted from 1.
    """
    found: dict[str, Parameter] = {}
    for piece in _pieces(prompt):
        if isinstance(piece, str):
            continue
        known = found.setdefault(piece.name, piece)
        if known.default is None:
            found[piece.name] = replace(known, default=piece.default)
        elif piece.default is not None and piece.default != known.default:
            raise Invalid(
                "prompt",
                f"{{{piece.name}}} has two defaults, `{known.default}` and `{piece.default}`.",
                "give the default once",
            )
    if len(found) > MAX_PARAMETERS:
        raise Invalid("prompt", f"The prompt has {len(found)} parameters; {MAX_PARAMETERS} are the most.")
    return list(found.values())


def plain_prompt(prompt: str) -> str:
    """The prompt as the agent reads it: `{name}` stays as the reference to its value, `{{` becomes one brace."""
    return "".join(piece if isinstance(piece, str) else f"{{{piece.name}}}" for piece in _pieces(prompt))


def fill(parameters: Sequence[Parameter], given: Mapping[str, str]) -> dict[str, str]:
    """The values of a run: what was given, else the defaults, each checked. Raises Invalid(name of the parameter)."""
    names = [parameter.name for parameter in parameters]
    for name in given:
        if name not in names:
            raise unknown_parameter(name, names)
    values: dict[str, str] = {}
    missing: list[str] = []
    for parameter in parameters:
        value = given.get(parameter.name, parameter.default)
        if value is None:
            missing.append(parameter.name)
        else:
            values[parameter.name] = check_value(parameter, value)
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing)
        example = " ".join(f"{name}:..." for name in missing)
        raise Invalid(missing[0], f"This task still needs {listed}.", f"add {example}")
    return values


def missing(parameters: Sequence[Parameter], given: Mapping[str, str]) -> list[Parameter]:
    """The required parameters without a value: what a form still has to ask for."""
    return [parameter for parameter in parameters if parameter.is_required and parameter.name not in given]


def check_value(parameter: Parameter, value: str) -> str:
    """The value, when the parameter takes it; values are data, so their words are not judged."""
    most = matching.MAX_VALUE if parameter.pattern else MAX_VALUE
    if len(value) > most:
        raise Invalid(parameter.name, f"`{parameter.name}` is {len(value):,} characters long; {most:,} are the most.")
    control = _CONTROL.search(value)
    if control:
        raise Invalid(
            parameter.name,
            f"`{parameter.name}` has a sign in it that nobody can read (U+{ord(control.group()):04X}).",
            "type the value again",
        )
    if parameter.choices and value not in parameter.choices:
        listed = ", ".join(f"`{choice}`" for choice in parameter.choices)
        raise Invalid(parameter.name, f"`{parameter.name}` must be one of {listed}.")
    if parameter.pattern and matching.is_slow(parameter.pattern):  # kept before that was looked at so closely
        raise Invalid(parameter.name, f"The pattern of `{parameter.name}` is too complex.", "its author can change it")
    if parameter.pattern and not re.fullmatch(parameter.pattern, value):
        said = f"`{parameter.name}` does not have the form that this task wants: `{parameter.pattern}`."
        raise Invalid(parameter.name, said, parameter.description)
    return value


def unknown_parameter(name: str, names: Sequence[str]) -> Invalid:
    """The mistake of naming a parameter that is none of `names`."""
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return Invalid(name, f"This task has no parameter `{name}`.", f"did you mean `{near[0]}`?")
    has = ", ".join(f"`{known}`" for known in names)
    return Invalid(name, f"This task has no parameter `{name}`.", f"it has {has}" if names else "it takes none")


def _pieces(prompt: str) -> Iterator[str | Parameter]:
    """Texts with literal braces resolved, and placeholders."""
    position = 0
    while position < len(prompt):
        match = _PIECE.match(prompt, position)
        assert match  # noqa: S101 - the alternatives of _PIECE cover every character
        piece = match.group()
        if piece == "{":
            end = prompt.find("}", position)
            if end < 0:
                raise Invalid(
                    "prompt",
                    f"The brace at position {position + 1} of the prompt is never closed.",
                    "write {name}, or {{ for a literal brace",
                )
            yield _placeholder(prompt[position + 1 : end], position + 1)
            position = end + 1
            continue
        if piece == "}":
            raise Invalid(
                "prompt",
                f"The brace at position {position + 1} of the prompt closes nothing.",
                "write }} for a literal brace",
            )
        yield piece[0] if piece in ("{{", "}}") else piece
        position = match.end()


def _placeholder(inside: str, position: int) -> Parameter:
    name, equals, default = inside.partition("=")
    name = name.strip()
    where = f"at position {position} of the prompt"
    if "{" in inside:
        raise Invalid("prompt", f"The brace {where} opens again before it is closed.", "write {{ for a literal brace")
    if not name:
        raise Invalid("prompt", f"The braces {where} hold no name.", "write {name}, or {{ }} for literal braces")
    if not NAME.match(name):
        wanted = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")[:32]
        hint = f"write {{{wanted}}}" if NAME.match(wanted) else "for literal braces write {{ and }}"
        raise Invalid(
            "prompt",
            f"`{name[:40]}` {where} is not a parameter name: small letters, digits and _ only, a letter first.",
            hint,
        )
    parameter = Parameter(name, default.strip() if equals else None)
    if parameter.default is not None:
        check_value(parameter, parameter.default)
    return parameter
