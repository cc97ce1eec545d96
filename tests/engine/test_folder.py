"""Run folders: who may enter, and how a disk that refuses is told."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from ccdtasks.engine.folder import RunFolders
from ccdtasks.errors import Invalid, Unavailable
from ccdtasks.gateways.sockets import bind_socket

OURS, THEIRS = "1" * 32, "2" * 32
_NOBODY = 65534


@pytest.fixture
def folders(short_dir: Path) -> RunFolders:
    folders = RunFolders(short_dir / "runs", 1, OURS)
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
        RunFolders(tmp_path / ("x" * 90), 1, OURS).prepare()


def test_a_full_disk_is_found_before_anything_is_made(short_dir: Path) -> None:
    folders = RunFolders(short_dir / "runs", 1 << 40, OURS)
    folders.prepare()
    with pytest.raises(Unavailable, match="is full") as caught:
        folders.create("0123456789ab", {})
    assert caught.value.part == "disk"
    assert folders.names() == []


def test_a_disk_that_refuses_is_named(short_dir: Path) -> None:
    (short_dir / "runs").touch()
    with pytest.raises(Unavailable) as caught:
        RunFolders(short_dir / "runs", 1, OURS).prepare()
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


def test_folders_a_thousand_deep_are_removed(folders: RunFolders) -> None:
    folder = folders.create("0123456789ab", {})
    top = deepest = os.open(folder.guest.path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(2 * sys.getrecursionlimit()):
        os.mkdir("d", dir_fd=deepest)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=deepest)
        if deepest != top:
            os.close(deepest)
        deepest = below
    os.close(deepest)
    os.close(top)

    assert folders.remove("0123456789ab")
    assert folders.names() == []


def test_whatever_else_lies_there_is_none_of_ours(folders: RunFolders, short_dir: Path) -> None:
    """Notes of a person, another instance's run, a link that leads out; half a folder of ours is ours."""
    ours = folders.create("0123456789ab", {})
    RunFolders(folders.root, 1, THEIRS).create("ba9876543210", {})
    (folders.root / "my notes").mkdir()
    (folders.root / "abcdefabcdef").mkdir()
    (folders.root / "abcdefabcdef/letter.txt").touch()
    (folders.root / "0000000000ff").symlink_to(ours.path)
    (folders.root / "00000000000f").touch()
    (folders.root / "aaaaaaaaaaaa").mkdir()
    assert folders.names() == ["0123456789ab", "aaaaaaaaaaaa"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can play two users")
def test_a_folder_that_resists_stays_ours(folders: RunFolders, short_dir: Path) -> None:
    """Rootless, what the guest left belongs to another user; the mark goes last, so that a later sweep knows it."""
    folder = folders.create("0123456789ab", {})
    (folder.guest.path / "theirs").mkdir()
    (folder.guest.path / "theirs/kept").touch()
    for ours in (short_dir, folders.root, folder.path, folder.host, folder.guest.path):
        os.chown(ours, _NOBODY, _NOBODY)
    os.seteuid(_NOBODY)
    try:
        assert not folders.remove(folder.path.name)
    finally:
        os.seteuid(0)
    assert folders.names() == [folder.path.name]
    assert folders.remove(folder.path.name)


def test_sockets_of_an_earlier_life_are_closed(folders: RunFolders) -> None:
    folder = folders.create("0123456789ab", {})
    assert not folders.close_sockets("0123456789ab")
    bind_socket(folder.model_socket).close()
    folder.egress_socket.touch()
    assert folders.close_sockets("0123456789ab")
    assert not folder.model_socket.exists()
    assert folder.egress_socket.exists()  # no socket, so none of ours
    assert not folders.close_sockets("absent")
