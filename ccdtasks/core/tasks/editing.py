"""A change of a task: all of it is read and checked first, then the row gets it at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.definition import naming
from ccdtasks.core.definition.fields import Field, find_field, read_typed, shown, value_of
from ccdtasks.core.definition.parameters import Parameter, check_value, from_rows, missing, placeholders
from ccdtasks.core.definition.taskconfig import TaskConfig, config_row, read_config
from ccdtasks.core.definition.values import parse_values
from ccdtasks.core.ending.chains import saved_values
from ccdtasks.core.records.graph import load_graph
from ccdtasks.core.text import clean_text
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import Task, TaskDependency, TaskRun
from ccdtasks.errors import Conflict, Invalid

PARAMETERS = "parameters"
"""The change that gives parameters a description, default, pattern and choices, by name."""
GROUPS = ("retries", "display", "values")
"""Tables of fields, each of which is a field of its own: `retries.attempts`."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one field, in words for people; empty where nothing was or is."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Edited:
    """A task after a change; no changes when all was so before."""

    task: Task
    changes: Sequence[Change]


async def apply(session: AsyncSession, task: Task, given: Mapping[str, Any]) -> list[Change]:
    """Changes a locked row by fields, as people name them. Raises Invalid or Conflict before anything is written."""
    flat = dict(_flat(given))
    hints = flat.pop(PARAMETERS, None) or {}
    prompt = next((value for name, value in flat.items() if name.strip().lower() == "prompt"), task.template_prompt)
    parameters = _parameters(task, prompt, hints)
    fields = _found([each.name for each in parameters], flat, task.task_name)
    config, columns = _config(task, fields), _columns(fields)
    values = _values(task, parameters, fields)
    old = {each: shown(each, value_of(task, each)) for each in fields}
    asked, saved = _rows(task), dict(task.schedule_parameters)

    with session.no_autoflush:
        for column, value in columns.items():
            setattr(task, column, value)
        task.required_parameters = [each.as_row() for each in parameters if each.is_required]
        task.optional_parameters = [each.as_row() for each in parameters if not each.is_required]
        task.config, task.effect, task.schedule_parameters = config_row(config), config.effect, values
        if _rows(task) != asked or values != saved:
            await require_values(session, task)
    if any(each.key == "budget_usd_per_day" for each in fields):
        task.budget_warned = None  # the new sum is warned of anew
    return [*_changes(task, old), *_value_changes(saved, values), *_hint_changes(task, asked, fields)]


def _flat(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`{"retries": {"attempts": 5}}` as `retries.attempts`, and all values that were typed as one each."""
    for name, value in given.items():
        group = name.strip().lower()
        inner = parse_values(value) if group == "values" and isinstance(value, str) and value.strip() else value
        if group in GROUPS and isinstance(inner, Mapping):
            yield from ((f"{group}.{part}", each) for part, each in inner.items())
        else:
            yield name, value


def _found(names: Sequence[str], flat: Mapping[str, Any], task_name: str) -> dict[Field, Any]:
    fields: dict[Field, Any] = {}
    for name, value in flat.items():
        field = find_field(names, name, task_name)
        if field in fields:
            raise Invalid(field.name, f"`{field.name}` is given twice.", "give it once")
        fields[field] = read_typed(field, value)
    return fields


def _parameters(task: Task, prompt: Any, hints: Any) -> list[Parameter]:
    """What the prompt asks for from now on: with what was said about each before, unless it is said anew."""
    found = placeholders(naming.check_prompt(_text("prompt", prompt) or ""))
    old = {each.name: each for each in placeholders(task.template_prompt)}
    known = {each.name: each for each in from_rows(task.required_parameters, task.optional_parameters)}
    if not isinstance(hints, Mapping) or not all(isinstance(each, Mapping) for each in hints.values()):
        raise Invalid(PARAMETERS, "`parameters` must be a table of tables, one for each parameter.")
    unknown = [name for name in hints if name not in {each.name for each in found}]
    if unknown:
        raise Invalid(PARAMETERS, f"The prompt has no placeholder {{{unknown[0]}}}.", "name it in the prompt first")
    return [
        naming.with_hints(each, hints[each.name] if each.name in hints else _kept(each, old, known)) for each in found
    ]


def _kept(parameter: Parameter, old: Mapping[str, Parameter], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """What was said about a parameter beside the prompt; a default that the new prompt changes is not kept."""
    row = known.get(parameter.name)
    if row is None:
        return {}
    kept: dict[str, Any] = {"description": row.description, "pattern": row.pattern, "choices": row.choices}
    in_prompt = old[parameter.name].default
    if row.default != in_prompt == parameter.default:
        kept["default"] = row.default
    return kept


def _config(task: Task, fields: Mapping[Field, Any]) -> TaskConfig:
    wanted: dict[str, Any] = {**task.config}
    changed = {field: value for field, value in fields.items() if field.place == "config"}
    for field, value in changed.items():
        *parents, last = field.path
        table = wanted
        for part in parents:
            table[part] = table = {**table.get(part, {})}
        table.pop(last, None)
        if value is not None:
            table[last] = value
    try:
        return read_config(wanted)
    except Invalid as refused:
        wrong = [field for field in changed if f"`{field.key}`" in refused.message]
        message = refused.message
        for field in wrong:
            message = message.replace(f"`{field.key}`", f"`{field.name}`")
        raise Invalid(wrong[0].name if wrong else refused.field, message, wrong[0].meaning if wrong else "") from None


def _columns(fields: Mapping[Field, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for field, value in fields.items():
        if field.place == "column":
            is_unset_switch = field.kind == "switch" and value is None
            columns[field.key] = True if is_unset_switch else value
    if "template_prompt" in columns:
        columns["template_prompt"] = naming.check_prompt(_text("prompt", columns["template_prompt"]) or "")
    if columns.get("description") is not None:
        columns["description"] = naming.check_description(_text("description", columns["description"]))
    return columns


def _values(task: Task, parameters: Sequence[Parameter], fields: Mapping[Field, Any]) -> dict[str, str]:
    """The saved values: as before without those that the prompt no longer asks for, then as given."""
    known = {each.name: each for each in parameters}
    values = {name: value for name, value in task.schedule_parameters.items() if name in known}
    for field, value in fields.items():
        if field.kind == "values":
            values = {} if value is None else values
        elif field.place == "value":
            values.pop(field.path[-1], None)
            if value is not None:
                values[field.path[-1]] = _text(field.name, value)
    for name, value in values.items():
        check_value(known[name], value)
    return values


async def require_values(session: AsyncSession, task: Task) -> None:
    """Nobody can be asked when a task starts by itself, so each value it needs must be there."""
    parameters = from_rows(task.required_parameters, task.optional_parameters)
    if task.schedule_cron:
        lacking = missing(parameters, task.schedule_parameters)
        _refuse(lacking, f"A scheduled run of {task.task_name}", f"/task-schedule-remove {task.task_name}")
    if (await load_graph(session, TaskDependency.task_id == task.id)).upstreams(task.id):
        lacking = missing(parameters, await saved_values(session, task))
        _refuse(lacking, f"A run of {task.task_name} that another task starts", "/task-depends-remove")
    waiting = select(TaskRun.parameters).where(TaskRun.task_id == task.id, TaskRun.status == RunStatus.QUEUED)
    for values in await session.scalars(waiting):
        lacking = missing(parameters, values)
        if lacking:
            raise Conflict(
                f"A run of {task.task_name} that waits in line has no value for {_listed(lacking)}.",
                f"let it begin first, or stop it: /task-stop {task.task_name}",
            )


def _refuse(lacking: Sequence[Parameter], whose: str, way_out: str) -> None:
    if lacking:
        example = " ".join(f"{{{each.name}=...}}" for each in lacking)
        raise Invalid(
            "values",
            f"{whose} has nobody to ask, and {_listed(lacking)} would be empty.",
            f"give a default in the prompt, {example}, or let it run by hand only: {way_out}",
        )


def _listed(parameters: Sequence[Parameter]) -> str:
    return ", ".join(f"`{each.name}`" for each in parameters)


def _text(name: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise Invalid(name, f"`{name}` must be text.")
    return value or ""


def _rows(task: Task) -> list[dict[str, Any]]:
    return [*task.required_parameters, *task.optional_parameters]


def _changes(task: Task, old: Mapping[Field, str]) -> Iterator[Change]:
    for field, before in old.items():
        after = shown(field, value_of(task, field))
        if field.place != "value" and before != after:
            yield Change(field.name, before, after)


def _value_changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield Change(f"values.{name}", before.get(name, ""), after.get(name, ""))


def _hint_changes(task: Task, before: Sequence[Mapping[str, Any]], fields: Mapping[Field, Any]) -> Iterator[Change]:
    if any(field.name == "prompt" for field in fields):
        return  # it says already what is asked for
    rows = {row["name"]: row for row in before}
    for row in _rows(task):
        if row != rows[row["name"]]:
            yield Change(f"{PARAMETERS}.{row['name']}", "", clean_text(row.get("description") or row["name"], 200))
