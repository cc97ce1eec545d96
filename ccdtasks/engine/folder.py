"""Run folders: made before a container, removed after it."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccdtasks.engine.guest import GuestFolder
from ccdtasks.errors import Invalid, Unavailable
from ccdtasks.times import size_text

_SOCKET_PATH_MAX = 107  # bytes in Linux' sun_path, less its final zero
_LONGEST = "/0123456789ab/guest/control.sock"
_NAME = re.compile("[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One session's folder; `docs/run-folder.md` says what lies where."""

    path: Path

    @property
    def host(self) -> Path:
        """Ours; read-only inside."""
        return self.path / "host"

    @property
    def guest(self) -> GuestFolder:
        """The container's; hostile."""
        return GuestFolder(self.path / "guest")

    @property
    def mark(self) -> Path:
        """Names the instance that the folder belongs to; made before and removed after anything else in it."""
        return self.path / "instance"

    @property
    def model_word(self) -> Path:
        """What the model's API said last, for a process that takes the session up again."""
        return self.path / "model.json"

    @property
    def model_socket(self) -> Path:
        """Where the model gateway of this session listens."""
        return self.host / "model.sock"

    @property
    def egress_socket(self) -> Path:
        """Where the egress gateway of this session listens."""
        return self.host / "egress.sock"


class RunFolders:
    """All run folders of an instance, below `<data_dir>/runs`.

    `reserve_mib`: what must be free on the disk before another is made.
    """

    def __init__(self, root: Path, reserve_mib: int, instance_id: str) -> None:
        self.root = root
        self._reserve_bytes = reserve_mib << 20
        self._instance_id = instance_id

    def prepare(self) -> None:
        """Makes the root, which only we may enter. Raises `Invalid` when its path is too long for sockets below it."""
        if len(os.fsencode(self.root)) + len(_LONGEST) > _SOCKET_PATH_MAX:
            raise Invalid(
                "paths.data_dir",
                f"The path {self.root} is too long: sockets below it would have more than {_SOCKET_PATH_MAX} bytes.",
                f"Use a folder of at most {_SOCKET_PATH_MAX - len(_LONGEST) - len('/runs')} bytes.",
            )
        with _disk_errors(self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)

    def folder(self, name: str) -> RunFolder:
        """The folder of that name, which may be absent."""
        return RunFolder(self.root / name)

    def create(self, name: str, job: Mapping[str, Any]) -> RunFolder:
        """Makes the folder with its job; one that a crash left half made is completed. Raises `Unavailable("disk")`."""
        folder = self.folder(name)
        with _disk_errors(self.root):
            free_bytes = shutil.disk_usage(self.root).free
            if free_bytes < self._reserve_bytes:
                raise _disk_full(self.root, f"only {size_text(free_bytes)} are free")
            folder.path.mkdir(mode=0o700, exist_ok=True)
            folder.mark.write_text(self._instance_id)
            for part, mode in ((folder.host, 0o755), (folder.host / "inputs", 0o755), (folder.guest.path, 0o777)):
                part.mkdir(exist_ok=True)
                part.chmod(mode)  # whatever the umask is
            write_whole(folder.host / "job.json", json.dumps(job, ensure_ascii=False, indent=1))
        return folder

    def names(self) -> list[str]:
        """The names of all folders of this instance that exist; whatever else lies there is none of ours."""
        return sorted(name for name in os.listdir(self.root) if self._is_ours(name))

    def remove(self, name: str) -> bool:
        """Removes a folder; False when some of what the guest left resists, because another user owns it (rootless)."""
        folder = self.folder(name)
        for part in (folder.guest.path, folder.host, folder.model_word):
            _remove_tree(part)
            if os.path.lexists(part):
                return False
        _remove_tree(folder.path)
        return not os.path.lexists(folder.path)

    def close_sockets(self, name: str) -> bool:
        """Removes the sockets that an earlier life left in the folder of a session that is over; False without any."""
        folder, found = self.folder(name), False
        for path in (folder.model_socket, folder.egress_socket):
            with suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink()
                    found = True
        return found

    def _is_ours(self, name: str) -> bool:
        folder = self.folder(name)
        if not _NAME.fullmatch(name) or folder.path.is_symlink() or not folder.path.is_dir():
            return False
        try:
            return folder.mark.read_text() == self._instance_id
        except FileNotFoundError:
            return not os.listdir(folder.path)  # a crash came between the folder and its mark
        except (OSError, ValueError):
            return False


class _disk_errors:  # noqa: N801  reads as what it is: `with _disk_errors(path)`
    """Says the operating system's refusals about our own disk in our words."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(self._path, "nothing more can be written") from error
        raise Unavailable(
            "disk",
            f"The folder {self._path} cannot be written: {error.strerror}.",
            "Check its owner and that the disk is not mounted read-only.",
        ) from error


def _disk_full(path: Path, how: str) -> Unavailable:
    return Unavailable("disk", f"The disk of {path} is full: {how}.", "Make room there, then start the run again.")


def _remove_tree(path: Path) -> None:
    """Removes what can be removed. Not `shutil.rmtree`: folders a thousand deep, which any guest can make, break it."""
    command = ["/bin/rm", "--recursive", "--force", "--one-file-system", "--", str(path)]  # follows no link
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def write_whole(path: Path, text: str) -> None:
    """Writes a file of ours, synced; after a crash it is the old one or the new one."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
