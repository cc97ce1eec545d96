"""The settings of a task as one JSON object: written for people, read back, and compared with what it was before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ccdtasks.core.definition.parameters import from_rows
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.tasks.editing import GROUPS, PARAMETERS
from ccdtasks.core.text import clean_line, shown
from ccdtasks.db.models import Task
from ccdtasks.errors import Invalid

Json = dict[str, Any]
_SWITCHES = ("notify_on_complete", "notify_on_error", "pushover_enabled")
_MEANINGS = {
    "Expecting ',' delimiter": "a comma or a closing bracket is missing here",
    "Expecting ':' delimiter": "a colon is missing behind the name",
    "Expecting property name enclosed in double quotes": "a name in double quotes should stand here",
    "Illegal trailing comma before end of object": "the last entry has a comma too many",
    "Illegal trailing comma before end of array": "the last entry has a comma too many",
    "Expecting value": "a value should stand here: a number, true, false, null, or text in double quotes",
    "Unterminated string starting at": "the text that begins here has no closing quote",
    "Invalid control character at": "a line break inside a text is written \\n",
    "Extra data": "the object has ended before this",
}


def settings(task: Task) -> Json:
    """All settings but the prompt; null stands for what the configuration of the instance says."""
    described = {each.name: each.as_row() for each in from_rows(task.required_parameters, task.optional_parameters)}
    return {
        "description": task.description,
        **{name: getattr(task, name) for name in _SWITCHES},
        **read_config(task.config).model_dump(mode="json"),
        "values": dict(task.schedule_parameters),
        PARAMETERS: {
            name: {key: value for key, value in row.items() if key != "name"} for name, row in described.items()
        },
    }


def settings_text(document: Json) -> str:
    """The object as people read and change it."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def read_object(text: str) -> Json:
    """The object that somebody wrote. Raises Invalid("json") that names the line and what is wrong with it."""
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        line = (error.doc.splitlines() or [""])[error.lineno - 1 : error.lineno]
        at = shown(line[0], 60) if line else ""
        meaning = _MEANINGS.get(error.msg.removesuffix(" at"), _MEANINGS.get(error.msg, error.msg.lower()))
        quotes = any(sign in text for sign in "“”„‘’")
        hint = "use straight quotes, not typographic ones" if quotes else f"the line is `{at}`" if at else ""
        raise Invalid("json", f"Line {error.lineno}, sign {error.colno}: {meaning}.", hint) from None
    except RecursionError:
        raise Invalid("json", "The brackets are nested too deeply.") from None
    except ValueError:  # more digits than Python reads
        raise Invalid("json", "A number in it is too long.") from None
    if not isinstance(found, dict):
        raise Invalid("json", "It must be one object, in curly brackets.", '{"timeout_s": 3600}')
    return found


def difference(before: Json, after: Json) -> Json:
    """What `Tasks.edit` takes to get from the one to the other; what somebody left out goes back to its default.

    Only what differs, so that a change which somebody else made meanwhile stays.
    """
    old, new = dict(_leaves(before)), dict(_leaves(after))
    changes: Json = {key: value for key, value in new.items() if key not in old or old[key] != value}
    changes |= dict.fromkeys(key for key in old if key not in new)
    was, said = before.get(PARAMETERS) or {}, _table(after, PARAMETERS)
    hints = {name: said.get(name, {}) for name in (*was, *said) if said.get(name, {}) != was.get(name)}
    return changes | ({PARAMETERS: hints} if hints else {})


def _leaves(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if key in GROUPS:
            yield from ((f"{key}.{part}", each) for part, each in _table(document, key).items())
        elif key != PARAMETERS:
            yield key, value


def _table(document: Mapping[str, Any], key: str) -> Json:
    found = document.get(key) or {}
    if not isinstance(found, dict):
        raise Invalid(key, f"`{key}` must be a table, in curly brackets.", f'"{key}": {{}}')
    return found


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found: Json = {}
    for key, value in pairs:
        if key in found:
            raise Invalid("json", f"`{clean_line(key, 60)}` is there twice.", "give it once")
        found[key] = value
    return found


def _no_number(word: str) -> Any:
    raise Invalid("json", f"`{word}` is no number that JSON knows.")
