"""The account of a session goes on over restarts of the service."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from ccdtasks.app import open_core
from ccdtasks.config import ClaudeConfig, Config, PathsConfig, PodmanConfig, PriceConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.demo.shop import served
from ccdtasks.engine.assembly import open_parts
from ccdtasks.engine.gates import Gates
from ccdtasks.engine.job import make_brief
from tests.doubles.messages_api import MessagesApi, say


async def ask(socket: Path, dummy: str) -> int:
    body = {
        "model": "claude-sonnet-5",
        "max_tokens": 10,
        "stream": True,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as client,
        client.post("http://localhost/v1/messages", json=body, headers={"x-api-key": dummy}) as answer,
    ):
        await answer.read()
        return answer.status


async def _life(config: Config, core: Core, claim: Claim, dummy: str) -> int:
    """One life of the service: both sockets are opened, one question is asked, all is accounted for."""
    async with open_parts(core) as parts:
        brief = make_brief(await core.runs.load(claim.run_id), claim, config, dummy)
        folder = parts.folders.create(claim.folder, brief.job())
        gates = Gates(parts, claim)
        await gates.open(folder, brief)
        status = await ask(folder.model_socket, dummy)
        await gates.report_last()
        await gates.close()
        return status


@pytest.mark.parametrize(
    ("prices", "statuses", "cost_usd"),
    [
        # 1000 tokens in and 40 out of claude-sonnet-5 are 0.0036 dollars: three answers exceed 0.008
        ({}, [200, 200, 200, 403], "0.0108"),
        ({"claude-sonnet-5": PriceConfig(input=10, output=0)}, [200, 403, 403, 403], "0.01"),
    ],
    ids=["list prices", "the configuration's prices"],
)
async def test_usage_of_all_lives_is_summed_and_counts_against_the_budget(
    short_dir: Path, prices: dict[str, PriceConfig], statuses: list[int], cost_usd: str
) -> None:
    model = MessagesApi(say("Hello"))
    async with served(model.app()) as port:
        config = Config(
            claude=ClaudeConfig(
                api_key="sk-ant-api03-x", base_url=f"http://127.0.0.1:{port}", max_budget_usd="0.008", prices=prices
            ),
            paths=PathsConfig(data_dir=short_dir),
            podman=PodmanConfig(socket=f"unix://{short_dir}/none.sock"),
        )
        async with open_core(config) as core:
            await core.tasks.create(SHELL, TaskDraft("chore", "Do it"))
            await core.runs.start(SHELL, "chore")
            claim = await core.claims.claim_next(core.clock.now(), "boot", 10)
            assert claim is not None
            assert claim.dummy is not None
            before = {"connections": 4, "bytes_in": 100, "bytes_out": 10, "names": 2, "refusals": 1}
            await core.claims.meter(claim, {}, Decimal(0), before)  # of a life before these
            heard = [await _life(config, core, claim, claim.dummy) for _ in range(4)]
            view = await core.runs.load(claim.run_id)
    count = statuses.count(200)
    assert heard == statuses
    assert view.run.api_calls_made == count
    tokens = {"input": 1000 * count, "output": 40 * count, "cache_read": 0, "cache_write": 0}
    assert view.run.tokens_used == {**tokens, "by_model": {"claude-sonnet-5": {**tokens, "requests": count}}}
    assert view.run.cost_usd == Decimal(cost_usd)
    assert view.session is not None
    assert view.session.egress == before
