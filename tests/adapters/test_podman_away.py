"""Podman that is away, silent or talks nonsense: always the same kind of error, always in bounded time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ccdtasks.adapters.podman import Podman, find_socket
from ccdtasks.errors import Unavailable
from tests.doubles.podman import misbehaving, refusing

CALLS: list[Callable[[Podman], Awaitable[object]]] = [
    lambda podman: podman.inspect("x"),
    lambda podman: podman.list("x"),
    lambda podman: podman.version(),
    lambda podman: podman.image("x"),
    lambda podman: podman.logs("x"),
    lambda podman: podman.start("x"),
    lambda podman: podman.stop("x"),
    lambda podman: podman.remove("x"),
]


async def _complaint(
    socket: Path, call: Callable[[Podman], Awaitable[object]], call_timeout_s: float = 20
) -> Unavailable:
    podman = Podman(str(socket), call_timeout_s=call_timeout_s)
    try:
        with pytest.raises(Unavailable) as caught:
            await call(podman)
        assert caught.value.part == "podman"
        return caught.value
    finally:
        await podman.close()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("how", ["fails", "drops", "nonsense", "hangs"])
async def test_every_call_ends(tmp_path: Path, how: str, call: Callable[[Podman], Awaitable[object]]) -> None:
    async with misbehaving(tmp_path / "p", how) as socket, asyncio.timeout(30):
        complaint = await _complaint(socket, call, 0.2 if how == "hangs" else 20)
    assert "Podman" in complaint.message
    assert complaint.hint


async def test_silence_is_called_silence(tmp_path: Path) -> None:
    async with misbehaving(tmp_path / "p", "hangs") as socket:
        assert "did not answer" in (await _complaint(socket, CALLS[0], 0.2)).message


async def test_what_podman_said_is_passed_on(tmp_path: Path) -> None:
    async with misbehaving(tmp_path / "p", "fails") as socket:
        assert "the storage is on fire" in (await _complaint(socket, CALLS[0])).message


async def test_a_missing_socket_says_how_to_start_it(tmp_path: Path) -> None:
    error = await _complaint(tmp_path / "p", CALLS[0])
    assert "is not there" in error.message
    assert "podman.socket" in error.hint


async def test_a_dead_socket_says_how_to_restart_it(tmp_path: Path) -> None:
    with refusing(tmp_path / "p") as socket:
        assert "Nobody answers" in (await _complaint(socket, CALLS[0])).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket")
async def test_a_foreign_socket_says_whose_fault_it_is(tmp_path: Path) -> None:
    with refusing(tmp_path / "p") as socket:
        socket.chmod(0)
        assert "may not use" in (await _complaint(socket, CALLS[0])).message


async def test_a_hanging_podman_does_not_hold_back_the_loop(tmp_path: Path) -> None:
    async with misbehaving(tmp_path / "p", "hangs") as socket:
        podman = Podman(str(socket), call_timeout_s=0.5)
        calls = [asyncio.create_task(podman.inspect("x")) for _ in range(30)]
        turns = 0
        while not calls[0].done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 100
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await podman.close()


def test_the_configured_socket_wins() -> None:
    assert find_socket("unix:///a/b.sock", {}) == "/a/b.sock"
    assert find_socket("/a/b.sock", {}) == "/a/b.sock"


def test_the_users_own_socket_comes_before_the_systems(tmp_path: Path) -> None:
    (tmp_path / "podman").mkdir()
    with refusing(tmp_path / "podman/podman.sock") as socket:
        assert find_socket(None, {"XDG_RUNTIME_DIR": str(tmp_path)}) == str(socket)
