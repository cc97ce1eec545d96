"""The settings of one task: what its `config` column holds, and what a mistake in it is called."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ccdtasks.core.outcome.rules import read_rule
from ccdtasks.core.text import clean_url
from ccdtasks.db.enums import Effect
from ccdtasks.errors import Invalid


def _domain(value: str) -> str:
    name = value.strip().lower().rstrip(".").removeprefix("*.")
    labels = name.split(".")
    if len(name) > 253 or not all(label and len(label) <= 63 and label.replace("-", "").isalnum() for label in labels):
        raise ValueError("must be domain names like shop.example")
    return name


def _address(value: str) -> str:
    if clean_url(value) is None:
        raise ValueError("must be an http or https address")
    return value


def _rule(value: str) -> str:
    try:
        return read_rule(value)
    except Invalid as error:
        raise ValueError(f"{error.message.removeprefix('The rule ').rstrip('.')}: {error.hint}") from None


_CAP_S = 3600


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Retries(_Settings):
    """How often in all, and how long between: drawn by lot below `backoff_s`, which doubles each time up to `cap_s`."""

    attempts: int = Field(3, ge=1, le=10, description="how often a run is tried in all")
    backoff_s: int = Field(60, ge=1, le=86_400, description="longest wait before the second try; it doubles each time")
    cap_s: int = Field(_CAP_S, ge=1, le=86_400, description="longest wait before any try; 1 h, or the backoff")

    @model_validator(mode="before")
    @classmethod
    def _follow_backoff(cls, given: Any) -> Any:
        """Who asks for hours between two tries need not raise the cap as well."""
        if not isinstance(given, Mapping) or given.get("cap_s") is not None:
            return given
        typed = str(given.get("backoff_s"))
        backoff_s = int(typed) if typed.isdecimal() else 0
        return {**given, "cap_s": backoff_s} if backoff_s > _CAP_S else given


class Display(_Settings):
    """The size of the desktop in pixels."""

    width: int = Field(1280, ge=640, le=3840, description="how wide the browser's desktop is, in pixels")
    height: int = Field(800, ge=480, le=2160, description="how high the browser's desktop is, in pixels")


class TaskConfig(_Settings):
    """Everything that one task may set for itself; what is empty comes from the configuration of the instance.

    `notify`: when a result is worth a ping. `effect`: `acts` for tasks that buy, post or submit; such a run is never
    repeated without a person. `overlap`: what becomes of a scheduled time while the task still runs; `catch_up`: of
    those that were missed while the box was off, within `catch_up_window_s`. The descriptions are what people read
    in Discord and in the shell (`core.fields`).
    """

    timeout_s: int | None = Field(None, ge=30, le=86_400, description="how long a run may take; 3600, or 1h 30m")
    human_timeout_s: int | None = Field(
        None, ge=60, le=7 * 86_400, description="how long a run waits for a person; 7200, or 2h"
    )
    budget_usd: Decimal | None = Field(None, gt=0, le=1000, description="what one run may cost, in dollars")
    budget_usd_per_day: Decimal | None = Field(
        None, gt=0, le=10_000, description="what all its runs of a day may cost, in dollars"
    )
    model: str | None = Field(None, min_length=1, max_length=100, description="which Claude model does it")
    max_turns: int | None = Field(None, ge=1, le=10_000, description="how many turns Claude may take")
    start_url: Annotated[str, AfterValidator(_address)] | None = Field(
        None, description="the page that is open when a run begins"
    )
    allowed_domains: tuple[Annotated[str, AfterValidator(_domain)], ...] = Field(
        (), max_length=100, description="the only sites it may visit, like shop.example, kayak.com"
    )
    notify: Annotated[str, AfterValidator(_rule)] = Field(
        "always", description="which results are told: always, change, alert, or lowest_price < price_threshold"
    )
    effect: Effect = Field(
        Effect.READS, description="acts: it buys, posts or submits, so a run is never repeated unasked"
    )
    overlap: Literal["skip", "queue"] = Field("skip", description="a scheduled time while it still runs: skip or queue")
    catch_up: Literal["latest", "none"] = Field("latest", description="scheduled times missed while the box was off")
    catch_up_window_s: int | None = Field(
        None, ge=0, le=7 * 86_400, description="how old a missed time may be to be made up for; 12h"
    )
    retries: Retries = Retries()
    display: Display = Display()
    locale: str = Field(
        "en-US", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="the browser's language, like de-DE"
    )


def read_config(given: Mapping[str, Any]) -> TaskConfig:
    """The settings, checked; raises Invalid("config") with one sentence a mistake."""
    try:
        return TaskConfig.model_validate(dict(given))
    except ValidationError as error:
        sentences = [_sentence(dict(mistake)) for mistake in error.errors(include_url=False, include_input=False)]
        raise Invalid("config", " ".join(dict.fromkeys(sentences))) from None


def config_row(config: TaskConfig) -> dict[str, Any]:
    """As the `config` column stores it: only what differs from the defaults, money as text."""
    return config.model_dump(mode="json", exclude_defaults=True)


def _sentence(mistake: dict[str, Any]) -> str:
    path = [part for part in mistake["loc"] if isinstance(part, str)]
    name, kind, limits = ".".join(path), mistake["type"], mistake.get("ctx", {})
    if kind == "extra_forbidden":
        near = get_close_matches(path[-1], _fields_of(path), n=1, cutoff=0.5)
        return f"There is no setting `{name}`" + (f"; did you mean `{near[0]}`?" if near else ".")
    if kind == "value_error":
        return f"`{name}` {limits['error']}."
    wanted = {
        "greater_than_equal": "at least {ge}",
        "greater_than": "more than {gt}",
        "less_than_equal": "at most {le}",
        "literal_error": "one of {expected}",
        "enum": "one of {expected}",
        "string_too_long": "at most {max_length} characters long",
        "string_too_short": "not empty",
        "too_long": "at most {max_length} entries long",
        "string_pattern_mismatch": "a language like en-US",
        "string_type": "text",
        "tuple_type": "a list",
        "model_type": "a table of settings",
    }.get(kind, "a whole number" if kind.startswith("int") else "a number" if "decimal" in kind else "of another kind")
    return f"`{name}` must be {wanted.format(**limits)}."


def _fields_of(path: list[str]) -> list[str]:
    """The settings that could stand where the wrong one stands."""
    if len(path) == 1:
        return list(TaskConfig.model_fields)
    return list((Retries if path[0] == "retries" else Display).model_fields)
