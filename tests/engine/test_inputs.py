"""What a run gets from the tasks it runs after, in the folder of a real session."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from ccdtasks.core.access import SHELL
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactState, Reason, RunStatus
from ccdtasks.db.models import Artifact, Task, TaskRun
from ccdtasks.engine import inputs
from tests.engine.conftest import Engine

pytestmark = pytest.mark.image

ONCE = {"retries": {"attempts": 1}}


async def link(engine: Engine, behaviour: str = "works-on", **values: str) -> None:
    """`scrape` leaves a table; `read`, which runs after it, goes on until it is stopped."""
    holes = "".join(f" {{{name}={value}}}" for name, value in values.items())
    await engine.core.tasks.create(SHELL, TaskDraft("scrape", "behave: completes", config=ONCE))
    await engine.core.tasks.create(SHELL, TaskDraft("read", f"behave: {behaviour}{holes}", config=ONCE))
    await engine.core.dependencies.add(SHELL, "read", "scrape")


async def latest(engine: Engine, name: str) -> UUID:
    query = select(TaskRun.id).join(Task, Task.id == TaskRun.task_id).where(Task.task_name == name)
    async with engine.core.db.read() as session:
        found = await session.scalar(query.order_by(TaskRun.created_at.desc()).limit(1))
    assert found
    return found


async def folder_of(engine: Engine, run_id: UUID) -> Path:
    """The host's part of the folder of a run that is up."""
    view = await engine.when(run_id, lambda view: view.run.status is RunStatus.RUNNING)
    assert view.session
    return engine.parts.folders.folder(view.session.folder).host


async def scrape(engine: Engine) -> UUID:
    run_id = (await engine.core.runs.start(SHELL, "scrape")).run.id
    await engine.end(run_id)
    return run_id


async def test_files_and_result_of_the_run_before_lie_read_only_in_the_folder(engine: Engine) -> None:
    await link(engine, table="@scrape/prices.csv")
    scraped = await scrape(engine)
    host = await folder_of(engine, await latest(engine, "read"))
    given = host / "inputs" / "scrape"
    names = {path.name for path in given.iterdir()}
    assert {"final.png", "prices.csv", "result.json", "results.csv", "results.json"} <= names
    assert "agent.log" not in names
    assert (given / "prices.csv").read_text() == "airline,price\nUnited,342\n"
    result = json.loads((given / "result.json").read_text())
    assert (result["task"], result["run_id"], result["status"]) == ("scrape", str(scraped), "completed")
    assert result["result"]["items"][0] == {"airline": "United", "price": 342}
    assert {stat.S_IMODE(path.stat().st_mode) for path in given.iterdir()} == {0o644}
    job = json.loads((host / "job.json").read_text())
    assert job["parameters"][0]["value"] == "/run/ccdtasks/host/inputs/scrape/prices.csv"
    listing = json.loads(job["system_prompt"].split("```json\n")[1].split("\n```")[0])
    assert listing["scrape"]["files"]["prices.csv"] == "25 B"
    assert listing["scrape"]["missing"] == {}
    await engine.core.runs.stop(SHELL, "read", force=True)
    await engine.end(await latest(engine, "read"))
    await engine.is_clean()


async def test_files_of_one_name_from_two_tasks_do_not_take_each_others_place(engine: Engine) -> None:
    await link(engine, mine="@scrape/prices.csv", other="@shop/prices.csv")
    await engine.core.tasks.create(SHELL, TaskDraft("shop", "behave: completes", config=ONCE))
    await engine.core.dependencies.add(SHELL, "shop", "scrape")
    await engine.core.dependencies.add(SHELL, "read", "shop")
    scraped = await scrape(engine)
    await engine.end(await latest(engine, "shop"))
    read = await latest(engine, "read")
    host = await folder_of(engine, read)
    runs = {
        name: json.loads((host / "inputs" / name / "result.json").read_text())["run_id"] for name in ("scrape", "shop")
    }
    assert runs == {"scrape": str(scraped), "shop": str(await latest(engine, "shop"))}
    given = [each["value"] for each in json.loads((host / "job.json").read_text())["parameters"]]
    assert given == [f"/run/ccdtasks/host/inputs/{name}/prices.csv" for name in ("scrape", "shop")]
    assert all((host / "inputs" / name / "prices.csv").is_file() for name in ("scrape", "shop"))
    await engine.core.runs.stop(SHELL, "read", force=True)
    await engine.end(read)
    await engine.is_clean()


async def lose(engine: Engine, name: str) -> None:
    """The store loses a file."""
    async with engine.core.db.write() as session:
        artifact = await session.scalar(select(Artifact).where(Artifact.name == name))
        assert artifact
        artifact.state, artifact.location, artifact.note = ArtifactState.MISSING, None, "The disk was full."


async def test_a_file_that_is_missing_or_too_large_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await link(engine)
    await engine.core.dependencies.remove(SHELL, "read", "scrape")
    await scrape(engine)
    await engine.core.dependencies.add(SHELL, "read", "scrape")
    await lose(engine, "prices.csv")
    monkeypatch.setattr(inputs, "FILE_BYTES_MAX", 60)
    run_id = (await engine.core.runs.start(SHELL, "read")).run.id
    host = await folder_of(engine, run_id)
    given = {path.name for path in (host / "inputs" / "scrape").iterdir()}
    assert "prices.csv" not in given
    assert "final.png" not in given
    listing = json.loads(json.loads((host / "job.json").read_text())["system_prompt"].split("```json\n")[1][:-4])
    assert "The disk was full" in listing["scrape"]["missing"]["prices.csv"]
    assert "larger (69 B)" in listing["scrape"]["missing"]["final.png"]
    noted: dict[str, Any] = next(data for _, kind, data in await engine.events(run_id) if kind == "inputs_missing")
    assert set(noted["missing"]) == set(listing["scrape"]["missing"])
    await engine.core.runs.stop(SHELL, "read", force=True)
    await engine.end(run_id)


async def test_a_run_whose_value_names_a_file_that_is_lost_does_not_start(engine: Engine) -> None:
    await link(engine, table="@scrape/prices.csv")
    await engine.core.dependencies.remove(SHELL, "read", "scrape")
    await scrape(engine)
    await engine.core.dependencies.add(SHELL, "read", "scrape")
    await lose(engine, "prices.csv")
    view = await engine.end((await engine.core.runs.start(SHELL, "read")).run.id)
    assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.DEPENDENCY_FAILED)
    assert "The file prices.csv of the run before cannot be given: The disk was full." in (view.run.error_message or "")
    assert view.run.started_at is None
    await engine.is_clean()
