"""What a caller can do about a mistake: the only exceptions that cross a layer.

    CcdError
      +- NotFound       name something that exists
      +- Invalid        correct the named field
      +- Denied         ask somebody who may
      +- Conflict       look at the present state first
      +- LimitReached   wait `retry_after_s`, or ask for less
      +- Unavailable    bring the named part back (Podman, Discord, disk, ...)

Each has a `message` (one plain sentence: what happened), a `hint` (what to do, may be empty) and a `code`
(stable, for JSON and tests). Front ends render them; anything else is logged with an incident id.
"""

from __future__ import annotations


class CcdError(Exception):
    """A mistake that a person can act on. Never carries a secret."""

    code = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class NotFound(CcdError):
    """Nothing of that name or id is visible to the caller."""

    code = "not_found"


class Invalid(CcdError):
    """A value cannot be taken; `field` names it in the caller's own words."""

    code = "invalid"

    def __init__(self, field: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.field = field


class Denied(CcdError):
    """The caller may not do this."""

    code = "denied"


class Conflict(CcdError):
    """The thing is not in a state that allows this, or the name is taken."""

    code = "conflict"


class LimitReached(CcdError):
    """A limit, rate or budget is used up. `retry_after_s`: seconds until it may go again, None if unknown."""

    code = "limit_reached"

    def __init__(self, message: str, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class Unavailable(CcdError):
    """A part outside of us does not answer or refuses. `part`: podman, discord, disk, image, model, store, database."""

    code = "unavailable"

    def __init__(self, part: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.part = part
