"""What the doctor says of the web part, the key and the store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ccdtasks.adapters.storage import LocalStore
from ccdtasks.config import Config, ServerConfig, StorageConfig
from ccdtasks.core import Core
from ccdtasks.doctor.finding import Finding
from ccdtasks.doctor.outside import outside_findings, web
from ccdtasks.engine.keeping import Keeper
from ccdtasks.web import open_web
from tests.doubles.s3 import moody_s3, s3_server


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


async def _findings(core: Core) -> dict[str, Finding]:
    return {finding.check: finding async for finding in outside_findings(core)}


async def test_a_fresh_box_is_told_what_links_need(core: Core) -> None:
    found = await _findings(core)
    assert found["key"].outcome == "ok"
    assert found["store"].text == "The local folder takes files."
    assert found["web"].outcome == "warn"
    assert "public_url" in found["web"].remedy


async def test_a_key_that_others_read_is_a_failure(core: Core) -> None:
    path = core.config.paths.data_dir / "secret.key"
    path.write_bytes(bytes(32))
    path.chmod(0o644)
    finding = (await _findings(core))["key"]
    assert (finding.outcome, finding.remedy) == ("fail", f"chmod 600 {path}")


async def test_the_address_is_named_and_whether_it_answers(core: Core) -> None:
    with ThreadPoolExecutor(1) as threads:
        keeper = Keeper(core, LocalStore(core.config.paths.data_dir / "a"), None, threads)
        object.__setattr__(core.config.server, "port", 0)
        async with open_web(core, keeper, {}) as port:
            assert port is not None
            server = ServerConfig(port=port, public_url="https://tasks.example.com")
            there = await web(server)
    assert there.outcome == "ok"
    assert there.text == f"https://tasks.example.com leads to http://127.0.0.1:{port}, which answers."
    gone = await web(server)
    assert (gone.outcome, gone.text.endswith("answers when the service runs.")) == ("ok", True)


async def test_pages_without_https_in_a_network_are_warned_of() -> None:
    finding = await web(ServerConfig(host="0.0.0.0", port=9, public_url="http://box.lan:9"))
    assert finding.outcome == "warn"
    assert "read along" in finding.text


async def test_off_is_off() -> None:
    assert (await web(ServerConfig(enabled=False))).outcome == "ok"


class TestInABucket:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        storage = StorageConfig(
            kind="s3", bucket="runs", endpoint_url="http://127.0.0.1:9", access_key="k", secret_key="PLANTED"
        )
        return config.model_copy(update={"storage": storage})

    async def test_a_bucket_that_is_away_is_a_failure_without_the_key(self, core: Core) -> None:
        finding = (await _findings(core))["store"]
        assert finding.outcome == "fail"
        assert "The bucket runs cannot be used" in finding.text
        assert "PLANTED" not in str(finding)

    async def test_one_that_answers_is_good(self, core: Core) -> None:
        with s3_server() as url:
            async with moody_s3(url):
                object.__setattr__(core.config.storage, "endpoint_url", url)
                assert (await _findings(core))["store"].text == "The bucket runs takes files."
