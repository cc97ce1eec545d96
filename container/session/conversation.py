"""The talk with the agent, from the first message to the ending."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from session.agent import Agent
from session.events import EventLog
from session.stream import Heard, Notice, Ready, Retry, Stream, TurnEnd
from session.verdict import Ending, Patience, Say, after_crash, after_turn, on_retry


@dataclass
class Spent:
    """Money and tokens over all processes of the CLI: each counts from zero again."""

    earlier_usd: float = 0.0
    process_usd: float = 0.0
    earlier: dict[str, Counter[str]] = field(default_factory=dict)
    process: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def usd(self) -> float:
        return self.earlier_usd + self.process_usd

    def usage(self) -> dict[str, dict[str, int]]:
        models = sorted({*self.earlier, *self.process})
        return {m: dict(self.earlier.get(m, Counter()) + Counter(self.process.get(m, {}))) for m in models}

    def next_process(self) -> None:
        self.earlier = {model: Counter(used) for model, used in self.usage().items()}
        self.earlier_usd, self.process_usd, self.process = self.usd, 0.0, {}


class Conversation:
    """Keeps the agent going as long as that makes sense, and says how it ended."""

    def __init__(
        self, agent: Agent, stream: Stream, log: EventLog, budget_usd: float | None, has_result: Callable[[], bool]
    ) -> None:
        self._agent = agent
        self._stream = stream
        self._log = log
        self._budget_usd = budget_usd
        self._has_result = has_result
        self._patience = Patience()
        self._alive = False
        self.spent = Spent()
        self.last_turn: TurnEnd | None = None

    async def run(self, first_message: str, *, resume: bool) -> Ending:
        """Talk until there is an ending."""
        await self._begin(resume)
        self._agent.say(first_message)
        while True:
            decision = await self._listen()
            if isinstance(decision, Ending):
                return decision
            self._log.emit("warning", what=f"agent_{decision.why}", text=_WHY[decision.why])
            await asyncio.sleep(decision.after_s)
            if not self._alive:
                await self._begin(resume=True)
            self._agent.say(decision.text)

    async def _begin(self, resume: bool) -> None:
        self.spent.next_process()
        left = None if self._budget_usd is None else self._budget_usd - self.spent.usd
        await self._agent.start(resume=resume, budget_usd=left)
        self._alive = True

    async def _listen(self) -> Say | Ending:
        while (message := await self._agent.next_message()) is not None:
            decision = self._judge(self._stream.take(message))
            if decision is not None:
                return decision
        self._alive = False
        return after_crash(self._patience, self._has_result(), self._agent.exit_code)

    def _judge(self, notice: Notice | None) -> Say | Ending | None:
        match notice:
            case Ready(not_connected=missing) if missing:
                return Ending("failed", "session_crashed", f"The agent's tools did not start ({', '.join(missing)}).")
            case Retry():
                return on_retry(notice)
            case Heard():
                self._agent.heard()
            case TurnEnd():
                self.last_turn = notice
                self.spent.process_usd, self.spent.process = notice.cost_usd, notice.usage
                if not notice.is_error and self._agent.has_unheard:
                    return None  # a person said something meanwhile; the agent goes on with it
                return after_turn(notice, self._has_result(), self._patience)
        return None


_WHY = {
    "reminded": "the agent ended without a result and was reminded",
    "continued": "the answer of the model broke off; the agent was told to go on",
    "restarted": "the agent's program ended unexpectedly and was started again",
}
