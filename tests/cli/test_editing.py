"""Changes of a task from the shell."""

from __future__ import annotations

from tests.cli.conftest import Command


def test_a_task_is_changed_and_says_how(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "flights", "Fly from {origin}")
    done = ccdtasks("task", "edit", "flights", "--set", "timeout=1h", "--set", "origin=San Francisco")
    assert done.out.splitlines() == [
        "✓ flights is changed. Runs that begin from now on have it.",
        "  timeout: 30 m (default) → 1 h",
        "  values.origin: none → San Francisco",
    ]
    words = ("--unset", "timeout", "--set", 'retries={"attempts": 5}', "--json")
    made = ccdtasks("task", "edit", "flights", *words).json()
    assert made["config"] == {"retries": {"attempts": 5}}
    assert made["changes"] == [
        {"field": "timeout", "before": "1 h", "after": ""},
        {"field": "retries.attempts", "before": "", "after": "5"},
    ]
    assert "it was so already" in ccdtasks("task", "edit", "flights", "--unset", "timeout").out
    prompt = ccdtasks("task", "edit", "flights", "--set", "prompt=-", "--json", stdin="Sail from {origin}\n").json()
    assert prompt["prompt"] == "Sail from {origin}"


def test_without_a_change_it_shows_what_there_is(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "flights", "Fly from {origin}", "--set", "timeout_s=600")
    lines = ccdtasks("task", "edit", "flights").out.splitlines()
    assert any(line.split()[:3] == ["timeout", "10", "m"] for line in lines)
    assert any(line.split()[:3] == ["locale", "en-US", "(default)"] for line in lines)
    fields = {each["field"]: each for each in ccdtasks("task", "edit", "flights", "--json").json()["fields"]}
    assert (fields["timeout"]["value"], fields["timeout"]["default"]) == (600, 1800)
    assert fields["effect"]["choices"] == ["reads", "acts"]
    assert "values.origin" in fields


def test_a_new_task_takes_settings_by_the_same_names(ccdtasks: Command) -> None:
    words = ("--set", "timeout=1h", "--set", "retries=2", "--set", "allowed_domains=a.example b.example")
    made = ccdtasks("task", "create", "flights", "Fly", *words, "--set", 'display={"width": 1920}', "--json").json()
    assert made["config"] == {
        "timeout_s": 3600,
        "retries": {"attempts": 2},
        "allowed_domains": ["a.example", "b.example"],
        "display": {"width": 1920},
    }
    refused = ccdtasks("task", "create", "other", "Fly", "--set", "tiemout_s=5")
    assert (refused.code, "did you mean `timeout_s`?" in refused.err) == (4, True)


def test_mistakes_change_nothing(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "flights", "Fly")
    for words, code, said in (
        (
            ("--set", "max_turns=9", "--set", "tiemout=5"),
            4,
            "There is no field `tiemout`. (hint: did you mean `timeout`?)",
        ),
        (("--set", "max_turns=9", "--set", "timeout=5"), 4, "`timeout` must be at least 30."),
        (("--set", "timeout"), 2, "is not of the form name=value"),
        (("--set", "timeout=60", "--unset", "timeout"), 2, "is there twice"),
        (("--set", "qqqqqqq=5"), 4, "hint: ccdtasks task edit flights shows what can be changed"),
    ):
        done = ccdtasks("task", "edit", "flights", *words)
        assert (done.code, done.out) == (code, ""), words
        assert said in done.err, words
    assert ccdtasks("task", "show", "flights", "--json").json()["config"] == {}
    assert ccdtasks("task", "edit", "other", "--set", "timeout=60").code == 3
