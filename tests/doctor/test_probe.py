"""The probe in a real sealed container, and the whole doctor as a command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ccdtasks.adapters.podman import Podman
from ccdtasks.adapters.seccomp import HOST_PROFILE, write_session_profile
from ccdtasks.config import Config, PodmanConfig
from ccdtasks.demo.messages_api import MessagesApi
from ccdtasks.demo.scripted import reply_to
from ccdtasks.demo.shop import served
from ccdtasks.doctor.containers import probe
from tests.cli.conftest import Place, in_thread, new_place, place
from tests.doubles.podman import SESSION_IMAGE, podman_service, require_image

pytestmark = pytest.mark.image
__all__ = ["new_place", "place"]


@pytest.fixture
def scratch() -> Iterator[Path]:
    require_image()
    with TemporaryDirectory(prefix="ccd-") as folder:
        yield Path(folder)


@pytest.fixture
async def podman(scratch: Path) -> AsyncIterator[Podman]:
    with podman_service(scratch / "p.sock") as socket:
        client = Podman(str(socket))
        yield client
        await client.close()


def _config(**changes: object) -> Config:
    return Config(podman=PodmanConfig(image=SESSION_IMAGE, memory_mib=777, cpus=1.5, pids=333, **changes))


async def test_limits_and_seal_are_read_back_from_inside(podman: Podman, scratch: Path) -> None:
    write_session_profile(scratch / "s.json")
    report = await probe(podman, _config(), scratch / "s.json")
    assert report["limits"] == {"memory": 777 << 20, "pids": 333, "cpu": 1.5}
    assert (report["interfaces"], report["routes"], report["reached"]) == (["lo"], False, [])
    assert (report["capabilities"], report["no_new_privileges"], report["seccomp"]) == (0, True, 2)
    assert report["root_writable"] is False
    assert report["chromium"] == {"works": True, "said": ""}


async def test_a_profile_that_breaks_chromiums_sandbox_is_noticed(podman: Podman, scratch: Path) -> None:
    report = await probe(podman, _config(), HOST_PROFILE)
    assert report["chromium"]["works"] is False
    assert "ygote" in report["chromium"]["said"]


async def test_the_whole_doctor_finds_nothing_to_mend(place: Place) -> None:
    require_image()
    with podman_service(place.root / "p.sock") as socket:
        async with served(MessagesApi("sk-ant-PLANTED", reply_to).app()) as port:
            place.config.write_text(
                f'[paths]\ndata_dir = "{place.data_dir}"\n[podman]\nsocket = "{socket}"\nimage = "{SESSION_IMAGE}"\n'
                f'[claude]\napi_key = "sk-ant-PLANTED"\nbase_url = "http://127.0.0.1:{port}"\n'
            )
            shown = await in_thread(place.run, "doctor")
            report = (await in_thread(place.run, "doctor", "--json")).json()
            place.config.write_text(place.config.read_text().replace("PLANTED", "OTHER"))
            refused = await in_thread(place.run, "doctor")
    failed = [finding for finding in report["findings"] if finding["outcome"] == "fail"]
    assert (shown.code, failed, report["ok"]) == (0, [], True), shown.out
    checks = {finding["check"] for finding in report["findings"]}
    assert checks >= {"podman", "storage", "image", "limits", "network", "seal", "chromium", "model", "disk", "clock"}
    assert "✓ chromium" in shown.out
    assert "PLANTED" not in shown.out + shown.err
    assert refused.code == 1
    assert "✕ model     Claude refuses [claude] api_key (HTTP 401)" in refused.out
