"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ccdtasks.errors import CcdError


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `ok`: fine. `warn`: works, with a drawback. `fail`: no run can succeed, or something is unsafe.

    `text` says what is; `remedy` what to do, empty when there is nothing to do.
    """

    check: str
    outcome: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """A good finding."""
    return Finding(check, "ok", text)


def warn(check: str, text: str, remedy: str = "") -> Finding:
    """A drawback."""
    return Finding(check, "warn", text, remedy)


def fail(check: str, text: str, remedy: str = "") -> Finding:
    """Something that has to be mended."""
    return Finding(check, "fail", text, remedy)


def failed(check: str, error: CcdError) -> Finding:
    """The finding that an error of ours is."""
    return fail(check, error.message, error.hint)
