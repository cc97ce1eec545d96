"""What a user gets who has no checkout: the wheel, and one file made from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ccdtasks
from ccdtasks.adapters.image import content_hash, find_recipe
from tests.surface.repository import ROOT, files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what the repository holds, not from what happens to lie about in this folder."""
    checkout, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for file in files():
        target = checkout / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    command = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(out), str(checkout))
    _run(sys.executable, *command)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(command, env={**os.environ, **environment}, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _python(code: str, installed: Path) -> str:
    """Runs in a process that sees the wheel's content instead of the checkout."""
    return _run(sys.executable, "-P", "-c", code, PYTHONPATH=str(installed), PYTHONDONTWRITEBYTECODE="1")


def test_holds_all_that_runs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    places = {"ccdtasks": "ccdtasks", "container": "ccdtasks/_container", "systemd": "ccdtasks/_systemd"}
    expected = {
        f"{place}/{file.relative_to(ROOT / folder)}" for folder, place in places.items() for file in files(folder)
    } | {"ccdtasks/_config.example.toml"}
    assert held == expected


def test_finds_its_own_recipe_of_the_image(installed: Path) -> None:
    code = "from ccdtasks.adapters.image import *; print(find_recipe()); print(content_hash(find_recipe()))"
    folder, digest = _python(code, installed).splitlines()
    assert Path(folder) == installed / "ccdtasks/_container"
    assert digest == content_hash(find_recipe())


def test_migrates_a_new_database(installed: Path, tmp_path: Path) -> None:
    code = f"""
import asyncio
from pathlib import Path
from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.config.tables import PathsConfig

async def main():
    async with open_core(Config(paths=PathsConfig(data_dir=Path({str(tmp_path)!r})))) as core:
        print(type(core).__module__)

asyncio.run(main())
"""
    assert _python(code, installed).startswith("ccdtasks.")


@pytest.mark.slow
def test_runs_as_one_file(wheel: Path, tmp_path: Path) -> None:
    site, constraints, program = tmp_path / "site", tmp_path / "constraints.txt", tmp_path / "ccdtasks.pyz"
    lock = (ROOT / "tests/requirements.lock").read_text()
    constraints.write_text("\n".join(line.split(" \\")[0] for line in lock.splitlines() if line[:1].isalnum()))
    _run(sys.executable, "-m", "pip", "install", "-q", "--target", site, "-c", constraints, wheel)
    _run(Path(sys.executable).with_name("shiv"), "-c", "ccdtasks", "-o", program, "--site-packages", site)
    assert ccdtasks.__version__ in _run(sys.executable, program, "--version", SHIV_ROOT=str(tmp_path / "root"))
