"""Pictures drawn by short-lived processes: the drawing library needs 60 MB and a second, and gives both back."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccdtasks.errors import Unavailable

_LIMIT_S = 60.0
_BYTES_MAX = 8 << 20


class Painter:
    """Draws one picture at a time. `cache`: a folder of ours where the library may keep its list of fonts."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._turn = asyncio.Semaphore(1)

    async def draw(self, program: str, data: Mapping[str, Any]) -> bytes:
        """The PNG that `program`, a module of this package, makes of `data`. Raises `Unavailable("picture")`."""
        async with self._turn:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment(),
            )
            try:
                async with asyncio.timeout(_LIMIT_S):
                    picture, said = await process.communicate(json.dumps(data).encode())
            except TimeoutError:
                raise Unavailable("picture", "The picture could not be drawn in time.") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode != 0 or not picture.startswith(b"\x89PNG") or len(picture) > _BYTES_MAX:
            last = said.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise Unavailable("picture", f"The picture could not be drawn: {last[0][:200]}")
        return picture

    def _environment(self) -> dict[str, str]:
        """As ours, so that the package is found wherever it is installed, but without our secrets."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CCDTASKS_")}
        kept.pop("ANTHROPIC_API_KEY", None)
        return kept | {
            "MPLCONFIGDIR": str(self._cache),
            "MPLBACKEND": "agg",
            "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        }
