"""Files and tokens from the shell."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ccdtasks.app import open_core
from ccdtasks.config import Config, PathsConfig
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Reason, RunStatus
from tests.cli.conftest import Command, Place

DIGEST = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of "x"


def _leave_files(data_dir: Path) -> str:
    async def leave() -> str:
        async with open_core(Config(paths=PathsConfig(data_dir=data_dir))) as core:
            await core.tasks.create(SHELL, TaskDraft("chore", "Do it"))
            run = (await core.runs.start(SHELL, "chore")).run
            claim = await core.claims.claim_next(core.clock.now(), "boot", 1)
            assert claim is not None
            (data_dir / "artifacts/chore").mkdir(parents=True)
            (data_dir / "artifacts/chore/a.csv").write_text("x")
            kept = ArtifactDraft(
                "a.csv", ArtifactKind.TABLE, "text/csv", 1, DIGEST, None, ArtifactState.STORED, "chore/a.csv"
            )
            bad = ArtifactDraft(
                "b.csv", ArtifactKind.TABLE, "text/csv", 1, "0" * 64, None, ArtifactState.STORED, "chore/a.csv"
            )
            lost = ArtifactDraft(
                "c.csv", ArtifactKind.TABLE, "text/csv", 5, state=ArtifactState.MISSING, note="The disk was full."
            )
            await core.claims.finish(claim, Outcome(RunStatus.FAILED, Reason.BLOCKED, artifacts=[kept, bad, lost]))
            return str(run.id)

    return asyncio.run(leave())


def test_files_are_listed_and_copied_out_as_they_were(ccdtasks: Command, place: Place, tmp_path: Path) -> None:
    run = _leave_files(place.data_dir)
    shown = ccdtasks("files", run[:8])
    assert f"{place.data_dir}/artifacts/chore/a.csv" in shown.out
    assert "The disk was full." in shown.out
    assert [each["name"] for each in ccdtasks("files", run, "--json").json()] == ["a.csv", "b.csv", "c.csv"]
    got = ccdtasks("files", run, "--get", "a.csv", "--to", str(tmp_path / "out"))
    assert (got.code, (tmp_path / "out/a.csv").read_text()) == (0, "x")
    again = ccdtasks("files", run, "--get", "a.csv", "--to", str(tmp_path / "out"))
    assert again.code == 6
    damaged = ccdtasks("files", run, "--get", "b.csv", "--to", str(tmp_path / "out"))
    assert (damaged.code, "damaged" in damaged.err) == (8, True)
    assert not (tmp_path / "out/b.csv").exists()
    assert ccdtasks("files", run, "--get", "c.csv", "--to", str(tmp_path / "out")).code == 3
    assert ccdtasks("files", run, "--get", "../secret.key").code == 3


def test_tokens_are_made_shown_once_listed_and_revoked(ccdtasks: Command) -> None:
    assert "no tokens yet" in ccdtasks("token", "list").out
    made = ccdtasks(
        "token", "create", "phone", "--user", "100000000000000001", "--expires", "in 90 days", "--json"
    ).json()
    assert made["token"].startswith("ccd_")
    assert (made["user"], made["admin"]) == ("100000000000000001", False)
    assert made["expires_at"]
    listed = ccdtasks("token", "list")
    assert "phone" in listed.out
    assert made["token"] not in listed.out + ccdtasks("token", "list", "--json").out
    assert "revoked" in ccdtasks("token", "revoke", "phone").out
    assert ccdtasks("token", "revoke", "phone").code == 6
    assert ccdtasks("token", "create", "x", "--expires", "yesterday").code == 4
    plain = ccdtasks("token", "create", "box", "--admin").out.splitlines()[0]
    assert plain.startswith("ccd_")
