"""Money that several sessions spend from at once: a task's day, a person's month."""

from __future__ import annotations

from decimal import Decimal

from ccdtasks.gateways.metering import Account


class Purse:
    """A limit over all accounts that hang on it, answers that still flow included.

    So ten sessions that run at once overshoot it by what is under way, not tenfold. `spent_usd`: by others, or before.
    `name` is how a sentence calls it: "The budget of this month".
    """

    def __init__(self, name: str, limit_usd: Decimal, spent_usd: Decimal) -> None:
        self.name = name
        self.limit_usd = limit_usd
        self._settled_usd = spent_usd
        self._accounts: set[Account] = set()

    @property
    def spent_usd(self) -> Decimal:
        """Dollars so far."""
        return self._settled_usd + sum((account.used_usd for account in self._accounts), Decimal(0))

    @property
    def is_empty(self) -> bool:
        """Whether nothing more may be spent."""
        return self.spent_usd >= self.limit_usd

    @property
    def is_idle(self) -> bool:
        """Whether no session spends from it at present."""
        return not self._accounts

    def join(self, account: Account) -> None:
        """From now on what the account uses counts here."""
        self._accounts.add(account)

    def leave(self, account: Account) -> None:
        """The account is closed; what it used stays spent. Safe to call twice."""
        if account in self._accounts:
            self._accounts.remove(account)
            self._settled_usd += account.used_usd

    def empty_text(self) -> str:
        """The sentence for a purse that is empty."""
        return f"{self.name} of ${self.limit_usd:.2f} is used up (${self.spent_usd:.2f} spent)."
