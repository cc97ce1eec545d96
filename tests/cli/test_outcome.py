"""The table from errors to exit codes: complete, documented, and the only one."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from ccdtasks import errors
from ccdtasks.cli import outcome
from ccdtasks.cli.root import cli
from ccdtasks.config import BadConfig

DOCUMENT = Path(__file__).parents[2] / "docs" / "shell.md"


def _all_errors(kind: type[errors.CcdError] = errors.CcdError) -> set[type[errors.CcdError]]:
    return {each for sub in kind.__subclasses__() for each in ({sub} | _all_errors(sub))}


def test_every_class_of_mistake_has_a_code_of_its_own() -> None:
    assert set(errors.CcdError.__subclasses__()) <= set(outcome.EXIT_CODES) <= _all_errors()
    assert len(set(outcome.EXIT_CODES.values())) == len(outcome.EXIT_CODES)


def test_the_document_says_the_same() -> None:
    documented = dict(re.findall(r"^\| (\d+) \| `(\w+)`:", DOCUMENT.read_text(), re.MULTILINE))
    assert documented == {str(code): kind.code for kind, code in outcome.EXIT_CODES.items()}
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE)}
    plain = {outcome.OK, outcome.NOT_COMPLETED, outcome.USAGE, outcome.BUG, outcome.INTERRUPTED}
    assert listed == plain | set(outcome.EXIT_CODES.values())


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`ccdtasks break-...` raises; incidents are kept below the returned folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    raised: dict[str, BaseException] = {
        "break": ZeroDivisionError("inner secret"),
        "interrupt": KeyboardInterrupt(),
        "limit": errors.LimitReached("Too many.", "wait", retry_after_s=3),
        "bad": BadConfig(["One.", "Two."]),
    }

    def command(error: BaseException) -> click.Command:
        def act() -> None:
            raise error

        return click.Command("x", callback=act)

    monkeypatch.setattr(type(cli), "get_command", lambda _self, _ctx, name: command(raised[name]))
    return tmp_path


def test_a_mistake_of_ours_becomes_an_incident(breaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome.run(["break"]) == 70
    said = capsys.readouterr().err
    assert "inner secret" not in said
    assert "Traceback" not in said
    incident = re.search(r"incident (\w+); its details are in (\S+)\)", said)
    assert incident is not None
    kept = Path(incident[2])
    assert incident[1] in kept.read_text()
    assert "ZeroDivisionError" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_the_keyboard_limits_and_bad_configuration(breaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome.run(["interrupt"]) == 130
    assert outcome.run(["limit"]) == 7
    assert outcome.run(["bad"]) == 78
    assert "error: One.\nerror: Two.\n" in capsys.readouterr().err
