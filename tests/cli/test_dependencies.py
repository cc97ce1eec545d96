"""Tasks that run after others, from the shell."""

from __future__ import annotations

from tests.cli.conftest import Command


def test_tasks_are_linked_shown_and_parted(ccdtasks: Command) -> None:
    for name, prompt in (("scrape", "Look"), ("analyze", "Read {input_file}"), ("digest", "Write")):
        assert ccdtasks("task", "create", name, prompt).code == 0
    done = ccdtasks("task", "depends-on", "analyze", "scrape")
    assert (done.code, done.out) == (4, "")
    assert "analyze needs `input_file`, and a run that another task starts has nobody to ask." in done.err
    done = ccdtasks("task", "depends-on", "analyze", "scrape", "input_file=@scrape/output_file")
    assert done.out == "✓ analyze will run each time that scrape completes.\n"
    pair = ccdtasks("task", "depends-on", "digest", "analyze", "--optional", "--mode", "any", "--json").json()
    assert pair == {"task": "digest", "depends_on": "analyze", "required": False, "mode": "any"}
    assert ccdtasks("task", "depends-on", "scrape", "digest").code == 6
    assert ccdtasks("task", "dependencies", "analyze").out.splitlines() == [
        "◌ analyze",
        "    ↑ after ◌ scrape",
        "    ↓ then ◌ digest, even if it fails",
        "2 steps deep · how long it takes is known after the first good runs",
    ]
    tree = ccdtasks("task", "dependencies", "analyze", "--json").json()
    assert [(task["name"], task["level"]) for task in tree["tasks"]] == [("scrape", -1), ("analyze", 0), ("digest", 1)]
    assert tree["edges"][1] == {"task": "digest", "depends_on": "analyze", "required": False}
    assert ccdtasks("task", "depends-remove", "digest", "analyze").out == "■ digest no longer runs after analyze.\n"
    assert ccdtasks("task", "depends-remove", "digest", "analyze").code == 3
    assert "digest runs after nothing" in ccdtasks("task", "dependencies", "digest").out


def test_a_task_that_others_run_after_is_deleted_only_when_that_is_meant(ccdtasks: Command) -> None:
    for name in ("scrape", "analyze"):
        ccdtasks("task", "create", name, "Look")
    ccdtasks("task", "depends-on", "analyze", "scrape")
    refused = ccdtasks("task", "delete", "scrape")
    assert refused.code == 6
    assert "It would no longer start analyze, which runs after scrape." in refused.err
    assert "--yes" in refused.err
    assert ccdtasks("task", "delete", "scrape", "--yes").code == 0
    assert ccdtasks("task", "delete", "analyze").out == "■ analyze is deleted. Its history stays: 0 runs.\n"
    assert ccdtasks("task", "list", "--json").json() == []
