"""Files the agent gives back: copied from its working folder into `out/`, whose size is limited."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

_RESERVED = {"final.png", "logs"}


class FileError(Exception):
    """A file cannot be given back; the message is for the agent."""


class OutFolder:
    """`out/`, filled up to `max_bytes`."""

    def __init__(self, out: Path, work: Path, max_bytes: int) -> None:
        self._out = out
        self._work = work
        self._left = max_bytes
        self._given: dict[Path, str] = {}  # where it came from -> its name below out/

    def give(self, name: str) -> tuple[str, int]:
        """Copy a file out; returns its path below `out/` and its size. A file given again replaces itself."""
        source = self._find(name)
        size = source.stat().st_size
        if size > self._left:
            raise FileError(f"{name!r} has {size} bytes; only {max(0, self._left)} bytes may still be given back")
        target = self._given.get(source) or self._free_name(source.name)
        shutil.copyfile(source, self._out / target)
        self._given[source] = target
        self._left -= size
        return target, size

    def rescue(self) -> list[str]:
        """Copy out what a session that broke had gathered: the visible files at the top of the working folder."""
        rescued = []
        for path in sorted(self._work.iterdir()):
            known = path.resolve() in self._given
            if known or path.name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            try:
                rescued.append(self.give(path.name)[0])
            except (FileError, OSError):
                continue
        return rescued

    def _find(self, name: str) -> Path:
        if not isinstance(name, str) or not name or "\0" in name:
            raise FileError("a file is named by its path, as text")
        path = (self._work / name).resolve()
        if not path.is_relative_to(self._work.resolve()):
            raise FileError(f"{name!r} is not in the working folder {self._work}; copy it there first")
        try:
            mode = os.stat(path).st_mode
        except OSError:
            raise FileError(f"there is no file {name!r} in {self._work}; {self._what_is_there()}") from None
        if not stat.S_ISREG(mode):
            raise FileError(f"{name!r} is not a file")
        return path

    def _what_is_there(self) -> str:
        names = sorted(entry.name for entry in self._work.iterdir() if not entry.name.startswith("."))[:20]
        return f"it holds: {', '.join(names)}" if names else "it is empty"

    def _free_name(self, name: str) -> str:
        stem, suffix = os.path.splitext(name)
        candidate, n = name, 1
        while candidate in _RESERVED or (self._out / candidate).exists():
            n += 1
            candidate = f"{stem}-{n}{suffix}"
        return candidate
