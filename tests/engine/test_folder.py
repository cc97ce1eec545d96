"""Run folders: who may enter, and how a disk that refuses is told."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from ccdtasks.engine.folder import RunFolders
from ccdtasks.errors import Invalid, Unavailable


@pytest.fixture
def folders(short_dir: Path) -> RunFolders:
    folders = RunFolders(short_dir / "runs", 1)
    folders.prepare()
    return folders


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_enters_and_the_guest_writes_its_half_alone(folders: RunFolders) -> None:
    umask = os.umask(0o077)
    try:
        folder = folders.create("0123456789ab", {"version": 1})
    finally:
        os.umask(umask)
    assert _mode(folders.root) == 0o700
    assert _mode(folder.path) == 0o700
    assert _mode(folder.host) == 0o755
    assert _mode(folder.guest.path) == 0o777
    assert _mode(folder.host / "job.json") == 0o644
    assert json.loads((folder.host / "job.json").read_text()) == {"version": 1}


def test_making_it_again_completes_it(folders: RunFolders) -> None:
    folders.create("0123456789ab", {"a": 1})
    (folders.root / "0123456789ab/guest/x").touch()
    folders.create("0123456789ab", {"a": 1})
    assert (folders.root / "0123456789ab/guest/x").exists()


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="too long"):
        RunFolders(tmp_path / ("x" * 90), 1).prepare()


def test_a_full_disk_is_found_before_anything_is_made(short_dir: Path) -> None:
    folders = RunFolders(short_dir / "runs", 1 << 40)
    folders.prepare()
    with pytest.raises(Unavailable, match="is full") as caught:
        folders.create("0123456789ab", {})
    assert caught.value.part == "disk"
    assert folders.names() == []


def test_a_disk_that_refuses_is_named(short_dir: Path) -> None:
    (short_dir / "runs").touch()
    with pytest.raises(Unavailable) as caught:
        RunFolders(short_dir / "runs", 1).prepare()
    assert str(short_dir / "runs") in caught.value.message


def test_removing_follows_no_link(folders: RunFolders, short_dir: Path) -> None:
    (short_dir / "precious").mkdir()
    (short_dir / "precious/file").touch()
    folder = folders.create("0123456789ab", {})
    (folder.guest.path / "out").symlink_to(short_dir / "precious")
    assert folders.remove("0123456789ab")
    assert folders.names() == []
    assert (short_dir / "precious/file").exists()
    assert folders.remove("absent")
