"""The rules: one object a noun, over one database. No Podman, no Discord, no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ccdtasks.config import Config
from ccdtasks.core.access import Access
from ccdtasks.core.audit import Audit
from ccdtasks.core.due.deadman import DeadMan
from ccdtasks.core.due.firing import Firing
from ccdtasks.core.ending.asking import Asking
from ccdtasks.core.ending.chains import Chains
from ccdtasks.core.ending.endings import Endings
from ccdtasks.core.ending.interventions import Interventions
from ccdtasks.core.facts import Facts
from ccdtasks.core.figures.cleanups import Cleanups
from ccdtasks.core.figures.metrics import Metrics
from ccdtasks.core.figures.vitals import VitalSigns
from ccdtasks.core.interactions import Interactions
from ccdtasks.core.links import Links
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.phone.pushes import Pushes
from ccdtasks.core.phone.pushqueue import PushQueue
from ccdtasks.core.phone.settings import Settings
from ccdtasks.core.records.artifacts import Artifacts
from ccdtasks.core.records.budgets import Budgets
from ccdtasks.core.records.profiles import Profiles
from ccdtasks.core.runs.attempts import Attempts
from ccdtasks.core.runs.claims import Claims
from ccdtasks.core.runs.queue import Queue
from ccdtasks.core.runs.reports import Reports
from ccdtasks.core.runs.runs import Runs
from ccdtasks.core.runs.trends import Charting
from ccdtasks.core.tasks.definitions import Definitions
from ccdtasks.core.tasks.dependencies import Dependencies
from ccdtasks.core.tasks.schedules import Schedules
from ccdtasks.core.tasks.tasks import Tasks
from ccdtasks.core.tokens import Tokens
from ccdtasks.core.vault import KEY_FILE, Vault
from ccdtasks.counters import Counters
from ccdtasks.db import Database
from ccdtasks.events import Bus
from ccdtasks.times import Clock


@dataclass(frozen=True, slots=True)
class Core:
    """Every act of the appliance; front ends and engine call nothing below it."""

    db: Database
    bus: Bus
    clock: Clock
    config: Config
    access: Access
    tasks: Tasks
    runs: Runs
    claims: Claims
    artifacts: Artifacts
    messages: Outbox
    audit: Audit
    facts: Facts
    attempts: Attempts
    queue: Queue
    budgets: Budgets
    interactions: Interactions
    interventions: Interventions
    schedules: Schedules
    firing: Firing
    deadman: DeadMan
    dependencies: Dependencies
    definitions: Definitions
    chains: Chains
    profiles: Profiles
    metrics: Metrics
    cleanups: Cleanups
    vitals: VitalSigns
    counters: Counters
    vault: Vault
    settings: Settings
    pushes: Pushes
    push_queue: PushQueue
    reports: Reports
    links: Links
    tokens: Tokens
    charting: Charting


def build_core(db: Database, bus: Bus, clock: Clock, config: Config) -> Core:
    """Puts the parts together over an open database."""
    access, audit, facts = Access(config), Audit(db, clock), Facts(db, clock)
    vault, outbox = Vault(config.paths.data_dir / KEY_FILE), Outbox(db, clock)
    chains = Chains(db, clock, outbox)
    budgets = Budgets(db, clock, config, outbox)
    artifacts = Artifacts(db, clock, access, outbox)
    store: dict[str, Any] = {"db": db, "bus": bus, "clock": clock}
    acts: dict[str, Any] = {**store, "access": access, "audit": audit}
    pushes = Pushes(**acts, config=config)
    asking = Asking(config, outbox, pushes)
    told: dict[str, Any] = {"config": config, "outbox": outbox, "facts": facts}
    endings = Endings(**told, clock=clock, artifacts=artifacts, chains=chains, asking=asking, pushes=pushes)
    tasks = Tasks(**acts, endings=endings)
    schedules = Schedules(**acts, config=config, tasks=tasks)
    dependencies = Dependencies(**acts, tasks=tasks, endings=endings)
    return Core(
        **store,
        config=config,
        access=access,
        tasks=tasks,
        runs=Runs(**acts, **told, tasks=tasks, endings=endings, budgets=budgets),
        claims=Claims(**store, **told, endings=endings, budgets=budgets, asking=asking),
        artifacts=artifacts,
        messages=outbox,
        audit=audit,
        facts=facts,
        attempts=Attempts(**acts, config=config, outbox=outbox, budgets=budgets),
        queue=Queue(**acts, outbox=outbox, endings=endings, facts=facts),
        budgets=budgets,
        interactions=Interactions(db, clock),
        interventions=Interventions(**acts, asking=asking),
        schedules=schedules,
        firing=Firing(**store, config=config, outbox=outbox),
        deadman=DeadMan(**store, config=config, outbox=outbox),
        dependencies=dependencies,
        definitions=Definitions(**store, tasks=tasks, schedules=schedules, dependencies=dependencies),
        chains=chains,
        profiles=Profiles(db),
        metrics=Metrics(db=db, clock=clock, config=config, access=access, tasks=tasks),
        vitals=VitalSigns(db, clock, facts),
        counters=Counters(),
        cleanups=Cleanups(**acts, tasks=tasks, outbox=outbox),
        vault=vault,
        settings=Settings(db=db, clock=clock, config=config, access=access, audit=audit, vault=vault, pushes=pushes),
        pushes=pushes,
        push_queue=PushQueue(**store, **told),
        reports=Reports(db, clock, access, facts),
        links=Links(vault, clock, config),
        tokens=Tokens(db, clock, access, audit),
        charting=Charting(db, bus, outbox, artifacts),
    )
