"""Numbers for Prometheus: true, bounded, and for nobody from elsewhere; and a dashboard that asks for what there is."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ccdtasks.config import ServerConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.counters import Counters
from ccdtasks.db.enums import Reason
from ccdtasks.engine.keeping import Keeper
from ccdtasks.web import open_web
from tests.stories import complete, fail, queue, running

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"
LOCAL = {"Host": "localhost:8420"}


@pytest.fixture
async def port(core: Core, keeper: Keeper) -> AsyncIterator[int]:
    async with open_web(core, keeper, {}) as port:
        assert port is not None
        yield port


async def _get(port: int, **headers: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/metrics", headers={**LOCAL, **headers}) as answer,
    ):
        return answer.status, await answer.text()


async def _samples(port: int) -> dict[str, dict[tuple[str, ...], float]]:
    """Name of a sample -> values of its labels -> number."""
    status, text = await _get(port)
    assert status == 200, text
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def test_runs_are_counted_by_how_they_ended(core: Core, port: int) -> None:
    claim = await running(core, retries={"attempts": 1}, actor=SHELL)
    await complete(core, claim)
    await core.claims.removed(claim)
    await fail(core, await running(core, actor=SHELL), Reason.TIMEOUT)
    going = await running(core, actor=SHELL)
    await queue(core, actor=SHELL)
    found = await _samples(port)
    assert found["ccdtasks_runs_total"] == {("", "completed"): 1, ("", "cancelled"): 0, ("timeout", "failed"): 1}
    assert found["ccdtasks_runs_going"] == {("running",): 1, ("queued",): 1}
    assert (found["ccdtasks_queue_length"][()], found["ccdtasks_sessions"][()]) == (1, 1)
    assert found["ccdtasks_tasks"] == {("active",): 1, ("paused",): 0}
    assert found["ccdtasks_backlog"][("messages",)] > 0
    assert found["ccdtasks_database_bytes"][()] > 100_000
    await fail(core, going, Reason.BLOCKED)
    assert (await _samples(port))["ccdtasks_runs_total"][("blocked", "failed")] == 1


async def test_what_the_process_did_is_counted(core: Core, port: int) -> None:
    core.counters.add("podman_calls", kind="get", outcome="answered")
    core.counters.add("podman_calls", 2, kind="get", outcome="answered")
    core.counters.add("egress_refusals", reason='"odd"\n')
    for late_s in (0.001, 0.2, 9):
        core.counters.lag.observe(late_s)
    found = await _samples(port)
    assert found["ccdtasks_podman_calls_total"] == {("get", "answered"): 3}
    assert found["ccdtasks_egress_refusals_total"] == {('"odd"\n',): 1}
    lag = found["ccdtasks_event_loop_lag_seconds_bucket"]
    assert (lag[("0.005",)], lag[("0.25",)], lag[("+Inf",)]) == (1, 2, 3)
    assert found["ccdtasks_event_loop_lag_seconds_sum"][()] == pytest.approx(9.201)


async def test_overdue_schedules_and_holds_are_seen(core: Core, port: int, clock: Any) -> None:
    await queue(core, actor=SHELL)
    await core.schedules.set(SHELL, "ticket-checker", "0 16 * * *")
    assert (await _samples(port))["ccdtasks_schedule_overdue_seconds"][()] == 0
    clock.advance(hours=1)
    async with core.db.write() as session:
        await core.facts.hold(session, "model_auth", "The key was refused.")
    found = await _samples(port)
    assert found["ccdtasks_schedule_overdue_seconds"][()] == 1800
    assert found["ccdtasks_holds"] == {("model_auth",): 1}


async def test_names_from_outside_cannot_fill_the_memory() -> None:
    counters = Counters()
    for number in range(5000):
        counters.add("model_requests", model=f"model-{number}")
    found = counters.of("model_requests")
    assert len(found) == 201
    assert sum(found.values()) == 5000


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.5"},
        {"Forwarded": "for=203.0.113.5"},
        {"Via": "1.1 proxy"},
        {"Host": "rebound.example"},
        {"Authorization": "Bearer ccd_wrong", "X-Forwarded-For": "203.0.113.5"},
    ],
    ids=["proxied", "proxied by the standard", "passed on", "another name", "a wrong token"],
)
async def test_whoever_comes_from_elsewhere_is_refused(port: int, headers: dict[str, str]) -> None:
    status, text = await _get(port, **headers)
    assert status == 403
    assert "ccdtasks_runs" not in text


async def test_a_token_of_an_admin_lets_in_from_everywhere(core: Core, port: int) -> None:
    far = {"X-Forwarded-For": "203.0.113.5", "Host": "tasks.example.com"}
    admins, users = [
        (await core.tokens.create(SHELL, name, user_id="100000000000000001", is_admin=is_admin)).secret
        for name, is_admin in (("prometheus", True), ("phone", False))
    ]
    assert (await _get(port, Authorization=f"Bearer {admins}", **far))[0] == 200
    assert (await _get(port, Authorization=f"Bearer {users}", **far))[0] == 403


class TestBehindATrustedProxy:
    @pytest.fixture
    def server(self) -> ServerConfig:
        return ServerConfig(port=0, trusted_proxies=("127.0.0.1",))

    async def test_a_visitor_is_who_the_proxy_says(self, port: int) -> None:
        assert (await _get(port, **{"X-Forwarded-For": "203.0.113.5"}))[0] == 403


async def test_the_dashboard_asks_for_numbers_that_there_are(core: Core, port: int) -> None:
    board = json.loads(DASHBOARD.read_text())
    core.counters.add("model_requests", model="m")
    known = set(await _samples(port))
    _, text = await _get(port)
    known |= set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(asked) > 10
    names = {name for expression in asked for name in re.findall(r"ccdtasks_[a-z_]+", expression)}
    assert names <= known | {f"{name}_total" for name in known}, names - known


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert (board["title"], board["uid"], board["id"]) == ("ccdtasks", "ccdtasks", None)
    assert board["schemaVersion"] >= 39
    assert {each["name"] for each in board["__inputs"]} == {"DS_PROMETHEUS"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["type"] in ("stat", "timeseries", "row")
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, f"{panel['title']} lies on another panel"
        cells |= own
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${DS_PROMETHEUS}"
