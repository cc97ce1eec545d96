"""Sees that a captcha was solved or a login page left, so that a person who helped need not say so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from session.devtools import DevTools, DevToolsError
from session.tabs import Page

Reason = Literal["captcha", "mfa", "login", "unclear"]

_LOOK = Path(__file__).with_name("look.js").read_text("utf-8")
_LOGIN_WORDS = re.compile(
    r"log[-_]?in|sign[-_]?in|authent|authoriz|challenge|verif|checkpoint|\b(oauth2?|auth|sso|mfa|2fa|otp)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Sight:
    """What stands in the way on a page."""

    address: str  # host and path
    captcha: bool
    secret: bool  # a field for a password or a one-time code


def is_passed(reason: Reason, before: Sight, now: Sight) -> bool:
    """Whether what was in the way `before` is gone. Never guessed for `unclear`: only the person knows."""
    left = now.address != before.address
    if reason == "captcha":
        return not now.captcha and (before.captcha or left)
    if reason in ("login", "mfa"):
        return left and not now.secret and not now.captcha and not _LOGIN_WORDS.search(now.address)
    return False


async def look(devtools: DevTools, page: Page) -> Sight:
    """Look at the page once. Raises DevToolsError."""
    value = await evaluate(devtools, page, _LOOK) or {}
    parts = urlsplit(page.url)
    return Sight(parts.netloc + parts.path, bool(value.get("captcha")), bool(value.get("secret")))


async def evaluate(devtools: DevTools, page: Page, expression: str) -> Any:
    """The value of a script in a world of its own, where the page's scripts change nothing. Raises DevToolsError."""
    world = await devtools.call(
        "Page.createIsolatedWorld", {"frameId": page.target_id, "worldName": "ccdtasks"}, page.session, timeout_s=2
    )
    evaluated = await devtools.call(
        "Runtime.evaluate",
        {"expression": expression, "contextId": world["executionContextId"], "returnByValue": True},
        page.session,
        timeout_s=2,
    )
    return evaluated.get("result", {}).get("value")


class PageWatch:
    """Looks at the current page until the obstacle is passed."""

    def __init__(self, devtools: Callable[[], DevTools], current: Callable[[], Awaitable[Page | None]]) -> None:
        self._devtools = devtools
        self._current = current

    async def passed(self, reason: Reason, every_s: float = 1.0) -> None:
        """Return when the obstacle is gone at two looks in a row: a page in the middle of loading shows nothing."""
        before: Sight | None = None
        gone = 0
        while True:
            sight = await self._look()
            if sight is not None:
                before = before or sight
                gone = gone + 1 if is_passed(reason, before, sight) else 0
            if gone >= 2:
                return
            await asyncio.sleep(every_s)

    async def _look(self) -> Sight | None:
        page = await self._current()
        if page is None or not page.url.startswith(("http://", "https://")):
            return None
        try:
            return await look(self._devtools(), page)
        except DevToolsError:
            return None
