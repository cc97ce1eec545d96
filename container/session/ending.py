"""The last word: `guest/exit.json`, there only when it is whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from session.verdict import Ending

EXIT_CODES = {"completed": 0, "failed": 1, "stopped": 3}


def write_exit(guest: Path, session_id: str | None, ending: Ending, **facts: Any) -> None:
    """Write `exit.json` under a temporary name, sync it, and give it its name."""
    exit_ = {
        "version": 1,
        "session_id": session_id,
        "outcome": ending.outcome,
        "reason": ending.reason,
        "message": ending.message,
        **({"reset_at": ending.reset_at} if ending.reset_at else {}),
        **facts,
    }
    temporary = guest / "exit.json.tmp"
    with temporary.open("wb") as file:
        file.write(json.dumps(exit_, ensure_ascii=False, indent=1).encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, guest / "exit.json")
    folder = os.open(guest, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
