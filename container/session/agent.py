"""The Claude Code CLI: how it is started, spoken to and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from typing import Any

from session import prompt
from session.browser import PLAYWRIGHT_PORT, PROXY_PORT
from session.job import Job
from session.places import Places
from session.processes import CappedLog, started, stop_group

_LINE_LIMIT = 64 * 1024 * 1024  # a line holds whole screenshots
_LOGGED_LINE = 16_384
_MCP_NAME = "ccdtasks"


class Agent:
    """One process of the CLI at a time."""

    def __init__(
        self, job: Job, places: Places, env: Mapping[str, str], stream_log: CappedLog, errors: CappedLog
    ) -> None:
        self._job = job
        self._places = places
        self._env = env
        self._stream_log = stream_log
        self._errors = errors
        self._process: Process | None = None
        self._chatter: asyncio.Task[None] | None = None
        self._unheard = 0
        self.exit_code: int | None = None

    async def start(self, *, resume: bool, budget_usd: float | None) -> None:
        """Start the CLI; it speaks once a message was sent."""
        self._write_mcp_config()
        self._unheard = 0
        self._process = await asyncio.create_subprocess_exec(
            *command(self._job, self._places, resume, budget_usd),
            env={**self._env, **environment(self._job, self._places)},
            cwd=self._places.work, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=_LINE_LIMIT, start_new_session=True,
        )  # fmt: skip
        self._chatter = asyncio.create_task(self._errors.follow(started(self._process.stderr)))

    def say(self, text: str) -> None:
        """Give the agent a message; while it works, it reads it after its present tool call."""
        self._unheard += 1
        self._send({"type": "user", "message": {"role": "user", "content": text}})

    def heard(self) -> None:
        self._unheard = max(0, self._unheard - 1)

    @property
    def has_unheard(self) -> bool:
        """Whether a message is still waiting for the agent, which then goes on by itself."""
        return self._unheard > 0

    async def next_message(self) -> dict[str, Any] | None:
        """What the CLI says next; None when it has ended."""
        process = started(self._process)
        while True:
            try:
                line = await started(process.stdout).readline()
            except ValueError:
                continue  # longer than any message; readline dropped it
            if not line:
                self.exit_code = await process.wait()
                return None
            self._stream_log.write(line if len(line) <= _LOGGED_LINE else line[:_LOGGED_LINE] + b" [cut]\n")
            message = _parse(line)
            if message is not None:
                return message

    async def stop(self) -> None:
        """Interrupt what it does, let it save its conversation, and end it. Takes at most about 5 s."""
        process = self._process
        if process is None:
            return
        if process.returncode is None and process.stdin is not None:
            self._send({"type": "control_request", "request_id": "stop", "request": {"subtype": "interrupt"}})
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await process.wait()
        await stop_group(process, 1.5)
        self.exit_code = process.returncode

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _write_mcp_config(self) -> None:
        playwright = self._places.image / "node_modules/@playwright/mcp/cli.js"
        servers = {
            "playwright": {
                "type": "stdio", "command": "node", "alwaysLoad": True, "timeout": 180_000,
                "args": [
                    str(playwright), "--cdp-endpoint", f"http://127.0.0.1:{PLAYWRIGHT_PORT}", "--codegen", "none",
                    "--caps", "vision,pdf", "--output-dir", str(self._places.work / ".browser"),
                    "--output-max-size", "104857600",
                ],
            },
            _MCP_NAME: {
                "type": "stdio", "command": "socat", "alwaysLoad": True, "timeout": 90_000_000,
                "args": ["-", f"UNIX-CONNECT:{self._places.mcp_socket}"],
            },
        }  # fmt: skip
        (self._places.scratch / "mcp.json").write_text(json.dumps({"mcpServers": servers}))


def command(job: Job, places: Places, resume: bool, budget_usd: float | None) -> list[str]:
    """The CLI's command line."""
    argv = [
        str(places.image / "claude"), "-p", "--verbose", "--replay-user-messages",
        "--input-format", "stream-json", "--output-format", "stream-json",
        "--resume" if resume else "--session-id", job.claude_session_id,
        "--model", job.model,
        "--dangerously-skip-permissions",  # the container is the wall
        "--tools", "Bash,Read,Write,Edit",
        "--disallowedTools", "mcp__playwright__browser_run_code_unsafe,mcp__playwright__browser_close",
        "--mcp-config", str(places.scratch / "mcp.json"), "--strict-mcp-config",
        # Without this, settings that the agent or a download leaves in the working folder would be obeyed.
        "--setting-sources", "", "--settings", str(places.image / "claude-settings.json"), "--disable-slash-commands",
        "--append-system-prompt", prompt.system_prompt(job),
    ]  # fmt: skip
    if job.fallback_model:
        argv += ["--fallback-model", job.fallback_model]
    if job.max_turns:
        argv += ["--max-turns", str(job.max_turns)]
    if budget_usd is not None:
        argv += ["--max-budget-usd", f"{max(budget_usd, 0.01):.4f}"]
    return argv


def environment(job: Job, places: Places) -> dict[str, str]:
    """What the CLI needs beside the session's own environment."""
    kind = "ANTHROPIC_API_KEY" if job.credential_kind == "api_key" else "CLAUDE_CODE_OAUTH_TOKEN"
    proxy = f"http://127.0.0.1:{PROXY_PORT}"
    return {
        kind: job.credential_dummy,
        "ANTHROPIC_UNIX_SOCKET": str(places.model_socket),
        "ANTHROPIC_BASE_URL": "http://localhost",
        "CLAUDE_CONFIG_DIR": str(places.agent_state),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        # The first request must not leave before the tools are there.
        "MCP_CONNECTION_NONBLOCKING": "0",
        "MCP_CONNECT_TIMEOUT_MS": "60000",
        "MCP_TIMEOUT": "60000",
        "MCP_TOOL_TIMEOUT": "90000000",  # a person may take hours; we time it ourselves
        "MAX_MCP_OUTPUT_TOKENS": "25000",
        "ENABLE_TOOL_SEARCH": "false",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        "BASH_DEFAULT_TIMEOUT_MS": "120000",
        "BASH_MAX_TIMEOUT_MS": "600000",
        "API_TIMEOUT_MS": "600000",
        "ENABLE_PROMPT_CACHING_1H": "1",
        # For the shell and the programs it starts; the CLI itself uses the socket.
        "http_proxy": proxy, "https_proxy": proxy, "HTTP_PROXY": proxy, "HTTPS_PROXY": proxy,
        "no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost",
    }  # fmt: skip


def base_environment(job: Job, places: Places) -> dict[str, str]:
    """What every program of the session gets; nothing else of the container's environment is passed on."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(places.home),
        "LANG": "C.UTF-8",
        "LANGUAGE": job.locale.replace("-", "_"),
        "TZ": job.timezone,
        "TERM": "dumb",
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
    }


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
