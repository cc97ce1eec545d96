"""docs/api.md lists every route of the API and no other, with what does the same: command, verb, call of the core."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ccdtasks.adapters.storage import LocalStore
from ccdtasks.cli.root import VERBS
from ccdtasks.core import Core
from ccdtasks.engine.keeping import Keeper
from ccdtasks.web.server import build
from tests.surface.repository import ROOT

_DOCUMENT = (ROOT / "docs/api.md").read_text()
_ROW = re.compile(r"^\| `(GET|POST) (/api/\S+)` \|(.*)\|$", re.MULTILINE)


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


async def test_every_route_of_the_api_is_documented_and_no_other(core: Core, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        app = build(core, Keeper(core, LocalStore(tmp_path), None, threads), {})
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api/") and route.method != "HEAD"
    }
    assert {(method, path) for method, path, _ in _ROW.findall(_DOCUMENT)} == routes


async def test_command_verb_and_call_of_each_route_exist(core: Core) -> None:
    commands = (ROOT / "docs/commands.md").read_text()  # which holds all commands and no other: tests/bot/test_tree.py
    for _, path, row in _ROW.findall(_DOCUMENT):
        _, command, verb, call = (cell.strip().strip("`") for cell in row.rsplit("|", 3))
        assert not command or f"`{command}" in commands, path
        assert not verb or verb.split()[0] in VERBS, path
        noun, act = call.split(".")
        assert callable(getattr(getattr(core, noun), act)), path
