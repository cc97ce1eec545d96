"""What a session is told to do, and what its gateways let it do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from ccdtasks.config import Config
from ccdtasks.core.definition.parameters import from_rows, plain_prompt
from ccdtasks.core.definition.taskconfig import TaskConfig, read_config
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.runs.runs import RunView
from ccdtasks.engine.inputs import Given
from ccdtasks.gateways.egress import EgressPolicy
from ccdtasks.gateways.model import ModelGrant
from ccdtasks.gateways.purse import Purse

_EVENT_BYTES = 65_536
_LOG_BYTES = 8 << 20
_JOB_BYTES_MAX = 4 << 20
_EGRESS_BYTES_MAX = 8 << 30
_EGRESS_NAMES_MAX = 5000


@dataclass(frozen=True, slots=True)
class Brief:
    """A claim with everything that its session needs to know.

    `spent_usd`: by this run so far, restarts included. `given`: what the tasks that it runs after left for it.
    `purses`: the budgets that it shares with other runs.
    """

    claim: Claim
    view: RunView
    settings: TaskConfig
    config: Config
    dummy: str = field(repr=False)
    spent_usd: Decimal = Decimal(0)
    given: Given = field(default_factory=Given)
    purses: tuple[Purse, ...] = ()

    @property
    def budget_usd(self) -> Decimal:
        """What the run may cost in all."""
        return self.settings.budget_usd or self.config.claude.max_budget_usd

    @property
    def left_usd(self) -> Decimal:
        """What it may cost from now on, by the tightest of its budgets."""
        shared = (purse.limit_usd - purse.spent_usd for purse in self.purses)
        return min(self.budget_usd - self.spent_usd, *shared) if self.purses else self.budget_usd - self.spent_usd

    @property
    def timeout_s(self) -> int:
        """How long the run may work."""
        return self.settings.timeout_s or self.config.limits.run_timeout_s

    @property
    def out_bytes_max(self) -> int:
        """How much the session may give back: half of its folder, the rest is for logs and transcripts."""
        return (self.config.limits.run_folder_mib << 20) // 2

    def grant(self) -> ModelGrant:
        """What the session may do at the model API."""
        claude = self.config.claude
        named = (claude.model, claude.fallback_model, self.settings.model)
        return ModelGrant(
            session_id=self.claim.session_id,
            dummy=self.dummy,
            budget_usd=self.budget_usd,
            spent_usd=self.spent_usd,
            configured=tuple(name for name in named if name),
            purses=self.purses,
        )

    def policy(self) -> EgressPolicy:
        """What the session may reach on the internet."""
        return EgressPolicy(
            allow_private=self.config.egress.allow_private,
            deny_hosts=self.config.egress.deny_hosts,
            allowed_domains=self.settings.allowed_domains or None,
            max_bytes=_EGRESS_BYTES_MAX,
            max_names=_EGRESS_NAMES_MAX,
        )

    def job(self) -> dict[str, Any]:
        """The content of `host/job.json`; `docs/run-folder.md` says what each key means."""
        claim, task, claude = self.claim, self.view.task, self.config.claude
        return {
            "version": 1,
            "run_id": str(claim.run_id),
            "session_id": str(claim.session_id),
            "attempt": claim.attempt,
            "epoch": claim.epoch,
            "task_name": task.task_name,
            "prompt": plain_prompt(task.template_prompt),
            "parameters": self._parameters(),
            "system_prompt": self.given.words,
            "model": self.settings.model or claude.model,
            "fallback_model": claude.fallback_model,
            "max_turns": self.settings.max_turns or claude.max_turns,
            "max_budget_usd": float(max(Decimal("0.01"), self.left_usd)),
            "credential_kind": "oauth_token" if claude.oauth_token else "api_key",
            "credential_dummy": self.dummy,
            "claude_session_id": str(claim.claude_session_id),
            "resume": False,
            "start_url": self.settings.start_url,
            "display": self.settings.display.model_dump(),
            "timezone": task.schedule_timezone,
            "locale": self.settings.locale,
            "chromium_sandbox": self.config.podman.chromium_sandbox == "required",
            "timeout_s": self.timeout_s,
            "human_timeout_s": self.settings.human_timeout_s or self.config.limits.human_timeout_s,
            "limits": {"event_bytes": _EVENT_BYTES, "out_bytes": self.out_bytes_max, "log_bytes": _LOG_BYTES},
        }

    def _parameters(self) -> list[dict[str, Any]]:
        task, values = self.view.task, self.given.values or self.view.run.parameters
        known = from_rows(task.required_parameters, task.optional_parameters)
        descriptions = {parameter.name: parameter.description for parameter in known}
        return [
            {"name": name, "value": value, "description": descriptions.get(name, "")} for name, value in values.items()
        ]


def make_brief(view: RunView, claim: Claim, config: Config, dummy: str, purses: tuple[Purse, ...] = ()) -> Brief:
    """Puts a brief together from the rows of a run."""
    spent_usd = view.run.cost_usd or Decimal(0)
    return Brief(claim, view, read_config(view.task.config), config, dummy, spent_usd, purses=purses)


def read_dummy(host: Path, dummy_hash: str | None) -> str | None:
    """The session's dummy credential from its job file, None when there is no such file or it is another one's."""
    try:
        with (host / "job.json").open("rb") as file:
            job: Mapping[str, Any] = json.loads(file.read(_JOB_BYTES_MAX))
        dummy = str(job["credential_dummy"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dummy if hashlib.sha256(dummy.encode()).hexdigest() == dummy_hash else None
