"""Copies of tasks from the shell."""

from __future__ import annotations

import json

from tests.cli.conftest import Command


def test_a_task_is_cloned_exported_and_imported(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "flights", "Fly from {origin=SFO}", "--set", "timeout_s=600")
    ccdtasks("task", "schedule", "flights", "@daily")
    words = "✓ copy is ready. Its schedule rests; it goes on with: ccdtasks task resume copy\n"
    assert ccdtasks("task", "clone", "flights", "copy").out == words
    assert ccdtasks("task", "clone", "flights", "copy").code == 6
    written = ccdtasks("task", "export", "flights").out
    assert json.loads(written)["config"] == {"timeout_s": 600}
    assert ccdtasks("task", "import", "-", stdin=written).code == 6
    made = ccdtasks("task", "import", "-", "--name", "third", "--json", stdin=written).json()
    assert (made["name"], made["config"], made["paused"]) == ("third", {"timeout_s": 600}, True)
    refused = ccdtasks("task", "import", "-", stdin="{}")
    assert refused.code == 4
    assert refused.err == (
        "error: This is not a task that ccdtasks exported. (hint: ccdtasks task export makes such a file)\n"
    )
    assert ccdtasks("task", "import", "/nowhere.json").code == 2
