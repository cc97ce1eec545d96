"""`ccdtasks demo`, as somebody tries it who has nothing set up: the real container, browser and CLI."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web

from ccdtasks.demo.shop import served
from tests.cli.conftest import PROGRAM, Place, in_thread, new_place, place
from tests.doubles.podman import SESSION_IMAGE, require_image

pytestmark = pytest.mark.image
__all__ = ["new_place", "place"]


@pytest.fixture
def newcomer(place: Place) -> Place:
    """No configuration but the tests' image, and no Podman service to be found."""
    require_image()
    place.config.write_text(f'[podman]\nimage = "{SESSION_IMAGE}"\n')
    return place


def _containers(data_dir: Path) -> str:
    """The containers of the instance whose database lies in `data_dir`."""
    with closing(sqlite3.connect(data_dir / "ccdtasks.db")) as db:
        (instance,) = db.execute("SELECT value FROM instance_facts WHERE name = 'instance_id'").fetchone()
    command = ["podman", "ps", "--all", "--quiet", "--filter", f"label=ccdtasks.instance={instance}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_whole_run_ends_with_table_picture_and_results(newcomer: Place) -> None:
    done = newcomer.run("demo", TMPDIR=str(newcomer.root))
    assert done.code == 0, done.err
    assert "A script plays Claude here" in done.err
    assert done.out.count("✓ completed") == 2
    assert "Not told, by its rule: lowest_price < price_threshold does not hold." in done.out
    assert "↔ lowest_price: $59 → $56.50 (−4 %)" in done.out
    assert "lowest_price < price_threshold holds." in done.out
    assert "! Pocket Tune costs $56.50, less than $57.00." in done.out
    assert "The run completed, with evidence." in done.out
    told = [done.err.find(step) for step in ("starting the desktop", "Opening http://shop.demo", "Searching for headp")]
    assert -1 not in told, done.err
    assert told == sorted(told), "the steps are not told in their order"
    (folder,) = newcomer.root.glob("ccdtasks-demo-*")
    files = {path.name: path for path in folder.rglob("*") if path.is_file()}
    assert {"prices.csv", "offers.png", "final.png", "results.csv", "results.json", "chart.png"} <= set(files)
    named = re.findall(r"^(?:table|last page|results|chart) +(/\S+)$", done.out, re.MULTILINE)
    files = {Path(path).name: Path(path) for path in named}
    for name in ("prices.csv", "final.png", "results.json", "chart.png"):
        assert files[name].is_file()
    rows = list(csv.DictReader(files["prices.csv"].open()))
    assert len(rows) == 4
    result = json.loads(files["results.json"].read_text())
    assert result["values"]["lowest_price"]["number"] == float(rows[0]["price_usd"])
    assert [item["product"] for item in result["items"]] == [row["product"] for row in rows]
    assert files["final.png"].read_bytes().startswith(b"\x89PNG")
    assert files["final.png"].stat().st_size > 10_000, "the picture of the last page is blank"
    assert [path.name for path in folder.iterdir()] == ["files"], "more than the files of the run was left"


def test_json_says_the_same(newcomer: Place) -> None:
    shown = newcomer.run("demo", "--once", "--json", "--keep", TMPDIR=str(newcomer.root)).json()
    assert (shown["model"], shown["evidence"], shown["status"]) == ("scripted", True, "completed"), shown
    assert shown["final_url"].startswith("http://shop.demo:")
    assert shown["pages_loaded"] == 3
    assert all(Path(file["path"]).exists() for file in shown["files"])
    assert (Path(shown["folder"]) / "d" / "ccdtasks.db").exists()


async def test_a_run_that_fails_is_no_success(newcomer: Place) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        error = {"type": "permission_error", "message": "no"}
        return web.json_response({"type": "error", "error": error}, status=403)

    api = web.Application()
    api.router.add_post("/v1/messages", refuse)
    async with served(api) as port:
        newcomer.config.write_text(newcomer.config.read_text() + f'[claude]\nbase_url = "http://127.0.0.1:{port}"\n')
        environ = {"TMPDIR": str(newcomer.root), "ANTHROPIC_API_KEY": "sk-ant-nobody"}
        done = await in_thread(newcomer.run, "demo", "--json", **environ)
    shown = done.json()
    assert done.code == 1
    assert (shown["model"], shown["evidence"], shown["status"]) == ("real", False, "failed")
    assert shown["error"]


def test_stopped_from_the_keyboard_it_takes_its_container_away(newcomer: Place) -> None:
    environ = newcomer.environ | {"TMPDIR": str(newcomer.root)}
    with subprocess.Popen(
        [PROGRAM, "demo", "--keep"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if "running" in line or "Opening" in line:
                break
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=90)
    assert demo.returncode == 130, err
    assert "Stopped from the keyboard" in err
    (data_dir,) = newcomer.root.glob("ccdtasks-demo-*/d")
    assert _containers(data_dir) == ""
    assert list((data_dir / "runs").iterdir()) == []


def test_without_podman_it_says_what_to_install(newcomer: Place) -> None:
    shell_only = newcomer.root / "bin"
    shell_only.mkdir()
    (shell_only / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    done = newcomer.run("demo", PATH=str(shell_only), XDG_RUNTIME_DIR=str(newcomer.root))
    assert done.code == 8
    assert "not installed" in done.err
    assert os.linesep not in done.out
