"""One session: everything started at once, watched, and collected at the end, whatever happened."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
import traceback
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any

from session import control, mcp, prompt, relay
from session.agent import Agent, base_environment
from session.browser import DEBUG_PORT, PLAYWRIGHT_PORT, PROXY_PORT, Browser, BrowserError
from session.camera import Camera
from session.conversation import Conversation
from session.desktop import Desktop, DesktopError
from session.ending import write_exit
from session.events import EventLog, timestamp, utc_now
from session.files import OutFolder
from session.job import Job
from session.pagewatch import PageWatch
from session.people import OUTCOMES_OF_A_PERSON, Answer, RunClock, WaitingRoom
from session.places import Places
from session.processes import CappedLog
from session.steps import Steps
from session.stream import Stream
from session.tabs import Tabs
from session.toolbox import Toolbox
from session.verdict import Ending

_METRICS_EVERY_S = 2.0


class Session:
    """Holds the parts of one session together. `run` it once."""

    def __init__(self, job: Job, places: Places) -> None:
        self._job, self._places = job, places
        self._log = log = EventLog(places.guest / "events.jsonl", job.limits.event_bytes, self._log_broke)
        self._started_at, self._begun = utc_now(), time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._logs = {name: self._log_file(name) for name in ("agent", "agent-errors", "chromium", "desktop")}
        env = base_environment(job, places)
        self._desktop = Desktop(places, job.display, env, self._logs["desktop"])
        self._tabs = Tabs(self._page_loaded, self._warn, job.start_url)
        self._browser = Browser(job, places, env, self._logs["chromium"], self._tabs)
        self._camera = Camera(places, self._desktop, self._browser, self._tabs)
        self._clock = RunClock()
        self._room = WaitingRoom(log, self._clock, job.human_timeout_s)
        self._files = OutFolder(places.out, places.work, job.limits.out_bytes)
        watch = PageWatch(lambda: self._browser.devtools, self._tabs.current)
        self._toolbox = Toolbox(
            log, self._room, self._files, places.result, shoot=self._camera.shoot, passed=watch.passed
        )
        self._heard: set[str] = set()
        self._steps = Steps(log, time.monotonic)
        self._agent = Agent(job, places, env, self._logs["agent"], self._logs["agent-errors"])
        stream = Stream(log, self._steps)
        self._conversation = Conversation(agent=self._agent, stream=stream, log=log, budget_usd=job.max_budget_usd,
                                          has_result=lambda: self._toolbox.result is not None)  # fmt: skip

    async def run(self) -> Ending:
        """Work until there is an ending; `exit.json` is written when this returns."""
        self._log.emit("session_started", versions=self._versions(), chromium_sandbox=self._job.chromium_sandbox)
        self._obey_signals()
        async with contextlib.AsyncExitStack() as servers:
            try:
                await self._serve(servers)
                # The agent first: it takes longest until it asks for the browser.
                for work in (self._converse(), self._show_desktop(), self._watch_time(), self._tell_metrics()):
                    self._keep(work)
                ending = await self._ended
            except OSError as error:
                traceback.print_exception(error)  # the container's output is kept with a run that crashed
                ending = Ending("failed", "session_crashed", f"The session could not start: {error}")
            for task in self._tasks:
                task.cancel()
            await self._collect(ending)
        return ending

    def end(self, ending: Ending) -> None:
        """The first ending counts."""
        if not self._ended.done():
            self._ended.set_result(ending)

    # -- the parts at work ------------------------------------------------------------------------------------------

    async def _serve(self, servers: contextlib.AsyncExitStack) -> None:
        places = self._places
        verbs: dict[str, control.Verb] = {
            "ping": self._ping, "say": self._say, "resume": self._resume, "screenshot": self._screenshot,
            "stop": self._stop,
        }  # fmt: skip
        for server in (
            await mcp.serve(self._toolbox, places.mcp_socket),
            await relay.serve(PROXY_PORT, relay.to_socket(places.egress_socket)),
            await relay.serve(PLAYWRIGHT_PORT, relay.to_port(DEBUG_PORT, self._browser.ready)),
            await control.serve(verbs, places.guest / "control.sock"),
        ):
            servers.callback(server.close)

    async def _converse(self) -> None:
        inputs = sorted(path.name for path in self._places.inputs.iterdir()) if self._places.inputs.is_dir() else []
        message = prompt.first_message(self._job, inputs)
        self.end(await self._conversation.run(message, resume=self._job.resume))

    async def _show_desktop(self) -> None:
        try:
            await self._desktop.start()
            await self._browser.start(self._desktop.display)
        except (DesktopError, BrowserError) as error:
            self.end(Ending("failed", "session_crashed", f"{error}."))
            return
        self._log.emit("desktop_ready", elapsed_ms=round((time.monotonic() - self._begun) * 1000))
        self._keep(self._watch_desktop())
        lost = await self._browser.keep_alive(self._desktop.display, self._warn)
        self.end(Ending("failed", "session_crashed", f"{lost}."))

    async def _watch_desktop(self) -> None:
        self.end(Ending("failed", "session_crashed", f"{await self._desktop.died()}."))

    async def _watch_time(self) -> None:
        await self._clock.passed(self._job.timeout_s)
        minutes = round(self._job.timeout_s / 60, 1)
        self.end(Ending("failed", "timeout", f"The time limit of {minutes:g} minutes was reached."))

    async def _tell_metrics(self) -> None:
        told = None
        while True:
            await asyncio.sleep(_METRICS_EVERY_S)
            totals = self._tabs.traffic.totals.as_dict()
            if totals != told:
                self._log.emit("metrics", **totals)
                told = totals

    def _page_loaded(self, url: str, title: str, load_ms: int, status: int | None) -> None:
        self._log.emit("page_loaded", url=url, title=title, load_ms=load_ms, status=status)

    def _warn(self, what: str, text: str) -> None:
        self._log.emit("warning", what=what, text=text)

    # -- what the host asks -----------------------------------------------------------------------------------------

    async def _ping(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {"seq": self._log.last_seq}

    async def _say(self, request: dict[str, Any]) -> dict[str, Any]:
        text = request.get("text")
        if not isinstance(text, str) or not text.strip():
            raise control.Refused("text is missing")
        author, message_id = str(request.get("author") or "the person"), str(request.get("message_id") or "")
        if message_id in self._heard:
            return {}  # said again, because our answer got lost
        if message_id:
            self._heard.add(message_id)
        self._agent.say(f"Message from {author}: {text}")
        self._log.emit("user_message", text=text, author=author)
        return {}

    async def _resume(self, request: dict[str, Any]) -> dict[str, Any]:
        outcome = request.get("outcome")
        if outcome not in OUTCOMES_OF_A_PERSON:
            raise control.Refused(f"outcome must be one of {', '.join(OUTCOMES_OF_A_PERSON)}")
        if not self._room.resolve(request.get("request_id"), Answer(outcome, str(request.get("text") or ""))):
            raise control.Refused("nobody waits for that")
        return {}

    async def _screenshot(self, _request: dict[str, Any]) -> dict[str, Any]:
        scene = await self._camera.shoot()
        if scene.screenshot is None:
            raise control.Refused("there is nothing to see yet")
        return {"path": scene.screenshot, "url": scene.url, "title": scene.title}

    async def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        by = request.get("by")
        self.end(Ending("stopped", "stopped", f"Stopped by {by}." if by else "Stopped."))
        return {}

    # -- the end ----------------------------------------------------------------------------------------------------

    async def _collect(self, ending: Ending) -> None:
        """Gather what there is. At most 8 + 4 + 1 s, even if nothing answers any more."""
        _, scene, _ = await asyncio.gather(
            self._agent.stop(), self._camera.take("final.png"), self._camera.save_text(self._places.logs / "page.txt")
        )
        self._steps.end_all("ended with the session")
        if self._toolbox.result is None:
            self._rescue()
        self._tell_agent_finished(ending)
        totals = self._tabs.traffic.totals.as_dict()
        self._log.emit("metrics", **totals)
        await self._browser.stop()
        await self._desktop.stop()
        self._log.close()
        for log in self._logs.values():
            log.close()
        write_exit(
            self._places.guest, self._job.session_id, ending,
            result_submitted=self._toolbox.result is not None,
            final_screenshot=scene.screenshot, final_url=scene.url, final_title=scene.title,
            agent_exit_code=self._agent.exit_code, last_seq=self._log.last_seq, metrics=totals,
            steps=[asdict(step) for step in self._steps.finished],
            started_at=timestamp(self._started_at), ended_at=timestamp(utc_now()),
        )  # fmt: skip

    def _rescue(self) -> None:
        for name in self._files.rescue():
            size = (self._places.out / name).stat().st_size
            self._log.emit("file_saved", path=name, caption="kept when the session ended", size_bytes=size)

    def _tell_agent_finished(self, ending: Ending) -> None:
        turn = self._conversation.last_turn
        outcome = {"completed": "completed", "failed": "failed", "stopped": "interrupted"}[ending.outcome]
        self._log.emit(
            "agent_finished",
            outcome=outcome,
            subtype=turn.subtype if turn else None,
            terminal_reason=turn.terminal_reason if turn else None,
            api_error_status=turn.api_error_status if turn else None,
            text=turn.text if turn else "",
            num_turns=turn.num_turns if turn else 0,
            cost_usd=round(self._conversation.spent.usd, 6),
            usage=self._conversation.spent.usage(),
        )

    # -- small things -----------------------------------------------------------------------------------------------

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a part in the background; if it breaks, the session ends instead of going on without it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._note_crash)

    def _note_crash(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback.print_exception(error)
            self.end(Ending("failed", "session_crashed", f"The session program failed: {error!r}."))

    def _log_broke(self, error: OSError) -> None:
        self.end(Ending("failed", "session_crashed", f"Events cannot be written any more: {error.strerror}."))

    def _obey_signals(self) -> None:
        stopped = Ending("stopped", "stopped", "Stopped.")
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.end, stopped)

    def _log_file(self, name: str) -> CappedLog:
        return CappedLog(self._places.logs / f"{name}.log", self._job.limits.log_bytes // 4)

    def _versions(self) -> dict[str, str]:
        versions: dict[str, str] = json.loads((self._places.image / "versions.json").read_bytes())
        return versions
