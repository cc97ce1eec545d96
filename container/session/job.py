"""What to do: `host/job.json`, read once and checked."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

_T = TypeVar("_T")


class JobError(Exception):
    """`job.json` cannot be used; the message says which key and why."""


@dataclass(frozen=True)
class Parameter:
    name: str
    value: Any
    description: str = ""


@dataclass(frozen=True)
class Display:
    width: int = 1280
    height: int = 800


@dataclass(frozen=True)
class Limits:
    event_bytes: int = 65_536
    out_bytes: int = 209_715_200
    log_bytes: int = 8_388_608


@dataclass(frozen=True)
class Job:
    """One attempt of one run. Field names are the keys of `job.json`."""

    run_id: str
    session_id: str
    task_name: str
    prompt: str
    model: str
    credential_kind: Literal["api_key", "oauth_token"]
    credential_dummy: str
    claude_session_id: str
    version: int = 1
    attempt: int = 1
    epoch: int = 1
    parameters: tuple[Parameter, ...] = ()
    system_prompt: str | None = None
    fallback_model: str | None = None
    max_turns: int | None = None
    max_budget_usd: float | None = None
    resume: bool = False
    start_url: str | None = None
    display: Display = Display()
    timezone: str = "UTC"
    locale: str = "en-US"
    chromium_sandbox: bool = True
    timeout_s: float = 1800
    human_timeout_s: float = 7200
    limits: Limits = Limits()


def read_job(path: Path) -> Job:
    """The job in `path`. Keys this version does not know are ignored. Raises JobError."""
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise JobError(f"job.json cannot be read: {error}") from error
    if not isinstance(raw, dict) or raw.get("version") != 1:
        raise JobError("job.json is not of version 1; the image and the appliance do not fit together")
    parameters = tuple(_take(Parameter, item, "parameters") for item in raw.get("parameters") or ())
    nested = {
        "parameters": parameters,
        "display": _take(Display, raw.get("display") or {}, "display"),
        "limits": _take(Limits, raw.get("limits") or {}, "limits"),
    }
    job = _take(Job, {**raw, **nested}, "job.json")
    if job.credential_kind not in ("api_key", "oauth_token"):
        raise JobError(f"credential_kind must be api_key or oauth_token, not {job.credential_kind!r}")
    return job


def _take(kind: type[_T], raw: Any, where: str) -> _T:
    """`kind` made from those keys of `raw` that are its fields."""
    if not isinstance(raw, dict):
        raise JobError(f"{where} must be an object")
    known = fields(kind)  # type: ignore[arg-type]
    missing = [f.name for f in known if f.default is MISSING and f.name not in raw]
    if missing:
        raise JobError(f"{where} lacks {', '.join(missing)}")
    return kind(**{f.name: raw[f.name] for f in known if f.name in raw})
