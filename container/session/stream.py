"""Reads the CLI's stream-json output and tells it as events. Unknown types are ignored: updates bring new ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from session.events import EventLog
from session.steps import Steps

_SYNTHETIC = "<synthetic>"  # the model's name on messages that the CLI wrote itself, such as API errors


@dataclass(frozen=True)
class Ready:
    """The CLI has its tools and begins; `not_connected` names MCP servers that are missing."""

    not_connected: list[str]
    version: str


@dataclass(frozen=True)
class Retry:
    """The CLI asks the model again."""

    status: int | None
    attempt: int
    max_attempts: int


@dataclass(frozen=True)
class Heard:
    """A message we sent was taken up."""


@dataclass(frozen=True)
class TurnEnd:
    """The agent answered a message to its end, or could not."""

    is_error: bool
    subtype: str = ""
    terminal_reason: str | None = None
    api_error_status: int | None = None
    error: str | None = None  # the CLI's word for an API error: authentication_failed, rate_limit, server_error, ...
    text: str = ""
    num_turns: int = 0
    cost_usd: float = 0.0
    usage: dict[str, dict[str, int]] = field(default_factory=dict)
    reset_at: int | None = None  # epoch seconds: when a used-up limit ends
    retried_out: bool = False  # the CLI itself had asked as often as it does


Notice = Ready | Retry | Heard | TurnEnd


class Stream:
    """Feed it the CLI's messages in order."""

    def __init__(self, log: EventLog, steps: Steps) -> None:
        self._log = log
        self._steps = steps
        self._started = False
        self._error: str | None = None
        self._reset_at: int | None = None
        self._retried_out = False

    def take(self, message: dict[str, Any]) -> Notice | None:
        """Emit the events of one message; hand back what the session must act on."""
        match message.get("type"), message.get("subtype"):
            case "system", "init":
                return self._init(message)
            case "system", "api_retry":
                return self._retry(message)
            case "system", "compact_boundary":
                self._log.emit("warning", what="compacted", text="the agent's memory was full and was summed up")
            case "assistant", _:
                self._assistant(message)
            case "user", _:
                return self._user(message)
            case "rate_limit_event", _:
                self._rate_limit(message.get("rate_limit_info") or message)
            case "result", _:
                return self._result(message)
        return None

    def _init(self, message: dict[str, Any]) -> Ready:
        servers = {server["name"]: server["status"] for server in message.get("mcp_servers", [])}
        self._error, self._retried_out = None, False
        if not self._started:
            self._started = True
            self._log.emit(
                "agent_started",
                model=message.get("model"),
                tools=message.get("tools", []),
                mcp_servers=servers,
                claude_session_id=message.get("session_id"),
            )
        missing = [f"{name}: {status}" for name, status in servers.items() if status != "connected"]
        return Ready(missing, str(message.get("claude_code_version", "")))

    def _retry(self, message: dict[str, Any]) -> Retry:
        attempt, most = int(message.get("attempt", 0)), int(message.get("max_retries", 0))
        status = message.get("error_status")
        self._retried_out = attempt >= most
        delay_ms = round(message.get("retry_delay_ms") or 0)
        self._log.emit("api_retry", attempt=attempt, max_attempts=most, status=status, delay_ms=delay_ms)
        return Retry(status, attempt, most)

    def _assistant(self, message: dict[str, Any]) -> None:
        body = message.get("message", {})
        if message.get("error") or body.get("model") == _SYNTHETIC:
            self._error = message.get("error") or self._error
            return
        for block in body.get("content", []):
            if block.get("type") == "text" and block["text"].strip():
                self._log.emit("agent_text", text=block["text"])
            elif block.get("type") == "tool_use":
                arguments = block.get("input")
                self._steps.begin(block["id"], block["name"], arguments if isinstance(arguments, dict) else {})

    def _user(self, message: dict[str, Any]) -> Heard | None:
        if message.get("isReplay"):
            return Heard()
        content = message.get("message", {}).get("content")
        for block in content if isinstance(content, list) else []:
            if block.get("type") == "tool_result":
                failed = bool(block.get("is_error"))
                self._steps.end(block["tool_use_id"], _plain(block.get("content")) if failed else None)
        return None

    def _rate_limit(self, info: dict[str, Any]) -> None:
        if info.get("status") == "rejected":
            resets = info.get("resetsAt") or info.get("resets_at")
            self._reset_at = int(resets) if isinstance(resets, int | float) else None

    def _result(self, message: dict[str, Any]) -> TurnEnd:
        errors = [str(error) for error in message.get("errors") or []]
        return TurnEnd(
            is_error=bool(message.get("is_error")) or message.get("subtype") != "success",
            subtype=str(message.get("subtype", "")),
            terminal_reason=message.get("terminal_reason"),
            api_error_status=message.get("api_error_status"),
            error=self._error,
            text=str(message.get("result") or "; ".join(errors)),
            num_turns=int(message.get("num_turns") or 0),
            cost_usd=float(message.get("total_cost_usd") or 0),
            usage={model: _usage(used) for model, used in (message.get("modelUsage") or {}).items()},
            reset_at=self._reset_at,
            retried_out=self._retried_out,
        )


def _usage(used: dict[str, Any]) -> dict[str, int]:
    return {
        "input": int(used.get("inputTokens", 0)),
        "output": int(used.get("outputTokens", 0)),
        "cache_read": int(used.get("cacheReadInputTokens", 0)),
        "cache_write": int(used.get("cacheCreationInputTokens", 0)),
    }


def _plain(content: Any) -> str:
    """The texts of a tool result, without its pictures."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(block["text"] for block in blocks if block.get("type") == "text") or "failed"
