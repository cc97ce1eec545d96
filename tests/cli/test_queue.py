"""The queue and another try from the shell."""

from __future__ import annotations

from tests.cli.conftest import Command


def test_the_queue_is_listed_reordered_and_cleared(ccdtasks: Command) -> None:
    assert "No run waits." in ccdtasks("queue").out
    ccdtasks("task", "create", "one", "Look")
    ids = [ccdtasks("run", "one", "--json").json()["id"] for _ in range(3)]
    shown = ccdtasks("queue", "list")
    assert [line.split()[:3] for line in shown.out.splitlines()[1:]] == [
        [str(place), run_id[:8], "one"] for place, run_id in enumerate(ids, 1)
    ]
    assert "a free session" in shown.out
    assert ccdtasks("queue", "move", ids[2][:8]).out == f"✓ Run {ids[2][:8]} is number 1 in line.\n"
    listed = ccdtasks("queue", "--json").json()
    assert [run["id"] for run in listed["runs"]] == [ids[2], ids[0], ids[1]]
    assert (listed["total"], listed["holds"], listed["runs"][0]["waits_for"]) == (3, [], "session")
    refused = ccdtasks("queue", "clear", stdin="n\n")
    assert refused.code == 130
    assert len(ccdtasks("queue", "list", "--json").json()["runs"]) == 3
    assert ccdtasks("queue", "clear", "--yes").out == "■ 3 waiting runs were cancelled.\n"
    moved = ccdtasks("queue", "move", ids[0], "--json")
    assert (moved.code, moved.error()["code"]) == (6, "conflict")


def test_only_a_failed_run_is_tried_again(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "one", "Look at {what}")
    run = ccdtasks("run", "one", "what=shoes", "--json").json()["id"]
    ccdtasks("stop", run)
    refused = ccdtasks("retry", run, "what=hats")
    assert refused.code == 6
    assert refused.err == (
        "error: Only a failed run can be tried again; this one is cancelled. (hint: ccdtasks run one)\n"
    )
    assert ccdtasks("retry", "ffffffff").code == 3
