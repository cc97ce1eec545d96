"""Counts tokens while a model's answer streams by, and keeps a session's account.

The API says what the input cost in `message_start` and what the output cost in `message_delta`, at the end. In between
the output is estimated from its text, so that a budget can stop a long answer; the exact number replaces the estimate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ccdtasks.gateways.prices import PriceTable, Tokens

_CHARACTERS_PER_TOKEN = 4  # rather too many: an estimate must not end a run that has money left
_TEXTS = ("text", "thinking", "partial_json")
_MAX_LINE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and dollars of one model. `input_tokens` are those that no cache held."""

    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    requests: int = 0

    def __add__(self, other: Usage) -> Usage:
        return self._combine(other, 1)

    def __sub__(self, other: Usage) -> Usage:
        return self._combine(other, -1)

    def _combine(self, other: Usage, sign: int) -> Usage:
        return Usage(
            self.model,
            self.input_tokens + sign * other.input_tokens,
            self.output_tokens + sign * other.output_tokens,
            self.cache_read_tokens + sign * other.cache_read_tokens,
            self.cache_write_tokens + sign * other.cache_write_tokens,
            self.cost_usd + sign * other.cost_usd,
            self.requests + sign * other.requests,
        )


class Meter:
    """Reads one answer as it passes."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.started = False  # the input's cost is known
        self.complete = False  # the output's, too
        self.tail_bytes = 0  # of an event that is not complete yet
        self._usage: dict[str, object] = {}
        self._characters = 0
        self._line = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Takes a piece of an event stream, cut anywhere."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._line += chunk[start:end]
            self.tail_bytes += end + 1 - start
            if not self._line.strip():
                self.tail_bytes = 0
            elif self._line.startswith(b"data:"):
                self._read_event(bytes(self._line[5:]))
            self._line.clear()
            start = end + 1
        self.tail_bytes += len(chunk) - start
        if len(self._line) < _MAX_LINE_BYTES:  # no event with numbers in it is longer
            self._line += chunk[start:]

    def read_whole(self, body: bytes) -> None:
        """Takes an answer that was not streamed."""
        message = _json_object(body)
        self._take(message.get("usage"), final=True)

    def tokens(self) -> Tokens:
        """The best numbers so far."""
        written = _number(self._usage, "cache_creation_input_tokens")
        hour = min(written, _number(self._usage.get("cache_creation"), "ephemeral_1h_input_tokens"))
        output = _number(self._usage, "output_tokens")
        return Tokens(
            input=_number(self._usage, "input_tokens"),
            output=output if self.complete else max(output, self._characters // _CHARACTERS_PER_TOKEN),
            cache_read=_number(self._usage, "cache_read_input_tokens"),
            cache_write_5m=written - hour,
            cache_write_1h=hour,
            web_searches=_number(self._usage.get("server_tool_use"), "web_search_requests"),
        )

    def _read_event(self, data: bytes) -> None:
        event = _json_object(data)
        match event.get("type"):
            case "message_start":
                message = event.get("message")
                self._take(message.get("usage") if isinstance(message, dict) else None, final=False)
            case "message_delta":
                self._take(event.get("usage"), final=True)
            case "content_block_delta":
                delta = event.get("delta")
                texts = [delta.get(name) for name in _TEXTS] if isinstance(delta, dict) else []
                self._characters += sum(len(text) for text in texts if isinstance(text, str))

    def _take(self, usage: object, *, final: bool) -> None:
        """Numbers are running totals, so a later one replaces an earlier one."""
        if isinstance(usage, dict):
            self._usage.update({name: value for name, value in usage.items() if value is not None})
            self.started = True
            self.complete = final


class Account:
    """What one session has used: settled, and still flowing.

    `spent_usd` begins at what earlier attempts spent. `on_usage` hears of increments: once when the input of a request
    is known, and once at its end, so that a crash loses little; their sum is `totals`.
    """

    def __init__(self, prices: PriceTable, spent_usd: Decimal, on_usage: Callable[[Usage], None]) -> None:
        self.totals: dict[str, Usage] = {}
        self._prices = prices
        self._spent_before_usd = spent_usd
        self._on_usage = on_usage
        self._flowing: dict[Meter, Usage] = {}  # -> what is settled of it

    def open(self, model: str) -> Meter:
        """A meter for a request that is sent now."""
        meter = Meter(model)
        self._flowing[meter] = Usage(model)
        return meter

    def note(self, meter: Meter) -> None:
        """Settles the input of a request as soon as it is known."""
        if meter.started and not self._flowing[meter].requests:
            self._settle(meter)

    def close(self, meter: Meter) -> None:
        """Settles what a request used, however it ended. Safe to call twice."""
        if meter in self._flowing:
            if meter.started:
                self._settle(meter)
            del self._flowing[meter]

    @property
    def spent_usd(self) -> Decimal:
        """Dollars so far, answers that still flow included."""
        settled = sum((usage.cost_usd for usage in self.totals.values()), self._spent_before_usd)
        return settled + sum(
            (self._usage_of(meter).cost_usd - done.cost_usd for meter, done in self._flowing.items()), Decimal(0)
        )

    @property
    def used_usd(self) -> Decimal:
        """Dollars since this account was opened."""
        return self.spent_usd - self._spent_before_usd

    def _settle(self, meter: Meter) -> None:
        usage = self._usage_of(meter)
        more = usage - self._flowing[meter]
        self._flowing[meter] = usage
        self.totals[meter.model] = self.totals.get(meter.model, Usage(meter.model)) + more
        self._on_usage(more)

    def _usage_of(self, meter: Meter) -> Usage:
        tokens = meter.tokens()
        return Usage(
            model=meter.model,
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cache_read_tokens=tokens.cache_read,
            cache_write_tokens=tokens.cache_write_5m + tokens.cache_write_1h,
            cost_usd=self._prices.cost_usd(meter.model, tokens),
            requests=1,
        )


def _json_object(data: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _number(numbers: object, name: str) -> int:
    value = numbers.get(name) if isinstance(numbers, Mapping) else None
    return max(0, value) if isinstance(value, int) else 0
