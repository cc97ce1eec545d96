"""A process that ends while runs go on, and the next one that takes them up again."""

from __future__ import annotations

import asyncio
import json

import pytest

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import Session
from ccdtasks.engine.assembly import open_parts
from ccdtasks.engine.parts import read_boot_id
from tests.engine.conftest import Engine, running_engine

pytestmark = pytest.mark.image


def _has_events(view: RunView) -> bool:
    return view.run.status is RunStatus.RUNNING and view.session is not None and view.session.events_seq > 5


def _go(engine: Engine, view: RunView) -> None:
    assert view.session is not None
    (engine.parts.folders.folder(view.session.folder).host / "inputs/go").touch()


async def test_a_live_run_goes_on_with_every_event_once(settings: Config) -> None:
    async with running_engine(settings) as engine:
        run_id = await engine.start("works-on")
        before = await engine.when(run_id, _has_events)
        assert before.session is not None
        state = await engine.parts.podman.inspect(before.session.container_name)
    async with running_engine(settings) as engine:
        after = await engine.when(run_id, lambda view: bool(view.session and view.session.events_seq > 40))
        assert after.session is not None
        assert after.session.id == before.session.id
        again = await engine.parts.podman.inspect(after.session.container_name)
        assert state is not None
        assert again is not None
        assert (again.pid, again.container_id) == (state.pid, state.container_id)
        _go(engine, after)
        end = await engine.end(run_id)
        assert (end.run.status, end.run.attempt, end.run.epoch) == (RunStatus.COMPLETED, 1, 1)
        events = [entry for entry in await engine.events(run_id) if entry[0] > 0]
        assert [seq for seq, _, _ in events] == list(range(1, len(events) + 1))
        progress = [data["text"] for _, kind, data in events if kind == "progress"]
        assert progress == [f"line {number + 1}" for number in range(len(progress))]
        await engine.is_clean()


async def test_a_run_that_ended_meanwhile_is_collected(settings: Config) -> None:
    async with running_engine(settings) as engine:
        run_id = await engine.start("works-on")
        _go(engine, await engine.when(run_id, _has_events))
    async with running_engine(settings) as engine:
        end = await engine.end(run_id)
        assert end.run.status is RunStatus.COMPLETED
        assert {artifact.name for artifact in end.artifacts} >= {"final.png", "results.csv"}
        await engine.is_clean()


async def test_how_a_session_ended_meanwhile_is_kept(settings: Config) -> None:
    """Exit code and moment are those of the container, however late somebody looks, and are written down once."""
    async with running_engine(settings) as engine:
        run_id = await engine.start("works-on")
        view = await engine.when(run_id, _has_events)
        assert view.session is not None
        name = view.session.container_name
    async with open_core(settings) as core, open_parts(core) as parts:
        await parts.podman.stop(name)
        async with asyncio.timeout(30):
            while (state := await parts.podman.inspect(name)) is None or state.running:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert state.exit_code == 3
    async with running_engine(settings) as engine:
        end = await engine.end(run_id)
        assert (end.run.status, end.run.reason) == (RunStatus.FAILED, Reason.INTERRUPTED)
        assert end.session is not None
        assert (end.session.exit_code, end.session.ended_at) == (3, state.finished_at)
        await engine.is_clean()


async def test_the_sockets_are_back_at_their_places(settings: Config) -> None:
    async with running_engine(settings) as engine:
        run_id = await engine.start("asks-model")
        await engine.when(run_id, lambda view: "model 403" in str(view.run.live.get("text")))
    async with running_engine(settings) as engine:
        before = (await engine.core.runs.load(run_id)).session
        assert before is not None
        seen = before.events_seq
        view = await engine.when(
            run_id,
            lambda view: (
                bool(view.session and view.session.events_seq > seen + 3)
                and "model 403 egress 4" in str(view.run.live.get("text"))
            ),
        )
        _go(engine, view)
        assert (await engine.end(run_id)).run.status is RunStatus.COMPLETED


async def test_the_dummy_credential_survives_a_restart(settings: Config) -> None:
    async with running_engine(settings) as engine:
        run_id = await engine.start("works-on")
        view = await engine.when(run_id, _has_events)
        assert view.session is not None
        job = json.loads((engine.parts.folders.folder(view.session.folder).host / "job.json").read_text())
    async with running_engine(settings) as engine:
        again = json.loads((engine.parts.folders.folder(view.session.folder).host / "job.json").read_text())
        assert again == job
        _go(engine, view)
        await engine.end(run_id)


async def test_a_container_that_vanished_meanwhile_is_lost(settings: Config) -> None:
    async with running_engine(settings) as engine:
        run_id = await engine.start("works-on")
        view = await engine.when(run_id, _has_events)
        assert view.session is not None
        container = view.session.container_name
    async with running_engine(settings) as engine:
        await engine.parts.podman.remove(container)
        end = await engine.end(run_id)
        assert (end.run.status, end.run.reason) == (RunStatus.FAILED, Reason.LOST)
        await engine.is_clean()


async def test_a_run_from_before_a_reboot_is_lost_and_tried_again(settings: Config) -> None:
    async with running_engine(settings) as engine:
        run_id = await engine.start("works-on", {"retries": {"attempts": 2, "backoff_s": 1, "cap_s": 1}})
        view = await engine.when(run_id, _has_events)
        assert view.session is not None
    async with open_core(settings) as core, open_parts(core) as parts:
        await parts.podman.kill(view.session.container_name)
        async with core.db.write() as session:
            (await session.get_one(Session, view.session.id)).boot_id = "another boot"
    async with running_engine(settings) as engine:
        end = await engine.end(run_id)
        assert (end.run.status, end.run.reason) == (RunStatus.FAILED, Reason.LOST)
        assert "restarted" in (end.run.error_message or "")
        page = await engine.core.runs.page(SHELL)
        [retry] = [row.run for row in page.rows if row.run.retry_of == run_id]
        assert retry.attempt == 2
        await engine.core.runs.stop(SHELL, str(retry.id), force=True)
        await engine.end(retry.id)
        await engine.is_clean()


async def test_a_claim_of_which_nothing_was_made_is_put_back(settings: Config) -> None:
    """The process died between the claim's row and its folder: the run starts anew, in the same attempt."""
    async with open_core(settings) as core:
        await core.tasks.create(SHELL, TaskDraft("chore", "behave: completes"))
        run = (await core.runs.start(SHELL, "chore")).run
        claim = await core.claims.claim_next(core.clock.now(), read_boot_id(), 10)
        assert claim is not None
    async with running_engine(settings) as engine:
        end = await engine.end(run.id)
        assert (end.run.status, end.run.attempt) == (RunStatus.COMPLETED, 1)
        await engine.is_clean()


async def test_stopping_while_nobody_was_there_is_obeyed_afterwards(settings: Config) -> None:
    async with running_engine(settings) as engine:
        run_id = await engine.start("works-on")
        await engine.when(run_id, _has_events)
    async with open_core(settings) as core:
        await core.runs.stop(SHELL, str(run_id))
    async with running_engine(settings) as engine:
        assert (await engine.end(run_id)).run.status is RunStatus.CANCELLED
        await engine.is_clean()
