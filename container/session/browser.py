"""Chromium: started visible on the desktop, watched, and brought back once when it dies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import Callable, Mapping

from session.devtools import DevTools, DevToolsError
from session.job import Job
from session.places import Places
from session.processes import CappedLog, Child, started
from session.tabs import Tabs

DEBUG_PORT = 9222  # Chromium itself; reached through PLAYWRIGHT_PORT, which waits until Chromium answers
PLAYWRIGHT_PORT = 9223
PROXY_PORT = 3128

# Chromium reads DevTools commands from descriptor 3 and writes to 4; bash puts our pipes there.
_ON_3_AND_4 = 'exec "$@" 3<&{0} 4>&{1} {0}<&- {1}>&-'


_DISABLED_FEATURES = (
    "Translate", "MediaRouter", "DialMediaRouteProvider", "OptimizationHints",
    "CertificateTransparencyComponentUpdater",
    # Parts of Chromium's own window that are pages: Playwright would take the first of them for the tab to work in, and
    # navigate a popup that nobody sees.
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup", "PreloadTopChromeWebUI",
)  # fmt: skip


class BrowserError(Exception):
    """Chromium did not start, or died more often than we bring it back."""


class Browser:
    """One Chromium at a time on one profile. `devtools` changes when it was restarted."""

    def __init__(self, job: Job, places: Places, env: Mapping[str, str], log: CappedLog, tabs: Tabs) -> None:
        self._job = job
        self._places = places
        self._env = env
        self._log = log
        self._tabs = tabs
        self._process: Child | None = None
        self._up = asyncio.Event()
        self.devtools = DevTools(tabs.take)

    async def start(self, display: str) -> None:
        """Return when Chromium answers and its tabs are followed. Raises BrowserError."""
        self.devtools = DevTools(self._tabs.take)
        commands_in, commands_out = os.pipe()
        events_in, events_out = os.pipe()
        onto_3_and_4 = _ON_3_AND_4.format(commands_in, events_out)
        argv = ["bash", "-c", onto_3_and_4, "chromium", *command(self._job, self._places)]
        env = {**self._env, "DISPLAY": display}
        try:
            self._process = await Child.start(
                argv, env, self._log, cwd=self._places.home, pass_fds=(commands_in, events_out)
            )
        finally:
            os.close(commands_in)
            os.close(events_out)
        await self.devtools.connect(events_in, commands_out)
        try:
            await self.devtools.call("Browser.getVersion", timeout_s=60)
            await self._tabs.attach(self.devtools)
        except DevToolsError as error:
            raise BrowserError(f"Chromium did not start: {error}") from error
        self._up.set()

    async def ready(self) -> None:
        """Wait until Chromium answers, also while it is being brought back."""
        await self._up.wait()

    async def keep_alive(self, display: str, warn: Callable[[str, str], None]) -> str:
        """Restart Chromium when it dies the first time; return, with the reason in plain words, when it is lost."""
        for last_chance in (False, True):
            code = await started(self._process).wait()
            self._up.clear()
            if last_chance:
                break
            warn("chromium_crashed", f"Chromium ended unexpectedly (exit code {code}); it is started again")
            try:
                await self.start(display)
            except (BrowserError, OSError) as error:
                return str(error)
            warn("chromium_restarted", "Chromium runs again; what was typed into pages is lost")
        return f"Chromium crashed twice (exit code {code})"

    async def stop(self) -> None:
        """Close it as a person would, so that its profile is whole."""
        if self._process is None:
            return
        with contextlib.suppress(DevToolsError, TimeoutError):
            await self.devtools.call("Browser.close", timeout_s=1)
            async with asyncio.timeout(2):
                await self._process.wait()
        await self._process.stop(1)


def command(job: Job, places: Places) -> list[str]:
    """Chromium's command line. What policies can say is in the image's policies.json instead."""
    argv = [
        "/usr/lib/chromium/chromium",
        f"--user-data-dir={places.profile}",
        "--remote-debugging-pipe", f"--remote-debugging-port={DEBUG_PORT}",
        f"--proxy-server=http://127.0.0.1:{PROXY_PORT}",
        "--proxy-bypass-list=<-loopback>",  # pages must not reach our own ports either
        "--window-position=0,0", f"--window-size={job.display.width},{job.display.height}",
        f"--accept-lang={job.locale},{job.locale.split('-')[0]}",
        "--no-first-run", "--no-default-browser-check", "--hide-crash-restore-bubble", "--disable-breakpad",
        "--password-store=basic", "--disable-gpu", "--disable-pings", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-domain-reliability", "--noerrdialogs",
        f"--disable-features={','.join(_DISABLED_FEATURES)}",
    ]  # fmt: skip
    if not job.chromium_sandbox:
        argv.append("--no-sandbox")
    return [*argv, "about:blank"]


async def page_screenshot(devtools: DevTools, session: str) -> bytes:
    """What the tab `session` shows, as PNG. Raises DevToolsError, also while a dialog blocks the page."""
    shot = await devtools.call("Page.captureScreenshot", {"format": "png"}, session, timeout_s=4)
    return base64.b64decode(shot["data"])
