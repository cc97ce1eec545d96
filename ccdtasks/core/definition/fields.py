"""What of a task can be changed: each field by the name people use, what it means, how its value is typed and shown.

The settings come from `TaskConfig`: a new one is a field without further ado. Units are left out of the names,
`timeout` is `timeout_s`; the exact key is understood too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from ccdtasks.config import Config
from ccdtasks.core.definition.taskconfig import TaskConfig, read_config
from ccdtasks.core.definition.values import parse_values, values_text
from ccdtasks.core.spans import read_span
from ccdtasks.core.text import clean_line
from ccdtasks.db.models import Task
from ccdtasks.errors import Invalid
from ccdtasks.times import duration_text

Kind = Literal["text", "number", "duration", "money", "switch", "list", "values"]
_SWITCH = ("yes", "no")
_SWITCHES = {
    **dict.fromkeys(("yes", "on", "true", "1"), True),
    **dict.fromkeys(("no", "off", "false", "0"), False),
}
_UNIT = re.compile(r"_(s|usd)(?=_|$)")


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that can be changed, and where it lies: in a column of the row, in `config`, or among saved values.

    `name` is what people type, `key` the exact one. `choices`: all that it takes, where that is a few words.
    """

    name: str
    key: str
    place: Literal["column", "config", "value"]
    kind: Kind
    meaning: str
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def path(self) -> list[str]:
        """`retries.attempts` in its parts."""
        return self.key.split(".")


_COLUMNS = (
    Field(
        "prompt",
        "template_prompt",
        "column",
        "text",
        "what to do, in plain words; {origin} is asked for, {limit=500} has a default",
    ),
    Field("description", "description", "column", "text", "a line about it, the topic of its channel"),
    Field("notify_on_complete", "notify_on_complete", "column", "switch", "call you when a run is done", _SWITCH),
    Field("notify_on_error", "notify_on_error", "column", "switch", "call you when a run failed for good", _SWITCH),
    Field("pushover_enabled", "pushover_enabled", "column", "switch", "tell your phone too, by Pushover", _SWITCH),
    Field("values", "values", "value", "values", 'values of runs that start by themselves: origin:SFO dates:"Feb 15"'),
)
_ELSEWHERE = {
    **dict.fromkeys(("name", "task_name"), "a task keeps its name; /task-clone {task} makes one under another"),
    **dict.fromkeys(("type", "task_type", "category"), "a task keeps its category; /task-create makes one in another"),
    **dict.fromkeys(("schedule", "cron", "timezone", "when"), "/task-schedule {task} sets when it runs"),
    **dict.fromkeys(("paused", "enabled", "pause"), "/task-pause {task} lets it rest, /task-resume {task} goes on"),
    **dict.fromkeys(("depends_on", "dependencies"), "/task-depends-on {task} sets what it runs after"),
}
"""What people may look for here and find there."""
_ALIASES = {"retries.attempts": ("retries",)}


def _of_model(model: type[BaseModel], parents: tuple[str, ...] = ()) -> Iterator[Field]:
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _of_model(kind, (*parents, name))
            continue
        key = ".".join((*parents, name))
        short = _UNIT.sub("", name)
        yield Field(
            name=".".join((*parents, short)),
            key=key,
            place="config",
            kind=_kind(name, kind),
            meaning=info.description or "",
            choices=_choices(kind),
            aliases=(key, *((name, short) if parents else ()), *_ALIASES.get(key, ())),
        )


def _kind(name: str, annotation: Any) -> Kind:
    if name.endswith("_s"):
        return "duration"
    kinds = {getattr(each, "__name__", "") for each in _alternatives(annotation)}
    if "Decimal" in kinds:
        return "money"
    return "list" if "tuple" in kinds else "number" if "int" in kinds else "text"


def _alternatives(annotation: Any) -> Sequence[Any]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return [found for each in get_args(annotation) for found in _alternatives(each)]
    return [annotation if origin is Literal else origin or annotation]


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    return (
        tuple(each.value for each in annotation)
        if isinstance(annotation, type) and issubclass(annotation, Enum)
        else ()
    )


SETTINGS = tuple(_of_model(TaskConfig))
_FIRST = ("prompt", "description", "timeout", "values", "notify_on_complete", "notify_on_error", "notify")
_COMMON = tuple(
    sorted((*_COLUMNS, *SETTINGS), key=lambda each: _FIRST.index(each.name) if each.name in _FIRST else len(_FIRST))
)


def fields_of(parameters: Sequence[str]) -> list[Field]:
    """Everything that can be changed, what people change most first; the saved value of each parameter is one too."""
    return [*_COMMON, *(_saved(name) for name in parameters)]


def find_field(parameters: Sequence[str], typed: str, task_name: str) -> Field:
    """The field somebody means; a bare parameter stands for its saved value. Raises Invalid that names the nearest."""
    wanted = re.sub(r"[\s-]+", "_", typed.strip().lower())
    known = {name: each for each in reversed(fields_of(parameters)) for name in (*each.aliases, each.name)}
    found = known.get(wanted) or (_saved(wanted) if wanted in parameters else None)
    if wanted in _ELSEWHERE:
        raise Invalid("field", f"`{wanted}` is no field of its own.", _ELSEWHERE[wanted].format(task=task_name))
    if found is None:
        near = get_close_matches(wanted, [*parameters, *known], n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"/task-edit {task_name} shows what can be changed"
        raise Invalid("field", f"There is no field `{clean_line(typed, 60)}`.", hint)
    return found


def typed_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """A `config` from settings as people name and type them; an unknown name stays, for `read_config` to refuse."""
    config: dict[str, Any] = {}
    for name, value in given.items():
        field = next((each for each in SETTINGS if name in (each.name, *each.aliases)), None)
        if field is None or isinstance(value, Mapping):
            config[name] = value
            continue
        *parents, last = field.path
        table = config
        for part in parents:
            table = table.setdefault(part, {})
        table[last] = read_typed(field, value)
    return config


def parameter_names(task: Task) -> list[str]:
    """The task's parameters, required ones first."""
    return [each["name"] for each in (*task.required_parameters, *task.optional_parameters)]


def read_typed(field: Field, value: Any) -> Any:
    """A value as it is kept, from what somebody typed or from JSON; None for what gives way to its default.

    Text becomes what the field wants: `1h 30m`, `yes`, `$2.50`, `a.example, b.example`. What a setting takes is judged
    by `TaskConfig`. Raises Invalid(name of the field).
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if field.kind == "switch":
        known = value if isinstance(value, bool) else _SWITCHES.get(str(value).strip().lower(), value)
        if known != "default" and not isinstance(known, bool):
            raise Invalid(field.name, f"`{field.name}` must be yes or no.", field.meaning)
        return known if isinstance(known, bool) else None
    if field.kind == "values":
        return parse_values(value) if isinstance(value, str) else value
    if not isinstance(value, str):
        return value
    return _read_setting(field, value.strip()) if field.place == "config" else value


def _read_setting(field: Field, text: str) -> Any:
    word = text.lower()
    if word == "default" or (word == "none" and not field.choices):
        return None
    match field.kind:
        case "duration" if not text.isdecimal():
            hint = "write seconds, or a length like 1h 30m"
            return int(read_span(text, field.name, hint).total_seconds())
        case "money":
            return text.removeprefix("$").replace(",", "").strip()
        case "list":
            return [] if word == "all" else re.split(r"[\s,]+", text.strip(" ,"))
    return word if field.choices else text


def value_of(task: Task, field: Field) -> Any:
    """What the row holds, None where it holds nothing and a default takes its place."""
    match field.place:
        case "column":
            return getattr(task, field.key)
        case "config":
            return _in(read_config(task.config).model_dump(mode="json", exclude_defaults=True), field.path)
        case "value":
            saved = task.schedule_parameters
            return (saved or None) if field.kind == "values" else saved.get(field.path[-1])


def default_of(task: Task, field: Field, config: Config) -> Any:
    """What holds while the row says nothing: the instance's configuration, else the default of the setting."""
    if field.place == "config":
        instance = {
            "timeout_s": config.limits.run_timeout_s,
            "human_timeout_s": config.limits.human_timeout_s,
            "budget_usd": str(config.claude.max_budget_usd),
            "model": config.claude.model,
            "max_turns": config.claude.max_turns,
            "catch_up_window_s": config.schedule.catch_up_window_s,
        }
        return instance.get(field.key, _in(TaskConfig().model_dump(mode="json"), field.path))
    if field.key.startswith("values."):
        each = next((row for row in task.optional_parameters if row["name"] == field.path[-1]), None)
        return each["default"] if each else None
    return None


def unset_text(task: Task, name: str, config: Config) -> str:
    """What is said of a field that has no value of its own: `30 m (default)`, or `none`."""
    field = next((each for each in fields_of(parameter_names(task)) if each.name == name), None)
    default = shown(field, default_of(task, field, config)) if field else ""
    return f"{default} (default)" if default else "none"


def shown(field: Field, value: Any) -> str:
    """A value for people: `30 m`, `$2.50`, `yes`; empty for none."""
    if value is None or value in ("", (), [], {}):
        return ""
    match field.kind:
        case "duration":
            said = duration_text(value)
        case "switch":
            said = "yes" if value else "no"
        case "money":
            said = f"${float(value):,.2f}"
        case "values":
            said = values_text(value)
        case "list":
            said = ", ".join(value)
        case _:
            said = str(value)
    return said


def typed(field: Field, value: Any) -> str:
    """A value as somebody would type it, to be changed."""
    if value is None:
        return ""
    return str(value) if field.kind in ("duration", "money") else shown(field, value)


def _saved(name: str) -> Field:
    meaning = f"the saved value of {name}, for runs that start by themselves"
    return Field(f"values.{name}", f"values.{name}", "value", "text", meaning)


def _in(settings: Any, path: Sequence[str]) -> Any:
    for part in path:
        settings = settings.get(part) if isinstance(settings, dict) else None
    return settings
