"""Unix sockets that a container can open: bound at a path that may be left over from an earlier life."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from ccdtasks.errors import Conflict, Invalid

_MAX_PATH = 107  # sun_path of Linux less its final zero


def bind_socket(path: Path) -> socket.socket:
    """A listening socket at `path`, which everybody may connect to; a stale socket there is replaced.

    Mode 0666: the guest's user is a sub-uid of no power; the folder above the run folders is what keeps others out.
    """
    if len(os.fsencode(path)) > _MAX_PATH:
        raise Invalid(
            "data_dir", f"The socket path {path} is longer than {_MAX_PATH} bytes.", "Choose a shorter data_dir."
        )
    try:
        left = path.lstat().st_mode
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISSOCK(left):
            raise Conflict(f"{path} is in the way of a socket.", "Move it away.")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(128)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def socket_inode(path: Path) -> int:
    """What tells this socket file from a later one at the same path."""
    return path.stat().st_ino


def remove_socket(path: Path, inode: int) -> None:
    """Removes the socket file unless somebody else's lies at `path` by now."""
    with suppress(FileNotFoundError):
        if path.lstat().st_ino == inode:
            path.unlink()
