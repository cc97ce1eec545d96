"""What a model's tokens cost, so that a budget can be kept while they flow.

US dollars per million tokens: Anthropic's list prices (docs.claude.com, Pricing). A cached token read costs 0.1 of an
input token, one written 1.25 (kept 5 minutes) or 2 (kept an hour); a web search costs one cent. Long contexts (`[1m]`)
cost no more. Checked against Claude Code 2.1.197, which was given answers of a million tokens of each sort and told its
`modelUsage.costUSD`: opus-4-8, -4-7, -4-6, -4-5: 5, 25, 0.5, 6.25, 10; sonnet-5, -4-6, -4-5: 3, 15, 0.3, 3.75, 6;
haiku-4-5: 1, 5, 0.1, 1.25, 2. Older Opus models it replaces by the newest, so their price is the published one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from ccdtasks.errors import Invalid

_MILLION = Decimal(1_000_000)
_WEB_SEARCH_USD = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal

    @classmethod
    def of(
        cls,
        input_usd: Decimal,
        output_usd: Decimal,
        cache_read: Decimal | None = None,
        cache_write: Decimal | None = None,
    ) -> Price:
        """A price whose cache rates follow from the input's by the usual factors, unless given."""
        read = input_usd * Decimal("0.1") if cache_read is None else cache_read
        write = input_usd * Decimal("1.25") if cache_write is None else cache_write
        return cls(input_usd, output_usd, read, write, write * Decimal("1.6"))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one request used."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    web_searches: int = 0


def _price(input_usd: str, output_usd: str) -> Price:
    return Price.of(Decimal(input_usd), Decimal(output_usd))


# By the model's id or the beginning of it up to a "-"; the longest match counts.
_LIST_PRICES: Mapping[str, Price] = {
    "claude-opus-4-8": _price("5", "25"),
    "claude-opus-4-7": _price("5", "25"),
    "claude-opus-4-6": _price("5", "25"),
    "claude-opus-4-5": _price("5", "25"),
    "claude-opus-4": _price("15", "75"),
    "claude-sonnet-5": _price("3", "15"),
    "claude-sonnet-4": _price("3", "15"),
    "claude-haiku-4-5": _price("1", "5"),
}


class PriceTable:
    """Looks up prices. `overrides`: `{model: {"input": 3, "output": 15}}`, `cache_read` and `cache_write` optional.

    Raises Invalid for an override that is no price.
    """

    def __init__(self, overrides: Mapping[str, Mapping[str, object]] | None = None) -> None:
        self._prices = dict(_LIST_PRICES)
        for model, numbers in (overrides or {}).items():
            self._prices[model] = _read(model, numbers)
        # A model nobody knows counts as the dearest: a budget may end too early, never too late.
        self._dearest = max(self._prices.values(), key=lambda price: (price.output, price.input))

    def knows(self, model: str) -> bool:
        """True if the model has a price of its own or of its family."""
        return self._find(model) is not None

    def cost_usd(self, model: str, tokens: Tokens) -> Decimal:
        """What these tokens cost."""
        price = self._find(model) or self._dearest
        per_million = (
            tokens.input * price.input
            + tokens.output * price.output
            + tokens.cache_read * price.cache_read
            + tokens.cache_write_5m * price.cache_write_5m
            + tokens.cache_write_1h * price.cache_write_1h
        )
        return per_million / _MILLION + tokens.web_searches * _WEB_SEARCH_USD

    def _find(self, model: str) -> Price | None:
        name = model.partition("[")[0]  # claude-opus-4-8[1m]
        while name:
            if name in self._prices:
                return self._prices[name]
            name = name.rpartition("-")[0]
        return None


def _read(model: str, numbers: Mapping[str, object]) -> Price:
    hint = "Write it as { input = 3, output = 15 }, in dollars per million tokens."
    known = {"input", "output", "cache_read", "cache_write"}
    if not {"input", "output"} <= numbers.keys() <= known:
        raise Invalid(
            "claude.prices",
            f"The price of {model} needs input and output, and may have cache_read and cache_write.",
            hint,
        )
    read = {}
    for name, number in numbers.items():
        try:
            value = Decimal(str(number))
        except InvalidOperation:
            value = Decimal(-1)
        if not value.is_finite() or value < 0:
            raise Invalid("claude.prices", f"The {name} price of {model} is not a number of dollars.", hint)
        read[name] = value
    return Price.of(read["input"], read["output"], read.get("cache_read"), read.get("cache_write"))
