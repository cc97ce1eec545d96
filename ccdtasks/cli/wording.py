"""What the core says to everybody, in the shell's own words: it names Discord's commands, and we have verbs."""

from __future__ import annotations

import re

VERBS = {
    "/task-create": "ccdtasks task create",
    "/task-list": "ccdtasks task list",
    "/task-edit": "ccdtasks task edit",
    "/task-clone": "ccdtasks task clone",
    "/task-export": "ccdtasks task export",
    "/task-import": "ccdtasks task import",
    "/task-schedule": "ccdtasks task schedule",
    "/task-schedule-remove": "ccdtasks task unschedule",
    "/task-pause": "ccdtasks task pause",
    "/task-resume": "ccdtasks task resume",
    "/task-delete": "ccdtasks task delete",
    "/task-depends-on": "ccdtasks task depends-on",
    "/task-depends-remove": "ccdtasks task depends-remove",
    "/task-dependencies": "ccdtasks task dependencies",
    "/task-queue": "ccdtasks queue",
    "/task-retry": "ccdtasks retry",
    "/task-logs": "ccdtasks logs",
    "/task-files": "ccdtasks files",
    "/task-start": "ccdtasks run",
    "/task-status": "ccdtasks runs",
    "/task-stop": "ccdtasks stop",
}
"""Discord's commands -> our verbs."""

_COMMAND = re.compile(r"/[a-z]+(?:-[a-z]+)+")
_EDIT = re.compile(r"/task-edit (\S+) (\w+)(?: (\S+?))?(?=[`.]|$)")


def in_the_shell(hint: str) -> str:
    """The hint with our verbs in place of commands, and `name=...` in place of `name:...`."""
    hint = _EDIT.sub(lambda found: f"ccdtasks task edit {found[1]} --set {found[2]}={found[3] or '...'}", hint)
    hint = _COMMAND.sub(lambda found: VERBS.get(found.group(), found.group()), hint)
    hint = hint.replace("/settings ", "ccdtasks settings ")
    return re.sub(r"\b(\w+):\.\.\.", r"\1=...", hint)
