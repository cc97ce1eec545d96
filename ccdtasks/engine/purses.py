"""The budgets of days and months while sessions spend from them: one purse each, shared by all that run at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ccdtasks.core.records.budgets import Budgets
from ccdtasks.gateways.purse import Purse
from ccdtasks.times import Clock


@dataclass(frozen=True, slots=True)
class _Held:
    purse: Purse
    ends_at: datetime


class Purses:
    """The purses of this process. The rows say what was spent before; from then on the purse itself counts."""

    def __init__(self, budgets: Budgets, clock: Clock) -> None:
        self._budgets = budgets
        self._clock = clock
        self._held: dict[str, _Held] = {}

    async def of(self, run_id: UUID) -> tuple[Purse, ...]:
        """The purses that a run spends from. A limit that was changed meanwhile holds at once, for all."""
        budgets = await self._budgets.of(run_id)
        self._drop_old()
        purses = []
        for budget in budgets:
            held = self._held.get(budget.key)
            if held is None:
                held = _Held(Purse(budget.name, budget.limit_usd, budget.spent_usd), budget.ends_at)
                self._held[budget.key] = held
            held.purse.limit_usd = budget.limit_usd
            purses.append(held.purse)
        return tuple(purses)

    def _drop_old(self) -> None:
        now = self._clock.now()
        self._held = {key: held for key, held in self._held.items() if held.ends_at > now or not held.purse.is_idle}
