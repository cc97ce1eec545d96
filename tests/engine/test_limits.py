"""What stops one run and what stops them all: the key, the usage limit, budgets, memory, the patience with people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

from ccdtasks.app import open_core
from ccdtasks.config import ClaudeConfig, Config, LimitsConfig, PathsConfig, PodmanConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.facts import MEMORY, MODEL_AUTH, USAGE_LIMIT, Hold
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import TaskRun
from ccdtasks.demo.shop import served
from ccdtasks.engine.assembly import open_parts
from ccdtasks.engine.credentials import CredentialWatch
from ccdtasks.engine.dispatcher import Dispatcher
from ccdtasks.engine.gates import Gates
from ccdtasks.engine.job import make_brief
from ccdtasks.engine.outcome import NO_CREDIT
from ccdtasks.engine.parts import Patience
from ccdtasks.events import RunQueued, wait_for_bell
from tests.clock import MoveableClock
from tests.doubles.messages_api import MessagesApi, Refuse, say
from tests.engine.conftest import Engine, running_engine
from tests.engine.test_gates import ask
from tests.stories import all_messages, claim, fail, queue, running


def kept_files(core: Core) -> set[str]:
    """What lies in the store of artifacts."""
    root = core.config.paths.data_dir / "artifacts"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def _speaking_to(settings: Config, port: int) -> Config:
    claude = settings.claude.model_copy(update={"base_url": f"http://127.0.0.1:{port}"})
    return settings.model_copy(update={"claude": claude})


@pytest.mark.image
async def test_a_key_that_the_api_refuses_holds_the_whole_queue(settings: Config) -> None:
    refusal = MessagesApi(Refuse(401, "authentication_error"))
    async with served(refusal.app()) as port, running_engine(_speaking_to(settings, port)) as engine:
        view = await engine.run("model-auth")
        assert (view.run.reason, view.run.error_message) == (
            Reason.MODEL_AUTH,
            "Claude refused the API key, so all runs wait.",
        )
        waiting = await engine.start("completes")
        assert (await engine.core.runs.load(waiting)).run.status is RunStatus.QUEUED
        assert list(await engine.core.facts.holds()) == [MODEL_AUTH]


@pytest.mark.image
async def test_a_missing_key_is_not_called_a_refused_one(settings: Config) -> None:
    without = settings.model_copy(update={"claude": settings.claude.model_copy(update={"api_key": None})})
    async with running_engine(without) as engine:
        view = await engine.run("model-auth")
    assert (view.run.reason, view.run.error_message) == (
        Reason.MODEL_AUTH,
        "There is no key for Claude in the configuration, so all runs wait.",
    )


class _Keys:
    """Claude's API, which takes a key or not as somebody decides."""

    def __init__(self) -> None:
        self.status, self.asked = 401, 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"input_tokens": 8}, status=self.status)


async def test_the_hold_ends_by_itself_when_claude_takes_the_key_again(config: Config, clock: MoveableClock) -> None:
    keys, app = _Keys(), web.Application()
    app.router.add_post("/v1/messages/count_tokens", keys.answer)
    async with served(app) as port:
        claude = ClaudeConfig(api_key=SecretStr("sk-ant-PLANTED"), base_url=f"http://127.0.0.1:{port}")
        async with open_core(config.model_copy(update={"claude": claude}), clock) as core:
            watch = CredentialWatch(core)
            assert not await watch.look()
            assert keys.asked == 0, "nobody waits for it"
            await fail(core, await running(core), Reason.MODEL_AUTH)
            waiting = await queue(core, "other")
            assert not await watch.look()
            keys.status = 200
            assert await watch.look()
            assert (await claim(core)).run_id == waiting.run.id
            clock.advance(minutes=5)
            await fail(core, await running(core, "third"), Reason.MODEL_AUTH)
            assert not await watch.look(), "it was refused again at once, so its good word costs no more runs"
            alerts = [message.key for message in await all_messages(core) if message.task_run_id is None]
            assert [key[:16] for key in alerts] == ["alert:model_auth"] * 2, (
                "each time the queue is held it is told once"
            )


async def test_an_empty_account_waits_for_a_person(core: Core) -> None:
    """Whether there is money again cannot be asked for free."""
    async with core.db.write() as session:
        await core.facts.hold(session, MODEL_AUTH, f"{NO_CREDIT} Buy some.")
    assert not await CredentialWatch(core).look()
    assert MODEL_AUTH in await core.facts.holds()


@pytest.mark.image
async def test_a_usage_limit_puts_the_run_back_and_holds_the_queue(settings: Config) -> None:
    limit = Refuse(429, "rate_limit_error", headers={"retry-after": "7200"})
    async with served(MessagesApi(limit).app()) as port, running_engine(_speaking_to(settings, port)) as engine:
        began_at = engine.core.clock.now()
        run_id = await engine.start("usage-limit")
        view = await engine.when(
            run_id,
            lambda view: view.run.status is RunStatus.QUEUED and bool(view.session and view.session.removed_at),
        )
        assert view.run.not_before
        assert timedelta(0) <= view.run.not_before - began_at - timedelta(hours=2) < timedelta(minutes=2)
        assert view.run.attempt == 1
        hold = (await engine.core.facts.holds())[USAGE_LIMIT]
        assert hold.until == view.run.not_before
        waiting = await engine.start("completes")
        assert (await engine.core.runs.load(waiting)).run.status is RunStatus.QUEUED
        await engine.is_clean()
        assert kept_files(engine.core) == set(), "it begins anew, so nothing of it is kept for ever"


@pytest.mark.image
async def test_what_acted_ends_at_a_usage_limit_and_keeps_what_it_left(settings: Config) -> None:
    """It may have bought something: it is not repeated, and its picture and its report say how far it came."""
    limit = Refuse(429, "rate_limit_error", headers={"retry-after": "7200"})
    async with served(MessagesApi(limit).app()) as port, running_engine(_speaking_to(settings, port)) as engine:
        view = await engine.run("usage-limit", {"effect": "acts"})
        assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.MODEL_UNAVAILABLE)
        assert view.run.error_message == "Claude's usage limit is reached."
        assert {artifact.name for artifact in view.artifacts} >= {"final.png", "failure-report.md"}
        assert USAGE_LIMIT in await engine.core.facts.holds()


@pytest.mark.image
@pytest.mark.parametrize("behaviour", ["claims-model-auth", "claims-usage-limit"])
async def test_a_session_that_lies_about_it_stops_nobody_else(engine: Engine, behaviour: str) -> None:
    view = await engine.run(behaviour)
    assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.MODEL_UNAVAILABLE)
    assert await engine.core.facts.holds() == {}
    assert (await engine.run("completes")).run.status is RunStatus.COMPLETED


@pytest.mark.image
async def test_case_43_nobody_comes_to_help(engine: Engine) -> None:
    """reliability.md 43: a run that waits for a person ends at the task's deadline, with its own words."""
    run_id = await engine.start("needs-a-person", {"human_timeout_s": 3600})
    view = await engine.when(run_id, lambda view: view.run.status is RunStatus.NEEDS_HUMAN)
    assert view.run.deadline_at
    assert view.run.deadline_at > engine.core.clock.now() + timedelta(minutes=59)
    async with engine.core.db.write() as session:  # an hour passes
        row = await session.get_one(TaskRun, run_id)
        row.deadline_at = engine.core.clock.now() - timedelta(seconds=5)
    view = await engine.end(run_id)
    assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.TIMEOUT)
    assert view.run.error_message == "Nobody came to help in time."
    await engine.is_clean()


@pytest.mark.image
async def test_a_failure_is_reported_in_one_file(engine: Engine) -> None:
    view = await engine.run("fails-on-a-page")
    names = [artifact.name for artifact in view.artifacts]
    assert {"failure-report.md", "failure-report (2).md", "page.txt", "final.png"} <= set(names)
    ours = next(artifact for artifact in view.artifacts if artifact.name == "failure-report.md")
    text = (await engine.parts.keeper.store.read(ours.location or "", 1 << 20)).decode()
    assert "made up" not in text
    for said in (
        "kayak.com did not answer within 60 s.",
        "`https://www.kayak.com/flights`",
        "Last page: Sorry \\| \\*Kayak\\*",
        "Opening \\[kayak.com\\](https://evil.example): failed: net::ERR\\_TIMED\\_OUT at",
        "\\<b\\>kayak.com\\</b\\> (1 m)",
        "````text\nAccess denied\n```\n# Not ours",
    ):
        assert said in text
    assert len(text) < 30_000
    (timing,) = view.run.step_timings or []
    assert timing["error"].startswith("net::ERR_TIMED_OUT")


async def test_runs_at_once_share_the_budget_of_the_month(short_dir: Path) -> None:
    """Each may spend 1 dollar, together 0.02: they stop together, and the next start is refused."""
    model = MessagesApi(*(say("Hello") for _ in range(60)))
    async with served(model.app()) as port:
        config = Config(
            claude=ClaudeConfig(api_key="sk-ant-api03-x", base_url=f"http://127.0.0.1:{port}"),
            paths=PathsConfig(data_dir=short_dir),
            podman=PodmanConfig(socket=f"unix://{short_dir}/none.sock"),
            limits=LimitsConfig(budget_usd_per_user_month=Decimal("0.02"), starts_per_minute=100),
        )
        async with open_core(config) as core, open_parts(core) as parts:
            gates: list[tuple[Gates, Path, str]] = []
            for number in range(5):
                await core.tasks.create(SHELL, TaskDraft(f"chore-{number}", "Do it"))
                run = (await core.runs.start(SHELL, f"chore-{number}")).run
                claim = await core.claims.claim_next(core.clock.now(), "boot", 10)
                assert claim is not None
                assert claim.dummy is not None
                await core.claims.running(claim)
                purses = await parts.purses.of(run.id)
                brief = make_brief(await core.runs.load(run.id), claim, config, claim.dummy, purses)
                assert brief.job()["max_budget_usd"] <= 0.02
                folder = parts.folders.create(claim.folder, brief.job())
                gate = Gates(parts, claim)
                await gate.open(folder, brief)
                gates.append((gate, folder.model_socket, claim.dummy))
            statuses: list[int] = []
            for _ in range(4):
                statuses += await asyncio.gather(*(ask(socket, dummy) for _, socket, dummy in gates))
                await asyncio.gather(*(gate.report_last() for gate, _, _ in gates))
            # 0.0036 dollars an answer: the sixth one is over; five may have been under way
            assert statuses.count(200) <= 10
            assert statuses[-5:] == [403] * 5
            assert "This month's budget" in (gates[0][0].model_said().exhausted or "")
            page = await core.runs.page(SHELL)
            assert sum(row.run.cost_usd or 0 for row in page.rows) == Decimal("0.0036") * statuses.count(200)
            for gate, _, _ in gates:
                await gate.close()


async def test_the_queue_says_that_memory_is_short(short_dir: Path) -> None:
    free_mib = 100
    config = Config(paths=PathsConfig(data_dir=short_dir), podman=PodmanConfig(socket=f"unix://{short_dir}/none.sock"))
    async with open_core(config) as core, open_parts(core, Patience(shortage_s=0)) as parts:
        await core.tasks.create(SHELL, TaskDraft("chore", "Do it"))
        run_id = (await core.runs.start(SHELL, "chore")).run.id
        task = asyncio.create_task(Dispatcher(parts, lambda: free_mib).run())
        try:
            await _until(core, lambda holds: MEMORY in holds)
            view = await core.runs.load(run_id)
            assert view.run.status is RunStatus.QUEUED
            assert view.hold
            assert view.hold.message == "Too little memory is free for one more session, so runs wait."
            await core.runs.stop(SHELL, str(run_id))
            free_mib = 64_000
            await _until(core, lambda holds: not holds)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _until(core: Core, is_so: Callable[[Mapping[str, Hold]], bool]) -> None:
    with core.bus.bell(RunQueued) as bell:
        async with asyncio.timeout(30):
            while not is_so(await core.facts.holds()):
                await wait_for_bell(bell, 0.05)
