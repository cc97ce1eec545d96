"""A guest that plants traps in its folder harms nothing and fools nobody."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from ccdtasks.engine.control import SessionControl
from ccdtasks.engine.guest import GuestFolder, Trap, parse_object, printable
from ccdtasks.errors import Unavailable

NOBODY: frozenset[int] = frozenset()


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("the host's secret")
    (tmp_path / "guest").mkdir()
    return tmp_path / "guest"


def test_reads_a_plain_file(guest: Path) -> None:
    (guest / "out").mkdir()
    (guest / "out/a.csv").write_bytes(b"1,2")
    assert GuestFolder(guest).read("out/a.csv", 3) == b"1,2"


def test_a_file_over_the_limit_is_refused(guest: Path) -> None:
    (guest / "a").write_bytes(b"1234")
    with pytest.raises(Trap, match="larger than 3 bytes"):
        GuestFolder(guest).read("a", 3)


def test_a_link_to_the_hosts_files_is_not_followed(guest: Path) -> None:
    (guest / "exit.json").symlink_to(guest.parent / "secret.txt")
    (guest / "out").symlink_to(guest.parent)
    folder = GuestFolder(guest)
    for name in ("exit.json", "out/secret.txt"):
        with pytest.raises(Trap):
            folder.read(name, 1000)
    assert not folder.exists("exit.json")
    assert folder.files("out", 100).files == ()


@pytest.mark.parametrize(
    "name", ["../secret.txt", "/etc/passwd", "a/../../secret.txt", "", "a//b", ".", "a\0b", "x/" * 40 + "x"]
)
def test_no_name_leads_out(guest: Path, name: str) -> None:
    with pytest.raises(Trap):
        GuestFolder(guest).read(name, 1000)


def test_a_pipe_does_not_hang_the_reader(guest: Path) -> None:
    os.mkfifo(guest / "exit.json")
    with pytest.raises(Trap, match="not a regular file"):
        GuestFolder(guest).read("exit.json", 1000)


def test_a_folder_in_the_place_of_a_file_is_a_trap(guest: Path) -> None:
    (guest / "exit.json").mkdir()
    with pytest.raises(Trap):
        GuestFolder(guest).read("exit.json", 1000)


def test_the_walk_finds_regular_files_only(guest: Path) -> None:
    (guest / "out/logs").mkdir(parents=True)
    (guest / "out/b.txt").write_text("b")
    (guest / "out/logs/a.log").write_text("aa")
    (guest / "out/link").symlink_to(guest.parent / "secret.txt")
    (guest / "out/up").symlink_to(guest.parent)
    os.mkfifo(guest / "out/pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(guest / "out/sock"))
    listing = GuestFolder(guest).files("out", 100)
    assert [(file.path, file.size_bytes) for file in listing.files] == [("out/b.txt", 1), ("out/logs/a.log", 2)]
    assert not listing.is_cut


def test_the_walk_stops_at_its_limits(guest: Path) -> None:
    (guest / "out").mkdir()
    for number in range(5):
        (guest / f"out/{number}").touch()
    listing = GuestFolder(guest).files("out", 3)
    assert len(listing.files) == 3
    assert listing.is_cut
    deep = guest / "deep" / Path(*["d"] * 60)
    deep.mkdir(parents=True)
    (deep / "x").touch()
    assert GuestFolder(guest).files("deep", 3).is_cut


def test_a_missing_folder_is_empty(guest: Path) -> None:
    assert GuestFolder(guest).files("out", 3).files == ()


def test_used_bytes_counts_what_lies_on_the_disk(guest: Path) -> None:
    (guest / "a").write_bytes(b"x" * 100_000)
    with (guest / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    used = GuestFolder(guest).used_bytes()
    assert 100_000 <= used < 1_000_000


def test_too_many_entries_cannot_be_counted(guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccdtasks.engine.guest._ENTRIES_MAX", 10)
    for number in range(11):
        (guest / str(number)).touch()
    with pytest.raises(Trap, match="too many"):
        GuestFolder(guest).used_bytes()


async def test_a_link_in_the_place_of_a_socket_is_not_followed(guest: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(guest.parent / "podman.sock"))
        listener.listen()
        (guest / "vnc.sock").symlink_to(guest.parent / "podman.sock")
        with pytest.raises(Trap):
            GuestFolder(guest).open_socket("vnc.sock")


async def test_a_file_in_the_place_of_a_socket_is_a_trap(guest: Path) -> None:
    (guest / "vnc.sock").touch()
    with pytest.raises(Trap, match="not a socket"):
        GuestFolder(guest).open_socket("vnc.sock")


async def test_a_socket_of_the_host_itself_is_refused(guest: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(guest / "vnc.sock"))
        listener.listen()
        with pytest.raises(Trap, match="somebody else"):
            await GuestFolder(guest).open_socket("vnc.sock").connect(refuse_uids=frozenset({os.geteuid()}))


async def _answering(guest: Path, answer: bytes) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(serve, str(guest / "control.sock"))


async def test_asks_the_session(guest: Path) -> None:
    async with await _answering(guest, b'{"id": 1, "ok": true, "seq": 7}\n'):
        assert await SessionControl(GuestFolder(guest), NOBODY).ping() == 7


@pytest.mark.parametrize(
    "answer", [b"", b"no json\n", b"[1]\n", b'{"ok": false, "error": "no"}\n', b"x" * 200_000 + b"\n"]
)
async def test_a_session_that_answers_nonsense_does_not_answer(guest: Path, answer: bytes) -> None:
    async with await _answering(guest, answer):
        with pytest.raises(Unavailable) as caught:
            await SessionControl(GuestFolder(guest), NOBODY).ping()
    assert caught.value.part == "session"


async def test_no_socket_is_no_answer(guest: Path) -> None:
    with pytest.raises(Unavailable):
        await SessionControl(GuestFolder(guest), NOBODY).stop("somebody")


def test_json_is_made_fit_for_every_database() -> None:
    text = b'{"a\\u0000": "x\\u0000y", "b": 1e999, "c": NaN, "d": "\\ud800", "e": [{"f": "\\u0000"}]}'
    assert parse_object(text) == {"a": "xy", "b": None, "c": None, "d": "?", "e": [{"f": ""}]}


@pytest.mark.parametrize(
    "text",
    [
        b"[1]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"a": ' * 5000 + b"1" + b"}" * 5000,
        b"1" * 5000,
        b'{"a": [' + b"[]," * 1_000_000 + b"1]}",  # small to write, large in memory
    ],
)
def test_what_is_no_object_is_a_trap(text: bytes) -> None:
    with pytest.raises(Trap):
        parse_object(text)


def test_printable_moves_no_cursor() -> None:
    assert printable("a\x1b[2Jb\u202ec\n") == "a�[2Jb�c�"
