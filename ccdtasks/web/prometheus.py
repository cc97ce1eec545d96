"""`/metrics` for Prometheus: for programs on this machine, and for those that bring an admin's token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aiohttp import web

from ccdtasks import __version__
from ccdtasks.core import Core
from ccdtasks.core.figures.vitals import Vitals
from ccdtasks.counters import Counters
from ccdtasks.errors import Denied
from ccdtasks.web.auth import by_bearer
from ccdtasks.web.context import CORE
from ccdtasks.web.visitors import address_of

if TYPE_CHECKING:
    from prometheus_client import Metric

_Samples = dict[tuple[tuple[str, str], ...], float]
"""Labels -> number."""

PATH = "/metrics"
_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")

_COUNTED = {
    "model_requests": "Requests to the model API that were answered.",
    "model_tokens": "Tokens that sessions sent and were answered, by kind.",
    "model_cost_usd": "What they cost by list price, in dollars.",
    "egress_connections": "Connections of browsers to the internet.",
    "egress_bytes": "Bytes of browsers through the gateway, by direction.",
    "egress_refusals": "Addresses and names that the gateway refused, by reason.",
    "podman_calls": "Requests to Podman, by kind and outcome.",
    "messages": "Messages to Discord, by outcome.",
    "pushes": "Pushes to phones, by outcome.",
}
"""Counters of the process -> what they count."""


async def show(request: web.Request) -> web.Response:
    """The numbers in Prometheus's text format."""
    await _require_reader(request)
    core = request.app[CORE]
    families = list(_families(core, await core.vitals.read()))
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - 1 MB for those who use it

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(families))
    return web.Response(body=generate_latest(registry), headers={"Content-Type": _TEXT_FORMAT})


ROUTES = (web.get(PATH, show),)


class _Once:
    """A collector of what was collected already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


async def _require_reader(request: web.Request) -> None:
    """Raises Denied for a visitor from elsewhere without an admin's token.

    A proxy on this machine makes everybody look local: what it passes on is taken for local only if it says nothing of
    a visitor, and a browser that was led here by another name is not (DNS rebinding).
    """
    visitor = await by_bearer(request)
    if visitor is not None and request.app[CORE].access.is_admin(visitor.actor):
        return
    address = address_of(request)
    is_direct = not any(name in request.headers for name in _FORWARDED)
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdecimal() else request.host
    if visitor is None and is_direct and host in _LOCAL_NAMES and address is not None and address.is_loopback:
        return
    raise Denied("These numbers are for programs on the box, or with an admin's token.", "`ccdtasks token create`")


def _families(core: Core, vitals: Vitals) -> Iterator[Metric]:
    yield _gauge("ccdtasks_build_info", "The version that runs.", {(("version", __version__),): 1})
    yield from _history(vitals)
    yield from _present(vitals)
    yield from _process(core.counters)


def _history(vitals: Vitals) -> Iterator[Metric]:
    total = vitals.total
    ended: _Samples = {
        (("status", "completed"), ("reason", "")): total.completed,
        (("status", "cancelled"), ("reason", "")): total.cancelled,
        **{(("status", "failed"), ("reason", reason)): count for reason, count in sorted(total.reasons.items())},
    }
    yield _counter("ccdtasks_runs", "Runs that ended, ever.", ended)
    yield _counter("ccdtasks_run_seconds", "Seconds that completed runs took.", {(): total.duration_s})
    yield _counter("ccdtasks_pages", "Pages that runs loaded.", {(): total.pages})
    yield _counter("ccdtasks_requests", "Requests of browsers in runs that ended.", {(): total.requests})
    yield _counter("ccdtasks_transferred_bytes", "Bytes that browsers moved.", {(): total.transferred_bytes})
    yield _counter("ccdtasks_cost_usd", "What runs that ended cost by list price.", {(): float(total.cost_usd)})
    tokens: _Samples = {
        (("model", model), ("kind", kind)): float(number)
        for model, numbers in sorted(total.models.items())
        for kind, number in sorted(numbers.items())
        if kind != "requests"
    }
    yield _counter("ccdtasks_tokens", "Tokens of runs that ended, by model and kind.", tokens)


def _present(vitals: Vitals) -> Iterator[Metric]:
    going: _Samples = {(("status", status),): float(count) for status, count in sorted(vitals.going.items())}
    yield _gauge("ccdtasks_runs_going", "Runs that have not ended.", going)
    yield _gauge("ccdtasks_queue_length", "Runs that wait for a session.", {(): vitals.going.get("queued", 0)})
    yield _gauge("ccdtasks_sessions", "Sessions whose container exists.", {(): vitals.sessions})
    tasks: _Samples = {(("state", state),): float(count) for state, count in sorted(vitals.tasks.items())}
    yield _gauge("ccdtasks_tasks", "Tasks that were not deleted.", tasks)
    yield _gauge("ccdtasks_schedule_overdue_seconds", "How long the first schedule is due.", {(): vitals.overdue_s})
    counts: _Samples = {(("kind", kind),): float(each.count) for kind, each in vitals.backlogs.items()}
    ages: _Samples = {(("kind", kind),): each.oldest_s for kind, each in vitals.backlogs.items()}
    yield _gauge("ccdtasks_backlog", "What waits to be sent: messages, pushes, uploads.", counts)
    yield _gauge("ccdtasks_backlog_age_seconds", "How long the oldest of it waits.", ages)
    yield _gauge("ccdtasks_holds", "Why no run starts.", {(("hold", hold),): 1.0 for hold in vitals.holds})
    yield _gauge("ccdtasks_database_bytes", "Size of the database.", {(): vitals.database_bytes})


def _process(counters: Counters) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415

    lag, seen, buckets = counters.lag, 0, []
    for bound, count in zip([*map(str, lag.bounds_s), "+Inf"], lag.counts, strict=True):
        seen += count
        buckets.append((bound, float(seen)))
    yield HistogramMetricFamily(
        "ccdtasks_event_loop_lag_seconds", "How late the event loop was.", buckets=buckets, sum_value=lag.total_s
    )
    for name, words in _COUNTED.items():
        yield _counter(f"ccdtasks_{name}", words, dict(counters.of(name)))


def _gauge(name: str, words: str, samples: _Samples) -> Metric:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    family = GaugeMetricFamily(name, words)
    for labels, number in samples.items():
        family.add_sample(name, dict(labels), number)
    return family


def _counter(name: str, words: str, samples: _Samples) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

    family = CounterMetricFamily(name, words)
    for labels, number in samples.items():
        family.add_sample(f"{name}_total", dict(labels), number)
    return family
