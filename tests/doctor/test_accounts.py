"""What the doctor says of the model's credential and of the bot, by what the other side answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from ccdtasks.config import ClaudeConfig, DiscordConfig
from ccdtasks.demo.messages_api import MessagesApi
from ccdtasks.demo.scripted import reply_to
from ccdtasks.demo.shop import served
from ccdtasks.doctor.accounts import discord_findings, missing_permissions, model_credential
from ccdtasks.doctor.finding import Finding

KEY = "sk-ant-PLANTED"


async def _model(port: int, **changes: Any) -> Finding:
    values = {"base_url": f"http://127.0.0.1:{port}", "api_key": SecretStr(KEY)} | changes
    finding = await model_credential(ClaudeConfig(**values))
    assert "PLANTED" not in f"{finding.text}{finding.remedy}"
    return finding


async def test_a_good_key_is_accepted_and_a_wrong_one_named() -> None:
    async with served(MessagesApi(KEY, reply_to).app()) as port:
        assert (await _model(port)).outcome == "ok"
        refused = await _model(port, api_key=SecretStr("sk-ant-PLANTED-wrong"))
    assert (refused.outcome, refused.text) == (
        "fail",
        "Claude refuses [claude] api_key (HTTP 401), so no run can succeed.",
    )


async def test_no_credential_and_no_network_are_told_apart() -> None:
    async with served(web.Application()) as port:
        nothing_there = await _model(port)
    assert "does not know the model" in nothing_there.text
    assert "cannot be reached" in (await _model(port)).text
    assert "There is no credential" in (await _model(port, api_key=None)).text


@pytest.mark.parametrize(
    ("status", "outcome"), [(529, "warn"), (500, "warn"), (429, "warn"), (403, "fail"), (400, "fail")]
)
async def test_busy_is_no_failure(status: int, outcome: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({}, status=status)

    app = web.Application()
    app.router.add_post("/v1/messages/count_tokens", answer)
    async with served(app) as port:
        assert (await _model(port)).outcome == outcome


async def test_a_subscription_goes_as_a_bearer_token_with_its_beta() -> None:
    seen: list[web.BaseRequest] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({"input_tokens": 1})

    app = web.Application()
    app.router.add_post("/v1/messages/count_tokens", answer)
    async with served(app) as port:
        assert (await _model(port, api_key=None, oauth_token=SecretStr(KEY))).outcome == "ok"
    assert seen[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in seen[0].headers
    assert "oauth" in seen[0].headers["anthropic-beta"]


GUILD = {
    "id": "1",
    "name": "Home",
    "owner_id": "9",
    "roles": [
        {"id": "1", "permissions": "1024"},
        {"id": "2", "permissions": str((1 << 40) - 1 - 8)},
        {"id": "3", "permissions": "8"},
    ],
}


@pytest.mark.parametrize(
    ("roles", "missing"), [(["2"], []), (["3"], []), ([], ["Manage Channels", "Send Messages", "Embed Links"])]
)
def test_permissions_are_named(roles: list[str], missing: list[str]) -> None:
    found = missing_permissions(GUILD, {"roles": roles, "user": {"id": "5"}})
    assert found[: len(missing)] == missing
    assert bool(found) == bool(missing)


@asynccontextmanager
async def _discord(answers: dict[str, tuple[int, Any]]) -> AsyncIterator[Callable[..., Any]]:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bot {KEY}"
        status, body = answers.get(request.path, (404, {}))
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with served(app) as port:

        async def ask(token: str | None = KEY) -> Finding:
            secret = SecretStr(token) if token else None
            config = DiscordConfig(token=secret, guild_id=1, api_url=f"http://127.0.0.1:{port}/api")
            (finding,) = [finding async for finding in discord_findings(config)]
            return finding

        yield ask


BOT = (200, {"id": "5", "username": "chores"})


@pytest.mark.parametrize(
    ("answers", "outcome", "text"),
    [
        ({"/api/users/@me": (401, {})}, "fail", "Discord refuses the bot's token."),
        ({"/api/users/@me": (502, {})}, "warn", "does not answer as it should"),
        ({"/api/users/@me": BOT}, "fail", "The bot is not on the server 1."),
        (
            {"/api/users/@me": BOT, "/api/guilds/1": (200, GUILD), "/api/guilds/1/members/5": (200, {"roles": []})},
            "fail",
            "chores lacks permissions: Manage Channels",
        ),
        (
            {"/api/users/@me": BOT, "/api/guilds/1": (200, GUILD), "/api/guilds/1/members/5": (200, {"roles": ["2"]})},
            "ok",
            "chores may do all it needs on Home.",
        ),
    ],
)
async def test_what_discord_answers_is_said_in_words(
    answers: dict[str, tuple[int, Any]], outcome: str, text: str
) -> None:
    async with _discord(answers) as ask:
        finding = await ask()
    assert finding.outcome == outcome
    assert text in finding.text


async def test_without_a_token_discord_is_off_and_that_is_no_failure() -> None:
    async with _discord({}) as ask:
        assert (await ask(None)).outcome == "warn"
