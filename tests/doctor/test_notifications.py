"""What the doctor says of Pushover, and of what nobody could be told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from ccdtasks.adapters.pushover import Pushover
from ccdtasks.config import Config, PushoverConfig
from ccdtasks.core import Core
from ccdtasks.core.phone.pushes import PushDraft
from ccdtasks.db.enums import MessageType
from ccdtasks.doctor.finding import Finding
from ccdtasks.doctor.notifications import notification_findings
from ccdtasks.engine.pushing import PushingLoop
from tests.clock import MoveableClock
from tests.doubles.pushover_server import KEY, TOKEN, PushoverServer
from tests.people import ANN


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
async def server(clock: MoveableClock) -> AsyncIterator[PushoverServer]:
    async with PushoverServer(clock) as pushover:
        pushover.add_user()
        yield pushover


@pytest.fixture
def config(config: Config, server: PushoverServer) -> Config:
    table = PushoverConfig(token=SecretStr(TOKEN), api_url=server.config["api_url"])
    return config.model_copy(update={"pushover": table})


async def _found(core: Core) -> dict[str, Finding]:
    found = {finding.check: finding async for finding in notification_findings(core)}
    assert TOKEN not in str(found)
    return found


async def test_the_quota_is_shown_and_its_end_warned_of(core: Core, server: PushoverServer) -> None:
    finding = (await _found(core))["pushover"]
    assert finding.outcome == "ok"
    assert "10,000 of 10,000 messages are left until 1 February" in finding.text
    server.sent_before = 9_600
    finding = (await _found(core))["pushover"]
    assert (finding.outcome, "only 400 of 10,000" in finding.text) == ("warn", True)
    server.spend_quota()
    assert (await _found(core))["pushover"].outcome == "fail"


async def test_a_refused_token_fails_and_an_outage_does_not(core: Core, server: PushoverServer) -> None:
    server.token = "another"
    assert (await _found(core))["pushover"] == Finding(
        "pushover", "fail", "Pushover refuses the token of this application.", "an admin corrects `[pushover] token`"
    )
    await server.go_down()
    finding = (await _found(core))["pushover"]
    assert (finding.outcome, finding.text) == ("warn", "Pushover cannot be reached.")


async def test_what_nobody_was_told_is_counted(core: Core, server: PushoverServer, clock: MoveableClock) -> None:
    assert (await _found(core))["notifications"].outcome == "ok"
    client = Pushover(TOKEN, server.config["api_url"])
    await core.settings.set_key(ANN, KEY, client.validate)
    await core.pushes.send(ANN, PushDraft("Hello"))
    server.users[KEY] = []
    await PushingLoop(core, client).send_pending()
    await client.close()
    async with core.db.write() as session:
        row = await core.messages.put(session, None, "odd", MessageType.NOTIFICATION, {"text": "x"})
    clock.advance(seconds=5)
    await core.messages.failed(row, "Discord does not take this.")
    finding = (await _found(core))["notifications"]
    assert finding.outcome == "warn"
    assert "1 message to Discord and 1 push could not be delivered" in finding.text
    clock.advance(days=8)
    assert (await _found(core))["notifications"].outcome == "ok"


async def test_without_a_token_all_is_well(core: Core) -> None:
    object.__setattr__(core, "config", Config())
    assert (await _found(core))["pushover"].outcome == "ok"
