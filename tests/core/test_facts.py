"""Facts that outlive the process, holds, the audit."""

from __future__ import annotations

from ccdtasks.app import open_core
from ccdtasks.config import ClaudeConfig, Config
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.facts import credential_fingerprint
from tests.clock import MoveableClock
from tests.people import ANN
from tests.stories import make_task


async def test_the_instance_keeps_its_id(config: Config, clock: MoveableClock) -> None:
    async with open_core(config, clock) as core:
        first = await core.facts.instance_id()
    async with open_core(config, clock) as core:
        assert await core.facts.instance_id() == first
        assert len(first) == 32


async def test_facts_are_written_over(core: Core) -> None:
    assert await core.facts.get("command_hash") is None
    await core.facts.set("command_hash", "a")
    await core.facts.set("command_hash", "b")
    assert await core.facts.get("command_hash") == "b"


async def test_a_hold_is_set_once(core: Core) -> None:
    async with core.db.write() as session:
        assert await core.facts.hold(session, "disk", "The disk is full.")
        assert not await core.facts.hold(session, "disk", "Still.")
    holds = await core.facts.holds()
    assert holds["disk"].message == "The disk is full."
    assert holds["disk"].since == core.clock.now()


def test_a_fingerprint_tells_keys_apart_and_gives_none_away() -> None:
    keys = [ClaudeConfig.model_validate({"api_key": f"sk-ant-api03-{letter * 40}"}) for letter in "ab"]
    prints = {credential_fingerprint(key) for key in (*keys, ClaudeConfig())}
    assert len(prints) == 3
    assert credential_fingerprint(keys[0]) == credential_fingerprint(keys[0])
    assert all(len(each) == 16 for each in prints)


async def test_the_audit_names_who_and_by_which_way(core: Core) -> None:
    task = await make_task(core)
    await core.tasks.delete(SHELL, task.task_name)
    entries = await core.audit.entries("task", task.id)
    assert sorted((entry.action, entry.actor_id, entry.via) for entry in entries) == [
        ("task.create", ANN.user_id, "discord"),
        ("task.delete", "shell", "shell"),
    ]
