"""The two sockets of a session while it lives, and the account of what went through them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ccdtasks.core.runs.claims import Claim
from ccdtasks.engine.folder import RunFolder, write_whole
from ccdtasks.engine.job import Brief
from ccdtasks.engine.outcome import ModelSaid
from ccdtasks.engine.parts import Parts, stubbornly
from ccdtasks.gateways.egress import Refusal, ServedEgress
from ccdtasks.gateways.model import ServedModel, Usage

_log = logging.getLogger(__name__)

_NOTES_MAX = 200
_NO_WORD = {"auth_failed": False, "lacks_credit": False, "limited_until": None}


class Gates:
    """Serves `model.sock` and `egress.sock` of one session; opened again at the same paths after a restart."""

    def __init__(self, parts: Parts, claim: Claim) -> None:
        self._parts = parts
        self._claim = claim
        self._model: ServedModel | None = None
        self._egress: ServedEgress | None = None
        self._before: Mapping[str, Mapping[str, int]] = {}
        self._before_usd = Decimal(0)
        self._egress_before: Mapping[str, Any] = {}
        self._egress_seen: Mapping[str, int] = {}
        self._usage_changed = False
        self._refusals: list[Refusal] = []
        self._noted = 0
        self._word_path: Path | None = None
        self._word: Mapping[str, Any] = _NO_WORD

    async def open(self, folder: RunFolder, brief: Brief) -> None:
        """Opens both sockets. Raises `Unavailable("disk")` and what the gateways raise."""
        session = brief.view.session
        if session is not None and session.id == self._claim.session_id:
            self._before, self._before_usd = session.usage or {}, session.cost_usd
            self._egress_before = session.egress or {}
        self._model = await self._parts.model.serve(folder.model_socket, brief.grant(), self._used)
        self._word_path = folder.model_word
        self._word = await self._parts.offload(_read_word, folder.model_word)
        until = self._word["limited_until"]
        self._model.auth_failed, self._model.lacks_credit = self._word["auth_failed"], self._word["lacks_credit"]
        self._model.limited_until = datetime.fromisoformat(until) if until else None
        self._egress = await self._parts.egress.serve(folder.egress_socket, brief.policy(), self._refused)

    def model_said(self) -> ModelSaid:
        """What our own gateway knows of the model's last word; whatever the session claims."""
        model = self._model
        if model is None:
            return ModelSaid()
        claude = self._parts.core.config.claude
        kind = "oauth_token" if claude.oauth_token else "api_key" if claude.api_key else None
        return ModelSaid(kind, model.auth_failed, model.lacks_credit, model.limited_until, model.exhausted)

    def revoke(self) -> None:
        """Lets no more requests to the model through: the run is over."""
        if self._model is not None:
            self._model.revoke()

    async def close(self) -> None:
        """Closes what is open."""
        if self._model is not None:
            await self._model.close()
        if self._egress is not None:
            await self._egress.close()

    async def report(self) -> None:
        """Writes what was used and refused since the last report."""
        claims = self._parts.core.claims
        await self._keep_word()
        if self._egress is not None:
            self._count_egress(self._egress)
        if self._usage_changed and self._model is not None and self._egress is not None:
            self._usage_changed = False
            usage, cost_usd, egress = self._usage(), self._cost_usd(), self._counts(self._egress)
            await stubbornly(lambda: claims.meter(self._claim, usage, cost_usd, egress))
        refusals, self._refusals[:] = list(self._refusals), []
        for refusal in refusals:
            if not refusal.quiet and self._noted < _NOTES_MAX:
                self._noted += 1
                data = {"host": refusal.host, "port": refusal.port, "reason": refusal.reason, "text": refusal.text}
                await stubbornly(lambda data=data: claims.note(self._claim, "egress_refused", data))  # type: ignore[misc]

    async def report_last(self) -> None:
        """The final account, whatever changed."""
        self._usage_changed = True
        await self.report()

    async def _keep_word(self) -> None:
        """What the API said last outlives us: how the run ends may be judged by the process after this one."""
        said, path = self.model_said(), self._word_path
        until = said.limited_until.isoformat() if said.limited_until else None
        word = {"auth_failed": said.auth_failed, "lacks_credit": said.lacks_credit, "limited_until": until}
        if word == self._word or path is None:
            return
        try:
            await self._parts.offload(write_whole, path, json.dumps(word))
            self._word = word
        except OSError as error:
            _log.warning("run %s: the model's last word is not kept: %s", self._claim.run_id, error.strerror)

    def _used(self, usage: Usage) -> None:
        """One more piece of what the model was asked and answered."""
        self._usage_changed = True
        counters = self._parts.core.counters
        counters.add("model_requests", usage.requests, model=usage.model)
        counters.add("model_cost_usd", float(usage.cost_usd), model=usage.model)
        for kind, number in _numbers(usage).items():
            if kind != "requests":
                counters.add("model_tokens", number, model=usage.model, kind=kind)

    def _refused(self, refusal: Refusal) -> None:
        self._refusals.append(refusal)
        self._parts.core.counters.add("egress_refusals", reason=refusal.reason)

    def _count_egress(self, egress: ServedEgress) -> None:
        """Adds what went through since the last look to the process's counters."""
        now, before = asdict(egress.counts), self._egress_seen
        counters = self._parts.core.counters
        counters.add("egress_connections", now["connections"] - before.get("connections", 0))
        for way in ("in", "out"):
            name = f"bytes_{way}"
            counters.add("egress_bytes", now[name] - before.get(name, 0), direction=way)
        self._egress_seen = now

    def _usage(self) -> dict[str, dict[str, int]]:
        totals = {model: dict(counts) for model, counts in self._before.items()}
        for model, usage in (self._model.total if self._model else {}).items():
            counts = totals.setdefault(model, {})
            for name, number in _numbers(usage).items():
                counts[name] = counts.get(name, 0) + number
        return totals

    def _counts(self, egress: ServedEgress) -> dict[str, int]:
        """What went through since the session began, whichever process served it."""
        before = self._egress_before
        return {name: number + int(before.get(name) or 0) for name, number in asdict(egress.counts).items()}

    def _cost_usd(self) -> Decimal:
        used = self._model.total.values() if self._model else ()
        return self._before_usd + sum((usage.cost_usd for usage in used), start=Decimal(0))


def _read_word(path: Path) -> Mapping[str, Any]:
    try:
        return {**_NO_WORD, **json.loads(path.read_text())}
    except FileNotFoundError:
        return _NO_WORD


def _numbers(usage: Usage) -> dict[str, int]:
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_write": usage.cache_write_tokens,
        "requests": usage.requests,
    }
