"""Two tasks, one after the other, on real parts: the second reads in its own sealed session what the first one left."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.chains import KEY
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import DiscordMessage, TaskRun
from tests.doubles.messages_api import Use, say
from tests.doubles.podman import podman_service, require_image
from tests.journeys.service import end
from tests.journeys.test_real_run import BROWSER, OURS, world

pytestmark = [pytest.mark.image, pytest.mark.slow]

INPUTS = "/run/ccdtasks/host/inputs/scrape"
PATH = f"{INPUTS}/news.json"
ONCE = {"retries": {"attempts": 1}}
SECRET = "the seventh article is about tea"


@pytest.fixture(scope="module")
def podman_socket() -> Iterator[Path]:
    require_image()
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder, podman_service(Path(folder) / "p.sock") as socket:
        yield socket


def _submit(summary: str) -> Use:
    return Use(f"{OURS}submit_result", {"summary": summary, "evidence_url": "SHOP"})


def _browse() -> Use:
    return Use(f"{BROWSER}navigate", {"url": "SHOP"})


async def following(core: Core, chain_id: UUID) -> UUID:
    """The run that the first one's end has started."""
    query = select(TaskRun.id).where(TaskRun.chain_id == chain_id, TaskRun.id != chain_id)
    async with asyncio.timeout(30):
        while True:
            async with core.db.read() as session:
                found = await session.scalar(query)
            if found:
                return found
            await asyncio.sleep(0.05)


async def test_the_second_task_reads_the_first_ones_file_and_cannot_change_it(podman_socket: Path) -> None:
    script = (
        say(_browse()),
        say(Use("Bash", {"command": f'echo \'{{"seen": "{SECRET}"}}\' > news.json'})),
        say(Use(f"{OURS}save_file", {"path": "news.json", "caption": "The news"})),
        say(_submit("Ten articles")),
        say("Done."),
        say(Use("Bash", {"command": f"cat {PATH} {INPUTS}/result.json; touch {INPUTS}/mine || echo REFUSED"})),
        say(
            Use(f"{OURS}submit_result", {"summary": "Three trends"})
        ),  # it visits no page: what it read is its evidence
        say("Done."),
    )
    async with world(podman_socket, *script) as here, here.box.core() as core:
        await core.tasks.create(SHELL, TaskDraft("scrape", "Save the news to {output_file=news.json}", config=ONCE))
        await core.tasks.create(SHELL, TaskDraft("analyze", "Read {input_file} and find trends", config=ONCE))
        await core.dependencies.add(SHELL, "analyze", "scrape", values="input_file:@scrape/output_file")
        with here.box.serve():
            first = await end(core, (await core.runs.start(SHELL, "scrape")).run.id)
            assert first.run.status is RunStatus.COMPLETED, here.box.log()
            second = await end(core, await following(core, first.run.id))
        assert (second.run.status, second.run.result_summary) == (RunStatus.COMPLETED, "Three trends"), here.box.log()
        told = next(asked for asked in here.model.asked if PATH in asked.text() and "find trends" in asked.text())
        assert "news.json" in str(told.body["system"])
        read = "".join(str(result) for asked in here.model.asked for result in asked.last_tool_results())
        assert SECRET in read
        assert "Ten articles" in read
        assert "REFUSED" in read
        async with core.db.read() as session:
            summaries = [row.key for row in await session.scalars(select(DiscordMessage)) if row.key.startswith(KEY)]
        assert summaries == [f"{KEY}{first.run.id}"]
