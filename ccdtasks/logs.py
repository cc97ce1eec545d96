"""The log on standard error: one line an entry, as text or as JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime

from ccdtasks.config import LogConfig

_NOISY = (
    *("aiohttp.access", "aiosqlite", "apscheduler", "asyncio", "boto3", "botocore"),
    *("discord", "podman", "s3transfer", "urllib3"),
)


def set_up_log(config: LogConfig) -> None:
    """Sends the log of this process to standard error. Libraries speak from "warning" on, their news is not ours."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if config.format == "json" else _TextLines())
    logging.basicConfig(level=config.level.upper(), handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    logging.getLogger("aiohttp.server").addFilter(_is_worth_an_entry)


def _is_worth_an_entry(record: logging.LogRecord) -> bool:
    """Not what cannot be read as HTTP: a guest or a stranger would fill the log with tracebacks of it."""
    from aiohttp.http_exceptions import HttpProcessingError  # noqa: PLC0415  who logs this has loaded it

    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


class _TextLines(logging.Formatter):
    """`warning ccdtasks.engine.session: words`, with the time where the journal does not add it."""

    def __init__(self) -> None:
        moment = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
        super().__init__(f"{moment}%(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0]:
            entry["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(entry, ensure_ascii=False)
