"""Runs from start to end in real sealed containers: how each way to end is told, and that nothing is left behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ccdtasks.config import Config
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Reason, RunStatus
from ccdtasks.engine.dispatcher import available_memory_mib
from tests.engine.conftest import PLANTED_KEY, Engine, running_engine

pytestmark = pytest.mark.image


def _is_running(view: RunView) -> bool:
    return view.run.status is RunStatus.RUNNING and (view.session is not None and view.session.events_seq > 0)


async def test_a_run_completes_with_result_files_and_figures(engine: Engine) -> None:
    view = await engine.run("completes")
    run = view.run
    assert (run.status, run.reason) == (RunStatus.COMPLETED, None)
    assert run.result_data is not None
    assert run.result_data["items"][0] == {"airline": "United", "price": 342}
    assert (run.pages_loaded, run.http_requests_made, run.data_transferred_bytes) == (3, 40, 5070)
    assert (run.final_url, run.final_title) == ("https://shop.example/final", "Shop")
    files = {artifact.name: artifact for artifact in view.artifacts}
    assert set(files) == {"final.png", "prices.csv", "agent.log", "results.csv", "results.json", "starts.txt"}
    assert all(file.state is ArtifactState.STORED for file in files.values())
    assert files["prices.csv"].caption == "All prices"
    assert files["agent.log"].kind is ArtifactKind.LOG
    table = await engine.parts.keeper.store.read(files["results.csv"].location or "", 1000)
    assert table.decode("utf-8-sig").splitlines() == ["airline,price", "United,342", "Delta,389"]
    assert files["results.csv"].sha256 == hashlib.sha256(table).hexdigest()


async def test_a_result_too_long_for_the_log_is_whole(engine: Engine) -> None:
    view = await engine.run("finds-a-lot")
    assert view.run.result_data is not None
    assert len(view.run.result_data["items"]) == 2000
    files = {artifact.name: artifact for artifact in view.artifacts}
    table = await engine.parts.keeper.store.read(files["results.csv"].location or "", 1 << 20)
    assert table.decode("utf-8-sig").splitlines()[-1].startswith("No. 2000,")


async def test_every_event_is_in_the_log_once(engine: Engine) -> None:
    view = await engine.run("completes")
    events = await engine.events(view.run.id)
    assert [seq for seq, _, _ in events] == list(range(1, 14))
    assert [kind for _, kind, _ in events][:3] == ["session_started", "step_started", "step_finished"]


async def test_what_was_told_in_the_last_moment_is_in_the_log(engine: Engine) -> None:
    view = await engine.run("talks-a-lot")
    assert view.session is not None
    assert view.session.events_seq == 3002
    assert view.run.status is RunStatus.COMPLETED


async def test_stopping_gives_the_session_time_to_collect(engine: Engine) -> None:
    run_id = await engine.start("works-on")
    await engine.when(run_id, _is_running)
    await engine.core.runs.stop(SHELL, str(run_id))
    view = await engine.end(run_id)
    assert (view.run.status, view.run.reason) == (RunStatus.CANCELLED, None)
    assert view.session is not None
    assert view.session.exit_code == 3
    await engine.is_clean()


async def test_a_session_that_does_not_stop_is_killed(engine: Engine) -> None:
    run_id = await engine.start("ignores-everybody")
    await engine.when(run_id, _is_running)
    await engine.core.runs.stop(SHELL, str(run_id))
    view = await engine.end(run_id)
    assert view.run.status is RunStatus.CANCELLED
    assert view.session is not None
    assert view.session.exit_code == 137
    await engine.is_clean()


async def test_stopping_by_force_does_not_ask(engine: Engine) -> None:
    run_id = await engine.start("works-on")
    await engine.when(run_id, _is_running)
    await engine.core.runs.stop(SHELL, str(run_id), force=True)
    view = await engine.end(run_id)
    assert view.run.status is RunStatus.CANCELLED
    assert view.session is not None
    assert view.session.exit_code == 137


async def test_a_run_has_a_hard_end(engine: Engine) -> None:
    run_id = await engine.start("ignores-everybody")
    await engine.when(run_id, _is_running)
    async with engine.core.db.write() as session:
        run = await session.get_one(type((await engine.core.runs.load(run_id)).run), run_id)
        run.deadline_at = datetime.now(UTC)
    view = await engine.end(run_id)
    assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.TIMEOUT)
    assert "30 m" in (view.run.error_message or "")


async def test_a_session_that_stays_after_its_last_word_is_sent_away(engine: Engine) -> None:
    view = await engine.run("outlives-its-word")
    assert view.run.status is RunStatus.COMPLETED


@pytest.mark.parametrize(
    ("behaviour", "reason", "words"),
    [
        ("agent-error", Reason.AGENT_ERROR, "The page made no sense."),
        ("overloaded", Reason.MODEL_UNAVAILABLE, "overloaded"),
        ("over-budget", Reason.BUDGET, "budget"),
        ("session-crashed", Reason.SESSION_CRASHED, "Chromium died twice."),
        ("crashes", Reason.SESSION_CRASHED, "exit code 70"),
        ("lies", Reason.UNCLEAR_RESULT, "without a result"),
        ("last-word-is-a-pipe", Reason.SESSION_CRASHED, "exit code 0"),
        ("log-is-a-link", Reason.AGENT_ERROR, "no log"),
    ],
)
async def test_each_failure_has_its_reason_and_words(
    engine: Engine, behaviour: str, reason: Reason, words: str
) -> None:
    view = await engine.run(behaviour)
    assert (view.run.status, view.run.reason) == (RunStatus.FAILED, reason)
    assert words in (view.run.error_message or "")


async def test_what_a_failed_run_left_is_kept(engine: Engine) -> None:
    view = await engine.run("session-crashed")
    assert {"final.png", "starts.txt"} <= {artifact.name for artifact in view.artifacts}
    assert view.run.error_screenshot_url == "final.png"
    assert view.run.final_url == "https://shop.example/x"
    view = await engine.run("crashes")
    [log] = [artifact for artifact in view.artifacts if artifact.name == "container.log"]
    assert b"something broke" in await engine.parts.keeper.store.read(log.location or "", 10_000)
    assert "something broke" in (view.run.error_stacktrace or "")


async def test_the_stack_of_a_failure_is_in_its_report(engine: Engine) -> None:
    """Whether the session broke down without a word, said so itself, or a program inside it complained."""
    view = await engine.run("breaks-and-says-so")
    assert (view.run.error_message or "").startswith("The session program failed")
    assert "line 1\nValueError: no such tab" in (view.run.error_stacktrace or "")
    assert "line 1\nValueError: no such tab" in await report_of(engine, view)
    assert "container.log" in {artifact.name for artifact in view.artifacts}
    view = await engine.run("gives-up-noisily")
    report = await report_of(engine, view)
    assert "at main (cli.js:1:2)" in (view.run.error_stacktrace or "")
    assert "at main (cli.js:1:2)" in report
    assert "Call log:\n  - navigating to https://kayak.com/" in report
    assert "dbus" not in report


async def report_of(engine: Engine, view: RunView) -> str:
    """The report of a failed run."""
    [report] = [artifact for artifact in view.artifacts if artifact.name == "failure-report.md"]
    return (await engine.parts.keeper.store.read(report.location or "", 100_000)).decode()


async def test_running_out_of_memory_is_said(engine: Engine) -> None:
    if (await engine.parts.podman.version()).cgroup_version == "v1" and os.geteuid() != 0:
        pytest.skip("cgroup v1 cannot limit the memory of a rootless container")
    view = await engine.run("eats-memory")
    assert view.run.reason is Reason.OUT_OF_MEMORY
    assert "512 MiB" in (view.run.error_message or "")


async def test_the_number_of_processes_is_limited(engine: Engine) -> None:
    view = await engine.run("forks")
    [warning] = [data for _, kind, data in await engine.events(view.run.id) if kind == "warning"]
    assert "cannot start more than" in warning["text"]
    assert view.run.status is RunStatus.COMPLETED


async def test_a_guest_that_fills_the_disk_is_ended(engine: Engine) -> None:
    view = await engine.run("fills-the-disk")
    assert view.run.reason is Reason.DISK_FULL
    assert "33.6 MB" in (view.run.error_message or "")


async def test_a_guest_full_of_traps_harms_nothing(engine: Engine) -> None:
    view = await engine.run("plants-traps")
    run = view.run
    assert (run.status, run.reason, run.error_message) == (RunStatus.FAILED, Reason.AGENT_ERROR, "�[31mred�[0m")
    assert run.final_url is None
    assert run.error_screenshot_url is None
    kept = {artifact.name: artifact for artifact in view.artifacts if artifact.state is ArtifactState.STORED}
    for artifact in kept.values():
        data = await engine.parts.keeper.store.read(artifact.location or "", 1_000_000)
        assert b"root:" not in data
        assert b"credential_dummy" not in data
    assert "final.png" in kept
    assert not {"passwd", "pipe", "socket", "job.json"} & set(kept)
    assert all("\x1b" not in name and "/" not in name for name in kept)
    texts = [data["text"] for _, kind, data in await engine.events(run.id) if kind == "progress"]
    assert texts[0] == "before"
    assert texts[-1] == "after"
    assert "nul" in texts[1]
    warnings = [data["text"] for seq, _, data in await engine.events(run.id) if seq < 0]
    assert any("too long" in text for text in warnings)


async def test_both_sockets_are_served(engine: Engine) -> None:
    run_id = await engine.start("asks-model")
    await engine.when(run_id, _is_running)
    view = await engine.when(run_id, lambda view: "model 403" in str(view.run.live.get("text")))
    assert "egress 4" in str(view.run.live["text"])
    await engine.core.runs.stop(SHELL, str(run_id))
    await engine.end(run_id)


async def test_only_the_dummy_credential_is_inside(engine: Engine, short_dir: Path) -> None:
    run_id = await engine.start("searches-for-keys")
    view = await engine.when(run_id, lambda view: view.run.live.get("text") is not None)
    assert view.session is not None
    job = json.loads((short_dir / "runs" / view.session.folder / "host/job.json").read_text())
    assert str(view.run.live["text"]).split() == [job["credential_dummy"]]
    assert PLANTED_KEY not in json.dumps(job)
    await engine.core.runs.stop(SHELL, str(run_id), force=True)
    await engine.end(run_id)


async def test_a_container_whose_keeper_was_killed_is_lost_and_not_green(engine: Engine) -> None:
    run_id = await engine.start("works-on")
    view = await engine.when(run_id, _is_running)
    assert view.session is not None
    state = await engine.parts.podman.inspect(view.session.container_name)
    assert state is not None
    conmon = int(Path(f"/proc/{state.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(conmon, signal.SIGKILL)
    os.kill(state.pid, signal.SIGKILL)
    view = await engine.end(run_id)
    assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.LOST)


async def test_a_container_that_somebody_removed_is_lost(engine: Engine) -> None:
    run_id = await engine.start("works-on")
    view = await engine.when(run_id, _is_running)
    assert view.session is not None
    await engine.parts.podman.remove(view.session.container_name)
    view = await engine.end(run_id)
    assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.LOST)
    await engine.is_clean()


async def test_more_runs_than_sessions_wait_their_turn(settings: Config) -> None:
    limits = settings.limits.model_copy(update={"max_sessions": 2})
    async with running_engine(settings.model_copy(update={"limits": limits})) as engine:
        runs = [await engine.start("completes") for _ in range(6)]
        most = 0
        waiting = set(runs)
        while waiting:
            most = max(most, len(await engine.parts.podman.list(engine.parts.instance_id)))
            waiting = {run for run in waiting if not (await engine.core.runs.load(run)).run.completed_at}
        for run in runs:
            assert (await engine.end(run)).run.status is RunStatus.COMPLETED
        assert most <= 2
        await engine.is_clean()


def test_the_kernel_says_how_much_memory_there_is(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable:    2048000 kB\n")
    assert available_memory_mib(tmp_path / "meminfo") == 2000
    assert available_memory_mib(tmp_path / "absent") is None
