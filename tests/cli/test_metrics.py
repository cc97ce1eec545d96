"""Histories and figures from the shell; the runs are those that ended before they began."""

from __future__ import annotations

import csv
import io

from tests.cli.conftest import Command


def test_a_history_has_pages_and_is_a_table(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "one", "Look")
    assert ccdtasks("history", "one").out == "one has no runs here.\n"
    ids = []
    for _ in range(3):
        ids.append(ccdtasks("run", "one", "--json").json()["id"])
        ccdtasks("stop", ids[-1])
    first = ccdtasks("history", "one", "--limit", "2", "--json").json()
    assert [run["id"] for run in first["runs"]] == ids[:0:-1]
    rest = ccdtasks("history", "one", "--after", first["next_after"], "--json").json()
    assert ([run["id"] for run in rest["runs"]], rest["next_after"]) == ([ids[0]], None)
    shown = ccdtasks("history", "one", "--limit", "2").out
    assert f"Older ones: ccdtasks history one --after {ids[1][:8]}" in shown
    assert "■ cancelled" in shown
    rows = list(csv.DictReader(io.StringIO(ccdtasks("history", "one", "--csv").out)))
    assert [(row["run"], row["status"]) for row in rows] == [(run, "cancelled") for run in reversed(ids)]
    assert ccdtasks("history", "two").code == 3


def test_figures_are_shown_also_without_any_run(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "one", "Look")
    assert ccdtasks("metrics").out == "All tasks: no run ended in that time.\n"
    shape = ccdtasks("metrics", "one", "--timeframe", "week", "--json").json()
    assert (shape["task"], shape["runs"], shape["success_rate"], len(shape["periods"])) == ("one", 0, None, 7)
    rows = list(csv.DictReader(io.StringIO(ccdtasks("metrics", "one", "--csv").out)))
    assert len(rows) == 30
    assert rows[0]["runs"] == "0"
    missing = ccdtasks("chart", "one", "price")
    assert missing.code == 3
    assert missing.err == "error: one has no value price. (hint: its results have had no numbers so far)\n"


def test_a_clean_up_asks_first_and_names_what_goes(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "one", "Look")
    ccdtasks("stop", ccdtasks("run", "one", "--json").json()["id"])
    while not (plan := ccdtasks("cleanup", "one", "--keep", "0", "--json").json())["runs"]:
        pass  # the run of this second comes later than the moment before which runs go
    assert (plan["runs"], plan["files"], plan["is_started"]) == (1, 0, False)
    refused = ccdtasks("cleanup", "one", "--older", "0", stdin="n\n")
    assert (refused.code, refused.out) == (0, "✓ Nothing was changed.\n")
    assert "1 run, 0 files (0 B), 0 lines of log" in refused.err
    done = ccdtasks("cleanup", "one", "--keep", "0", "--yes")
    assert done.out == "▶ one is being cleaned up by the service.\n"
    assert ccdtasks("cleanup", "one", "--keep", "0", "--yes").code == 6
    assert ccdtasks("cleanup", "one").code == 4
    assert ccdtasks("cleanup", "one", "--keep", "5").out == "✓ one: nothing to clean up.\n"


def test_what_is_left_of_a_deleted_task_can_go_too(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "one", "Look")
    ccdtasks("stop", ccdtasks("run", "one", "--json").json()["id"])
    assert ccdtasks("cleanup", "--deleted").out == "No deleted task has runs left.\n"
    ccdtasks("task", "delete", "one")
    (gone,) = ccdtasks("cleanup", "--deleted", "--json").json()
    assert gone["task"] == "one"
    assert gone["id"] in ccdtasks("cleanup", "--deleted").out
    while not (plan := ccdtasks("cleanup", "one", "--json").json())["runs"]:
        pass  # the run of this second comes later than the moment before which runs go
    assert plan["deleted_at"] == gone["deleted_at"]
    refused = ccdtasks("cleanup", "one", stdin="n\n")
    assert "of one, which was deleted on " in refused.err
    assert ccdtasks("cleanup", gone["id"], "--yes").out == "▶ one is being cleaned up by the service.\n"
    assert ccdtasks("cleanup").code == 2
