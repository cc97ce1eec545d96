"""When the model takes the credential again, the doctor lets the queue go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pydantic import SecretStr

from ccdtasks.app import open_core
from ccdtasks.config import ClaudeConfig, Config, LoadedConfig, PathsConfig, PodmanConfig
from ccdtasks.core.facts import MODEL_AUTH, credential_fingerprint
from ccdtasks.demo.messages_api import MessagesApi
from ccdtasks.demo.scripted import reply_to
from ccdtasks.demo.shop import served
from ccdtasks.doctor import Finding, examine

KEY = "sk-ant-PLANTED"


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="ccd-") as root:
        yield Path(root)


async def _held_then_examined(folder: Path, accepted: str) -> tuple[Finding, bool]:
    async with served(MessagesApi(accepted, reply_to).app()) as port:
        claude = ClaudeConfig(api_key=SecretStr(KEY), base_url=f"http://127.0.0.1:{port}")
        podman = PodmanConfig(socket=str(folder / "none.sock"))
        config = Config(claude=claude, podman=podman, paths=PathsConfig(data_dir=folder))
        async with open_core(config) as core, core.db.write() as session:
            await core.facts.hold(session, MODEL_AUTH, "refused", credential_fingerprint(claude))
        findings = [finding async for finding in examine(LoadedConfig(config, None))]
        async with open_core(config) as core:
            held = MODEL_AUTH in await core.facts.holds()
    assert [finding.outcome for finding in findings if finding.check == "podman"] == ["fail"]
    (model,) = [finding for finding in findings if finding.check == "model"]
    return model, held


async def test_a_credential_that_works_again_releases_the_queue(folder: Path) -> None:
    finding, held = await _held_then_examined(folder, KEY)
    assert finding.outcome == "ok"
    assert "go on" in finding.text
    assert not held


async def test_one_that_is_still_refused_does_not(folder: Path) -> None:
    finding, held = await _held_then_examined(folder, "sk-ant-another")
    assert finding.outcome == "fail"
    assert held
