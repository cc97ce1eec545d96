"""What a task's name, prompt and parameter hints may look like."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ccdtasks.core.definition.matching import check_pattern
from ccdtasks.core.definition.parameters import Parameter, check_value
from ccdtasks.core.text import clean_line, clean_text
from ccdtasks.errors import Invalid

MAX_NAME = 100
"""Discord's limit for a channel's name, since each task has a channel of its name."""
MAX_PROMPT = 20_000
MAX_DESCRIPTION = 1000
_HINTS = ("description", "default", "pattern", "choices")


def folded(name: str) -> str:
    """A name as typed, brought to the form in which names are compared."""
    return unicodedata.normalize("NFC", clean_line(name, 200)).lower().removeprefix("#")


def check_name(name: str) -> str:
    """The name, when Discord takes it as a channel's name unchanged: small letters, digits, - and _."""
    normal = unicodedata.normalize("NFC", name).strip()
    if not normal:
        raise Invalid("name", "The task needs a name.", "for example ticket-checker")
    if len(normal) > MAX_NAME:
        raise Invalid("name", f"The name is {len(normal):,} characters long; {MAX_NAME} are the most.")
    if not all(_fits(sign) for sign in normal) or normal.strip("-_") == "":
        wanted = re.sub("-{2,}", "-", "".join(sign if _fits(sign) else "-" for sign in normal.lower())).strip("-_")
        hint = f"try {wanted}" if wanted else "for example ticket-checker"
        raise Invalid("name", "A task's name has small letters, digits, - and _ only.", hint)
    return normal


def check_prompt(prompt: str) -> str:
    """The prompt without control characters and surrounding space."""
    text = prompt.strip()
    if not text:
        raise Invalid("prompt", "The task needs a prompt: what should be done, in plain words.")
    if len(text) > MAX_PROMPT:
        raise Invalid("prompt", f"The prompt is {len(text):,} characters long; {MAX_PROMPT:,} are the most.")
    return clean_text(text, MAX_PROMPT)


def check_description(text: str) -> str:
    """The description without control characters."""
    if len(text) > MAX_DESCRIPTION:
        raise Invalid("description", f"The description is longer than {MAX_DESCRIPTION:,} characters.")
    return clean_text(text, MAX_DESCRIPTION)


def with_hints(parameter: Parameter, hints: Mapping[str, Any]) -> Parameter:
    """The parameter with the description, default, pattern and choices that its task's author gave."""
    name = parameter.name
    for key in hints:
        if key not in _HINTS:
            raise Invalid("parameters", f"`{name}` has no property `{key}`.", f"use {', '.join(_HINTS)}")
    for key in ("description", "default", "pattern"):
        if hints.get(key) is not None and not isinstance(hints[key], str):
            raise Invalid("parameters", f"The {key} of `{name}` must be text.")
    choices = hints.get("choices") or ()
    if not isinstance(choices, list | tuple) or not all(isinstance(choice, str) for choice in choices):
        raise Invalid("parameters", f"The choices of `{name}` must be a list of texts.")
    hinted = replace(
        parameter,
        description=clean_text(hints.get("description") or "", 200),
        default=hints.get("default", parameter.default),
        pattern=check_pattern(name, hints["pattern"]) if hints.get("pattern") else None,
        choices=tuple(choices)[:25],
    )
    if hinted.default is not None:
        check_value(hinted, hinted.default)
    return hinted


def _fits(sign: str) -> bool:
    return sign in "-_" or (sign.isalnum() and sign == sign.lower())
