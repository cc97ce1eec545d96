"""What each verb says and with which code it ends, without a service."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from ccdtasks import __version__
from ccdtasks.app import open_core
from ccdtasks.cli import outcome
from ccdtasks.cli.root import VERBS
from ccdtasks.config import Config, PathsConfig
from ccdtasks.core.access import SHELL
from ccdtasks.core.tasks.tasks import TaskDraft
from tests.cli.conftest import PROGRAM, Command, Place, in_thread

PROMPT = "Check flights from {origin} to {destination}, below {price_threshold=500}"
ESCAPE = "\x1b"


def test_version_and_help_say_what_there_is(ccdtasks: Command) -> None:
    assert ccdtasks("--version").out == f"ccdtasks {__version__}\n"
    shown = ccdtasks("--help")
    assert shown.code == 0
    assert all(re.search(rf"^  {verb} ", shown.out, re.MULTILINE) for verb in VERBS)


def test_every_verb_has_help_that_says_what_the_list_says(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        assert outcome.run([verb, "--help"]) == 0, verb
        assert f"Usage: ccdtasks {verb}" in capsys.readouterr().out


def test_a_task_is_made_listed_and_shown(ccdtasks: Command) -> None:
    made = ccdtasks("task", "create", "ticket-checker", PROMPT, "--set", "timeout_s=600")
    assert made.code == 0
    assert "ticket-checker is ready. It needs origin, destination. price_threshold is 500" in made.out
    assert "ticket-checker" in ccdtasks("task", "list").out
    shown = ccdtasks("task", "show", "ticket-checker")
    assert PROMPT in shown.out
    assert '"timeout_s": 600' in shown.out
    assert ccdtasks("task", "create", "from-pipe", "-", stdin="Look at {url}").code == 0
    (piped,) = [task for task in ccdtasks("task", "list", "--json").json() if task["name"] == "from-pipe"]
    assert piped["prompt"] == "Look at {url}"
    assert piped["parameters"] == [{"required": True, "name": "url", "description": ""}]
    assert piped["success_rate"] is None


def test_each_mistake_has_its_code_and_is_said_on_standard_error(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "ticket-checker", PROMPT)
    for words, code, said in (
        (
            ("run", "tiket-checker"),
            3,
            "error: There is no task named tiket-checker. (hint: did you mean ticket-checker?)",
        ),
        (
            ("run", "ticket-checker", "origin=SFO"),
            4,
            "error: This task still needs `destination`. (hint: add destination=...)",
        ),
        (("run", "ticket-checker", "origin"), 2, "error: “origin” is not of the form name=value."),
        (("task", "create", "ticket-checker", "again"), 6, "error: There is a task named ticket-checker already."),
        (("task", "create", "bad name!", "x"), 4, "error: "),
        (("task", "create", "x", "y", "--set", "timeot_s=1"), 4, "did you mean `timeout_s`?"),
        (("logs", "abcdef"), 3, "(hint: ccdtasks runs shows the latest ones)"),
        (("stop", "ticket-checker"), 6, "error: ticket-checker is not running."),
        (("nonsense",), 2, "error: No such command 'nonsense'."),
        (("runs", "--limit", "0"), 2, "error: Invalid value for '--limit'"),
        (("--config", "/nowhere.toml", "runs"), 78, "error: The configuration file /nowhere.toml does not exist."),
    ):
        done = ccdtasks(*words)
        assert (done.code, done.out) == (code, ""), (words, done)
        assert said in done.err, (words, done.err)


def test_a_run_waits_in_line_and_is_stopped_there(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "ticket-checker", PROMPT)
    started = ccdtasks("run", "ticket-checker", "origin=SFO", "destination=a=b", "--json")
    assert started.code == 0
    assert "no ccdtasks service is running" in started.err
    run = started.json()
    assert (run["status"], run["position"]) == ("queued", 1)
    assert run["parameters"] == {"origin": "SFO", "destination": "a=b", "price_threshold": "500"}
    short = run["id"][:8]
    assert re.search(rf"^{short}  ticket-checker  ◌ queued", ccdtasks("runs").out, re.MULTILINE)
    assert ccdtasks("stop", short).out == f"■ ticket-checker ({short}) is stopped.\n"
    (row,) = ccdtasks("runs", "ticket-checker", "--json", "--status", "cancelled").json()
    assert row["id"] == run["id"]
    assert row["completed_at"].endswith("+00:00")
    assert "cancelled" in ccdtasks("logs", short, "--result").out


def test_the_first_verb_makes_the_database(new_place: Place) -> None:
    assert new_place.run("task", "list", "--json").json() == []
    assert new_place.run("task", "create", "ticket-checker", "x").code == 0
    assert (new_place.data_dir / "ccdtasks.db").exists()
    assert new_place.data_dir.stat().st_mode & 0o777 == 0o700


async def test_whoever_starts_a_run_hears_why_none_begins(place: Place) -> None:
    async with open_core(Config(paths=PathsConfig(data_dir=place.data_dir))) as core:
        await core.tasks.create(SHELL, TaskDraft("simple", "Look"))
        async with core.db.write() as session:
            await core.facts.hold(session, "memory", "Too little memory is free.")
    started = await in_thread(place.run, "run", "simple")
    assert started.code == 0
    assert "warning: nothing starts now: Too little memory is free." in started.err


def test_waiting_without_a_service_is_refused_instead_of_hanging(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "simple", "Look")
    done = ccdtasks("run", "simple", "--wait", "--json")
    assert done.code == 8
    assert done.error()["code"] == "unavailable"
    assert done.error()["part"] == "service"
    assert ccdtasks("runs", "--json").json() == [], "a run was left behind"


def test_errors_are_json_too_when_asked_for(ccdtasks: Command) -> None:
    error = ccdtasks("task", "show", "nothing", "--json").error()
    assert error == {
        "code": "not_found",
        "message": "There is no task named nothing.",
        "hint": "ccdtasks task create makes one",
    }
    assert ccdtasks("runs", "--nonsense", "--json").error()["code"] == "usage"


def test_a_terminal_gets_colour(place: Place) -> None:
    place.run("task", "create", "ticket-checker", "x")
    place.run("run", "ticket-checker")
    master, terminal = os.openpty()
    with subprocess.Popen([PROGRAM, "runs"], stdout=terminal, env=place.environ | {"TERM": "xterm-256color"}) as shown:
        assert shown.wait() == 0
    os.close(terminal)
    said = os.read(master, 65536).decode()
    os.close(master)
    assert f"{ESCAPE}[" in said
    assert "◌ queued" in said


def test_nothing_is_coloured_or_written_over_in_a_pipe(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "a-name-that-is-quite-long-for-a-table-in-a-terminal", "x" * 300)
    for words in (("task", "list"), ("task", "show", "a-name-that-is-quite-long-for-a-table-in-a-terminal"), ("runs",)):
        done = ccdtasks(*words, FORCE_COLOR="", COLUMNS="40")
        assert ESCAPE not in done.out + done.err
    assert "a-name-that-is-quite-long-for-a-table-in-a-terminal" in ccdtasks("task", "list", COLUMNS="20").out
