"""The API as a program sees it."""

from __future__ import annotations

from typing import Any

import pytest

from ccdtasks.core.access import SHELL
from ccdtasks.core.tasks.tasks import TaskDraft
from tests.web.conftest import ALICE, BOB, Site


async def _get(site: Site, path: str, **headers: str) -> tuple[int, Any]:
    async with site.browser.get(f"{site.url}/api/v1{path}", headers=headers) as answer:
        assert answer.content_type == "application/json"
        return answer.status, await answer.json()


async def _post(site: Site, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    async with site.browser.post(f"{site.url}/api/v1{path}", json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_task_is_found_started_and_stopped(site: Site) -> None:
    await site.core.tasks.create(ALICE, TaskDraft("flights", "From {origin} to {to=HNL}"))
    me = await site.api()
    status, tasks = await _get(site, "/tasks", **me)
    assert (status, [task["name"] for task in tasks["items"]], tasks["next"]) == (200, ["flights"], None)
    assert (await _get(site, "/tasks/flights", **me))[1]["prompt"] == "From {origin} to {to=HNL}"
    status, run = await _post(site, "/runs", {"task": "flights", "values": {"origin": "SFO"}}, **me)
    assert (status, run["status"], run["position"]) == (201, "queued", 1)
    assert run["parameters"] == {"origin": "SFO", "to": "HNL"}
    status, shown = await _get(site, f"/runs/{run['id'][:8]}", **me)
    assert (status, shown["files"], shown["report"]) == (200, [], None)
    status, stopped = await _post(site, f"/runs/{run['id']}/stop", {}, **me)
    assert (status, stopped["status"]) == (200, "cancelled")
    assert (await _post(site, f"/runs/{run['id']}/stop", {}, **me))[0] == 409
    assert [row["status"] for row in (await _get(site, "/runs?task=flights", **me))[1]["items"]] == ["cancelled"]


async def test_a_task_is_scheduled_paused_resumed_and_unscheduled(site: Site) -> None:
    await site.core.tasks.create(ALICE, TaskDraft("flights", "From {origin}"))
    me, him = await site.api(), await site.api(BOB)
    nine = {"when": "0 9 * * 1-5", "timezone": "Europe/Berlin", "values": {"origin": "SFO"}}
    status, said = await _post(site, "/tasks/flights/schedule", {"when": "61 * * * *"}, **me)
    assert (status, said["error"]["field"]) == (422, "cron")
    assert (await _post(site, "/tasks/flights/schedule", {"when": "@daily"}, **me))[1]["error"]["field"] == "values"
    for wrong in ({}, {"when": 9}, {"when": None}, {"often": "yes"}):
        assert (await _post(site, "/tasks/flights/schedule", wrong, **me))[0] == 422, wrong
    status, made = await _post(site, "/tasks/flights/schedule", nine, **me)
    assert (status, made["preview"]["words"]) == (200, "At 09:00 on Monday through Friday")
    assert len(made["preview"]["times"]) == 5
    moved = (await _post(site, "/tasks/flights/schedule", {"timezone": "Asia/Tokyo"}, **me))[1]
    assert (moved["schedule"], moved["timezone"], moved["schedule_values"]) == (
        nine["when"],
        "Asia/Tokyo",
        nine["values"],
    )
    assert (await _post(site, "/tasks/flights/pause", {}, **me))[1]["paused"] is True
    assert (await _post(site, "/tasks/flights/pause", {}, **me))[0] == 409
    assert (await _post(site, "/tasks/flights/pause", {"confirm": 1}, **me))[0] == 422
    assert (await _post(site, "/tasks/flights/resume", {}, **me))[1]["preview"]["timezone"] == "Asia/Tokyo"
    shown = (await _get(site, "/tasks/flights/schedule", **me))[1]
    history = {(row["action"], row["by"]) for row in shown["history"]}
    assert history == {(action, ALICE.user_id) for action in ("created", "updated", "paused", "resumed")}
    for path in ("schedule", "unschedule", "pause", "resume"):
        assert (await _post(site, f"/tasks/flights/{path}", nine if path == "schedule" else {}, **him))[0] == 403
    assert (await _get(site, "/tasks/flights/schedule", **him))[0] == 403
    assert (await _post(site, "/tasks/flights/unschedule", {}, **me))[1]["schedule"] is None
    assert (await _post(site, "/tasks/flights/unschedule", {}, **me))[0] == 409


async def test_what_a_schedule_means_is_told_without_a_task(site: Site) -> None:
    me, query = await site.api(), "when=0+9+13+*+5&timezone=Europe/Berlin"
    status, told = await _get(site, f"/cron?{query}&limit=3", **me)
    assert (status, told["words"]) == (200, "At 09:00 on the 13th day of month or on Friday")
    assert len(told["times"]) == 3
    for wrong, field in (("", "cron"), ("?when=@daily&timezone=PST", "timezone"), ("?when=@daily&limit=0", "limit")):
        status, said = await _get(site, f"/cron{wrong}", **me)
        assert (status, said["error"]["field"]) == (422, field)
    assert (await _get(site, "/cron?when=@daily"))[0] == 401


async def test_nobody_sees_or_touches_what_is_anothers(site: Site) -> None:
    await site.core.tasks.create(ALICE, TaskDraft("mine", "Look"))
    run = (await site.core.runs.start(ALICE, "mine")).run.id
    him, admin = await site.api(BOB), await site.api(BOB, is_admin=True)
    assert (await _get(site, "/tasks", **him))[1]["items"] == []
    assert (await _get(site, "/runs", **him))[1]["items"] == []
    for path in ("/tasks/mine", f"/runs/{run}", f"/runs/{run}/files", f"/runs/{run}/events"):
        assert (await _get(site, path, **him))[0] == 403
    assert (await _post(site, f"/runs/{run}/stop", {}, **him))[0] == 403
    assert (await _post(site, "/runs", {"task": "mine"}, **him))[0] == 403
    assert (await _get(site, f"/runs/{run}", **admin))[0] == 200


@pytest.mark.parametrize("path", ["/tasks", "/tasks/x", "/runs", "/runs/abcd", "/runs/abcd/files", "/runs/abcd/events"])
async def test_without_a_token_there_is_nothing(site: Site, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer ccd_wrong"}, {"Authorization": "Basic eDp5"}):
        status, said = await _get(site, path, **headers)
        assert (status, said["error"]["code"]) == (401, "not_logged_in")


async def test_pages_are_walked_to_their_end_without_gap_or_double(site: Site) -> None:
    await site.core.tasks.create(SHELL, TaskDraft("chore", "Do it"))
    made = [str((await site.core.runs.start(SHELL, "chore")).run.id) for _ in range(23)]
    me, seen, after = await site.api(is_admin=True), [], ""
    while True:
        _, page = await _get(site, f"/runs?limit=5{after}", **me)
        seen += [run["id"] for run in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert sorted(seen) == sorted(made)
    assert len(seen) == 23


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/runs?limit=0", "limit"),
        ("/runs?limit=201", "limit"),
        ("/runs?limit=x", "limit"),
        ("/runs?limit=٣", "limit"),
        ("/runs?status=happy", "status"),
        ("/tasks?filter=happy", "filter"),
    ],
)
async def test_what_cannot_be_read_is_named(site: Site, path: str, field: str) -> None:
    status, said = await _get(site, path, **await site.api())
    assert (status, said["error"]["field"]) == (422, field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "task"),
        ({"task": 1}, "task"),
        ({"task": "chore", "values": []}, "values"),
        ({"task": "chore", "values": {"a": {}}}, "values"),
        ({"task": "chore", "value": {}}, "value"),
    ],
)
async def test_a_body_that_makes_no_sense_is_named(site: Site, body: Any, field: str) -> None:
    status, said = await _post(site, "/runs", body, **await site.api())
    assert (status, said["error"]["field"]) == (422, field)


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[" * 100_000, b'{"task": NaN'])
async def test_a_body_that_is_no_json_is_said(site: Site, raw: bytes) -> None:
    headers = {"Content-Type": "application/json", **await site.api()}
    async with site.browser.post(f"{site.url}/api/v1/runs", data=raw, headers=headers) as answer:
        assert answer.status == 422


async def test_a_form_of_a_page_is_no_body(site: Site) -> None:
    """What another site's page can send without asking us first is never taken."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": kind, **await site.api()}
        async with site.browser.post(f"{site.url}/api/v1/runs", data=b'{"task": "x"}', headers=headers) as answer:
            assert answer.status == 422


async def test_too_many_starts_say_when_again(site: Site) -> None:
    object.__setattr__(site.core.config.limits, "starts_per_minute", 1)
    await site.core.tasks.create(ALICE, TaskDraft("chore", "Do it"))
    me = await site.api()
    assert (await _post(site, "/runs", {"task": "chore"}, **me))[0] == 201
    async with site.browser.post(f"{site.url}/api/v1/runs", json={"task": "chore"}, headers=me) as answer:
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) > 0


async def test_a_task_is_made_changed_and_deleted(site: Site) -> None:
    me, him = await site.api(), await site.api(BOB)
    draft = {
        "name": "flights",
        "prompt": "From {origin} below {price=400}",
        "type": "ticket-checker",
        "description": "Cheap flights",
        "config": {"timeout_s": 600},
        "parameters": {"origin": {"pattern": "[A-Z]{3}"}},
    }
    status, made = await _post(site, "/tasks", draft, **me)
    assert (status, made["name"], made["type"], made["owner"]) == (201, "flights", "ticket-checker", ALICE.user_id)
    assert (made["config"]["timeout_s"], made["parameters"][0]["pattern"]) == (600, "[A-Z]{3}")
    assert (await _post(site, "/tasks", draft, **me))[0] == 409
    status, changed = await _post(
        site, "/tasks/flights", {"changes": {"timeout": "1h", "price": "350", "description": None}}, **me
    )
    assert (status, changed["config"]["timeout_s"], changed["description"]) == (200, 3600, None)
    assert [each["field"] for each in changed["changes"]] == ["timeout", "description", "values.price"]
    assert (await _post(site, "/tasks/flights", {"changes": {"timeout": "soon"}}, **me))[1]["error"][
        "field"
    ] == "timeout"
    for path, body in (("/tasks/flights", {"changes": {"timeout": "2h"}}), ("/tasks/flights/delete", {})):
        assert (await _post(site, path, body, **him))[0] == 403
    await site.core.tasks.create(ALICE, TaskDraft("report", "Look"))
    await site.core.dependencies.add(ALICE, "report", "flights")
    status, said = await _post(site, "/tasks/flights/delete", {}, **me)
    assert (status, said["error"]["code"]) == (409, "conflict")
    assert (await _post(site, "/tasks/flights/delete", {"confirm": True}, **me))[0] == 200
    assert (await _get(site, "/tasks/flights", **me))[0] == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "a", "prompt": 5}, "prompt"),
        ({"name": "a b", "prompt": "Look"}, "name"),
        ({"name": "a", "prompt": "Look", "config": []}, "config"),
        ({"name": "a", "prompt": "Look", "config": {"timeout_s": 1}}, "config"),
        ({"name": "a", "prompt": "Look {at}", "parameters": {"at": "x"}}, "at"),
        ({"name": "a", "prompt": "Look {at}", "parameters": {"at": {"pattern": 5}}}, "parameters"),
        ({"name": "a", "prompt": "Look", "owner": "me"}, "owner"),
    ],
)
async def test_what_is_wrong_with_a_new_task_is_named(site: Site, body: Any, field: str) -> None:
    status, said = await _post(site, "/tasks", body, **await site.api())
    assert (status, said["error"]["field"]) == (422, field)
