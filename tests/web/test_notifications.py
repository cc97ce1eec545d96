"""Programs send to phones: with a token, to its own user, once, and each mistake in one sentence."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from ccdtasks.config import Config, PushoverConfig, ServerConfig
from tests.clock import MoveableClock
from tests.doubles.pushover_server import KEY
from tests.stories import queue
from tests.web.conftest import ALICE, BOB, Site

PATH = "/api/v1/notifications/pushover"
BOBS_KEY = "gznej3rKEVAvPUxu9vvNnqpmZpokzF"


@pytest.fixture
def config(config: Config, server: ServerConfig) -> Config:
    return config.model_copy(update={"server": server, "pushover": PushoverConfig(token=SecretStr("t" * 30))})


async def _known(_key: str) -> tuple[str, ...]:
    return ("iphone",)


@pytest.fixture
async def site(site: Site) -> Site:
    await site.core.settings.set_key(ALICE, KEY, _known)
    return site


async def _post(site: Site, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    async with site.browser.post(f"{site.url}{PATH}", json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_program_sends_to_its_own_user_and_asks_what_came_of_it(site: Site) -> None:
    run = (await queue(site.core, actor=ALICE)).run
    body = {
        "task_run_id": str(run.id),
        "user_key": KEY,
        "message": "Task ticket-checker failed",
        "priority": 1,
        "url": "https://discord.com/channels/1/2",
        "url_title": "View in Discord",
    }
    status, sent = await _post(site, body, await site.api())
    assert (status, sent["state"], sent["priority"], sent["task_run_id"]) == (202, "pending", 1, str(run.id))
    assert KEY not in str(sent)
    async with site.browser.get(f"{site.url}{PATH}/{sent['id']}", headers=await site.api()) as answer:
        assert (answer.status, (await answer.json())["id"]) == (200, sent["id"])
    for headers, expected in ((await site.api(BOB), 404), ({}, 401)):
        async with site.browser.get(f"{site.url}{PATH}/{sent['id']}", headers=headers) as answer:
            assert answer.status == expected


async def test_nobody_sends_without_a_token_or_by_a_cookie(site: Site) -> None:
    await site.log_in()
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        status, said = await _post(site, {"message": "x"}, headers)
        assert (status, said["error"]["code"]) == (401, "not_logged_in")


async def test_only_an_admin_sends_to_somebody_else(site: Site) -> None:
    await site.core.settings.set_key(BOB, BOBS_KEY, _known)
    for more in ({"user_key": KEY}, {"user_id": ALICE.user_id}):
        status, said = await _post(site, {"message": "x", **more}, await site.api(BOB))
        assert (status, said["error"]["code"]) == (403, "denied")
        assert KEY not in str(said)
        status, _ = await _post(site, {"message": "x", **more}, await site.api(BOB, is_admin=True))
        assert status == 202


async def test_the_same_idempotency_key_sends_once(site: Site) -> None:
    headers = {**await site.api(), "Idempotency-Key": "nightly"}
    first, again = [await _post(site, {"message": "Backup done"}, headers) for _ in range(2)]
    assert first[1]["id"] == again[1]["id"]
    status, said = await _post(site, {"message": "Something else"}, headers)
    assert (status, said["error"]["message"]) == (409, "This key was used for another notification.")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "message"),
        ({"message": 5}, 422, "message"),
        ({"message": "x" * 1025}, 422, "message"),
        ({"message": "x", "priority": "high"}, 422, "priority"),
        ({"message": "x", "priority": True}, 422, "priority"),
        ({"message": "x", "priority": 3}, 422, "priority"),
        ({"message": "x", "priority": 2, "retry": 5}, 422, "retry"),
        ({"message": "x", "url": "javascript:alert(1)"}, 422, "url"),
        ({"message": "x", "colour": "red"}, 422, "colour"),
        ({"message": "x", "task_run_id": str(uuid4())}, 404, None),
        ([], 422, "body"),
    ],
)
async def test_each_mistake_is_one_sentence(site: Site, body: Any, status: int, field: str | None) -> None:
    got, said = await _post(site, body, await site.api())
    assert (got, said["error"].get("field")) == (status, field)
    assert said["error"]["message"].count(". ") == 0


async def test_without_a_key_it_says_what_to_do(site: Site) -> None:
    status, said = await _post(site, {"message": "x"}, await site.api(BOB))
    assert (status, said["error"]["message"]) == (409, "There is no Pushover key yet.")


async def test_a_program_that_went_wrong_is_slowed_down_and_told_until_when(site: Site, clock: MoveableClock) -> None:
    headers = await site.api()
    assert [(await _post(site, {"message": f"no {each}"}, headers))[0] for each in range(20)] == [202] * 20
    clock.advance(seconds=20)
    async with site.browser.post(
        f"{site.url}{PATH}", json={"message": "once more"}, headers=await site.api()
    ) as answer:
        said = (await answer.json())["error"]
        assert (answer.status, answer.headers["Retry-After"]) == (429, "40")
    assert said["message"] == "Your programs have sent 20 pushes within a minute."
    assert (said["hint"], said["retry_after_s"]) == ("try again in 40 s", 40.0)
    await site.core.settings.set_key(BOB, BOBS_KEY, _known)
    assert (await _post(site, {"message": "of somebody else"}, await site.api(BOB)))[0] == 202
    clock.advance(seconds=41)
    assert (await _post(site, {"message": "later"}, headers))[0] == 202


async def test_a_day_has_a_limit_too_and_what_was_sent_already_is_answered_again(
    site: Site, clock: MoveableClock
) -> None:
    headers = await site.api()
    known = {**headers, "Idempotency-Key": "first"}
    first = await _post(site, {"message": "first"}, known)
    for _ in range(299):
        clock.advance(seconds=60)
        assert (await _post(site, {"message": "again"}, headers))[0] == 202
    clock.advance(seconds=60)
    status, said = await _post(site, {"message": "again"}, headers)
    assert (status, said["error"]["message"]) == (429, "Your programs have sent 300 pushes within a day.")
    assert said["error"]["hint"] == "try again in 19 h"
    assert await _post(site, {"message": "first"}, known) == first
