"""Runs to look at: a good one with everything, a failed one, a very long one, and one whose words are all hostile."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from PIL import Image, ImageDraw
from sqlalchemy import insert

from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.outcome.results import read_result
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Reason, RunStatus
from ccdtasks.db.models import RunEvent, TaskRun
from tests.stories import claim, completed, lines
from tests.web.conftest import ALICE, Site

HOSTILE = (
    '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'
    '"\'><svg onload=document.title="owned"> {{ 7*7 }} \u202egnp.exe'
)
SUMMARY = """Cheapest: **$342** with *United*, $70 less than yesterday.

2 of 47 options are under your limit of $400; both leave [in the morning](https://united.example/flights).

| day | cheapest |
|---|---|
| Monday | $412 |
| Tuesday | $342 |
"""
EVIL_SUMMARY = f"""# {HOSTILE}

[click](javascript:document.title='owned') [data](data:text/html,<script>1</script>) [bank](https://evil.example/login)
[paypal.example](https://l.example/)

![tracker](https://evil.example/pixel.png)

<iframe src="https://evil.example"></iframe>
"""


def picture(words: str, colour: str = "#e8eef7") -> bytes:
    """A screenshot as PNG."""
    image = Image.new("RGB", (1280, 800), colour)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 1280, 90), fill="#24406e")
    draw.text((40, 30), words, fill="white", font_size=32)
    for row in range(6):
        draw.rectangle((40, 130 + row * 105, 1240, 215 + row * 105), fill="white", outline="#c4cede")
        draw.text(
            (60, 150 + row * 105), f"United {100 + row}   SFO - HNL   ${342 + row * 17}", fill="#222", font_size=28
        )
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


async def start(site: Site, name: str, values: str = "", **config: Any) -> Claim:
    """A running run of a task, which is made when there is none."""
    if name not in await site.core.tasks.names(ALICE, name):
        prompt = (
            "Find the cheapest flight from {origin=SFO} to {destination=HNL} in {dates=Feb 15-22}. Do not buy anything."
        )
        await site.core.tasks.create(ALICE, TaskDraft(name, prompt, config=config))
    await site.core.runs.start(ALICE, name, values)
    claimed = await claim(site.core)
    await site.core.claims.created(claimed, "c" * 64)
    await site.core.claims.running(claimed)
    return claimed


def steps(*titles_ms: tuple[str, int], error: str | None = None) -> list[dict[str, Any]]:
    """Events of steps one after the other; the last one fails when there is an error."""
    events: list[dict[str, Any]] = []
    for number, (title, took_ms) in enumerate(titles_ms, 1):
        is_bad = error is not None and number == len(titles_ms)
        events.append({"type": "step_started", "step": number, "tool": "navigate", "title": title})
        events.append(
            {
                "type": "step_finished",
                "step": number,
                "ok": not is_bad,
                "duration_ms": took_ms,
                "error": error if is_bad else None,
            }
        )
    return events


async def keep(
    site: Site, claimed: Claim, name: str, data: bytes, kind: ArtifactKind, *, caption: str = ""
) -> ArtifactDraft:
    """A file of the run in the store."""
    draft = await site.keeper.keep_bytes(name, data, f"runs/{claimed.run_id.hex}", kind)
    return ArtifactDraft(**{**_fields(draft), "caption": caption or None})


async def last_picture(site: Site, claimed: Claim) -> ArtifactDraft:
    """The evidence that every completed run has."""
    return await keep(site, claimed, "final.png", picture("shop.example"), ArtifactKind.SCREENSHOT)


def _fields(draft: ArtifactDraft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in ArtifactDraft.__slots__}


async def finish(site: Site, claimed: Claim, outcome: Outcome) -> None:
    """Ends a run, and its container is gone."""
    await site.core.claims.collecting(claimed)
    await site.core.claims.finish(claimed, outcome)
    await site.core.claims.removed(claimed)


async def put_result(site: Site, claimed: Claim, **result: Any) -> None:
    """A result of any length, as the collecting of a long one stores it."""
    checked = read_result(result)
    async with site.core.db.write() as session:
        run = await session.get_one(TaskRun, claimed.run_id)
        run.result_data, run.result_summary = checked.as_json(), checked.summary[:4000]


async def good_run(site: Site, clock: Any, days: Sequence[int] = (455, 430, 441, 412, 412, 398, 405, 412)) -> UUID:
    """A completed run of a task that has a history."""
    for price in days:
        claimed = await start(site, "ticket-checker", "dates:'Feb 15-22'")
        await put_result(
            site,
            claimed,
            summary=f"${price}",
            values={"lowest_price": {"number": price, "unit": "$"}, "options": 40 + price % 9},
        )
        clock.advance(minutes=2)
        await finish(site, claimed, completed())
        clock.advance(hours=23, minutes=58)
    claimed = await start(site, "ticket-checker", "dates:'Feb 15-22'")
    told = steps(
        ("Opening united.example", 2310),
        ("Typing into From", 420),
        ("Typing into To", 380),
        ("Choosing Feb 15", 640),
        ("Searching flights SFO to HNL", 14_200),
        ("Reading the page", 910),
        ("Sorting by price", 1300),
        ("Taking a screenshot", 350),
    )
    await site.core.claims.record(claimed, lines({"type": "session_started", "versions": {"chromium": "143"}}), 10)
    for place, event in enumerate(told):
        clock.advance(seconds=(event.get("duration_ms") or 4000) / 1000)
        await site.core.claims.record(claimed, lines(event, first=place + 2), 20 + place)
    await site.core.claims.record(
        claimed,
        lines(
            {
                "type": "page_loaded",
                "url": "https://united.example/flights?from=SFO",
                "title": "Flights",
                "load_ms": 812,
                "status": 200,
            },
            {"type": "agent_text", "text": "I found 47 options. Two of them are below the limit."},
            {"type": "warning", "text": "A tab crashed and was opened again.", "what": "tab_crashed"},
            {
                "type": "metrics",
                "pages_loaded": 12,
                "http_requests": 247,
                "bytes_received": 8_300_000,
                "bytes_sent": 90_000,
            },
            first=30,
        ),
        200,
    )
    await put_result(
        site,
        claimed,
        summary=SUMMARY,
        items=[
            {
                "airline": line,
                "price": price,
                "stops": stops,
                "leaves": leaves,
                "bookable": True,
                "page": f"https://{line.lower()}.example/fares",
            }
            for line, price, stops, leaves in (
                ("United", 342, 0, "08:15"),
                ("Hawaiian", 378, 0, "09:40"),
                ("Delta", 512, 1, "07:05"),
                ("Alaska", 429, 1, "10:30"),
                ("Southwest", 1289.5, 2, "06:00"),
            )
        ],
        tables={"Hotels nearby": [{"hotel": "Aqua", "night": "$189"}, {"hotel": "Outrigger", "night": "$1,040"}]},
        values={"lowest_price": {"number": 342, "unit": "$"}, "options": 47},
        alerts=[{"text": "Below your limit of $400.", "severity": "warning"}],
        evidence_url="https://united.example/flights?from=SFO",
    )
    clock.advance(seconds=6)
    await site.core.claims.meter(claimed, *_used(), {"refused": 3})
    files = [
        await keep(
            site,
            claimed,
            "final.png",
            picture("united.example"),
            ArtifactKind.SCREENSHOT,
            caption="The fares, cheapest first",
        ),
        await keep(
            site,
            claimed,
            "shot-1.png",
            picture("Search", "#fdf3e3"),
            ArtifactKind.SCREENSHOT,
            caption="The search form",
        ),
        await keep(
            site, claimed, "shot-2.png", picture("Hotels", "#e9f5ec"), ArtifactKind.SCREENSHOT, caption="Hotels nearby"
        ),
        await keep(site, claimed, "results.csv", b"airline,price\r\nUnited,342\r\n", ArtifactKind.TABLE),
        await keep(site, claimed, "results.json", b"{}", ArtifactKind.RESULT),
        await keep(site, claimed, "events.jsonl", b"{}" * 4000, ArtifactKind.LOG),
        ArtifactDraft(
            "video.mp4",
            ArtifactKind.DOWNLOAD,
            "video/mp4",
            900_000_000,
            state=ArtifactState.MISSING,
            note="The files of the run are larger than what is kept.",
        ),
    ]
    await finish(site, claimed, completed(artifacts=files))
    return claimed.run_id


def _used() -> tuple[dict[str, Any], Any]:
    tokens = {"requests": 14, "input": 41_200, "output": 3_810, "cache_read": 188_000, "cache_write": 9_400}
    return {"claude-sonnet-5": tokens}, Decimal("0.1834")


async def failed_run(site: Site, clock: Any) -> UUID:
    """A run that failed for good in its third try."""
    for attempt in (1, 2, 3):
        if attempt == 1:
            claimed = await start(site, "hotel-watcher")
        else:
            clock.advance(hours=2)
            claimed = await claim(site.core)
            await site.core.claims.created(claimed, "c" * 64)
            await site.core.claims.running(claimed)
        told = steps(
            ("Opening kayak.example", 3100),
            ("Accepting cookies", 700),
            ("Searching hotels in Honolulu", 60_000),
            error="Timeout 60000ms exceeded while waiting for the list of hotels",
        )
        for place, event in enumerate(told):
            clock.advance(seconds=(event.get("duration_ms") or 2000) / 1000)
            await site.core.claims.record(claimed, lines(event, first=place + 1), 20 + place)
        await site.core.claims.record(
            claimed,
            lines(
                {
                    "type": "page_loaded",
                    "url": "https://kayak.example/hotels",
                    "title": "Hotels | kayak",
                    "status": 503,
                },
                {"type": "step_started", "step": 9, "title": "Trying the mobile site"},
                first=20,
            ),
            90,
        )
        words = b"kayak\n\nWe are sorry. Our servers are very busy at the moment.\nPlease try again in a few minutes.\n"
        files = [
            await keep(
                site,
                claimed,
                "final.png",
                picture("We are sorry", "#f7e8e8"),
                ArtifactKind.SCREENSHOT,
                caption="The last page",
            ),
            await keep(site, claimed, "page.txt", words, ArtifactKind.LOG),
            await keep(site, claimed, "failure-report.md", b"# hotel-watcher: timeout\n", ArtifactKind.LOG),
        ]
        await finish(
            site,
            claimed,
            Outcome(
                RunStatus.FAILED,
                Reason.TIMEOUT,
                message="kayak.example did not answer within 60 s.",
                artifacts=files,
                final_url="https://kayak.example/hotels",
                final_title="Hotels | kayak",
                final_screenshot="final.png",
            ),
        )
    return claimed.run_id


async def long_run(site: Site, rows: int = 10_000, events: int = 0) -> UUID:
    """A run with a very long table, and a very long log."""
    claimed = await start(site, "catalogue")
    await put_result(
        site,
        claimed,
        summary=f"{rows:,} products.",
        items=[
            {
                "product": f"Mug {number}",
                "price": f"${(number * 7919) % 900 + 0.5:,.2f}",
                "stock": number % 17,
                "seller": f"Seller {number % 40}",
                "rated": round(number % 50 / 10, 1),
                "page": f"https://shop.example/mug/{number}",
            }
            for number in range(rows)
        ],
    )
    if events:
        at = site.core.clock.now()
        async with site.core.db.write() as session:
            run = await session.get_one(TaskRun, claimed.run_id)
            await session.execute(
                insert(RunEvent),
                [
                    {
                        "session_id": run.session_id,
                        "seq": number,
                        "run_id": run.id,
                        "at": at + timedelta(milliseconds=number),
                        "type": ("step_started", "page_loaded", "agent_text", "metrics")[number % 4],
                        "data": {"text": f"line {number}", "url": f"https://shop.example/{number}", "step": number},
                    }
                    for number in range(1, events + 1)
                ],
            )
            run.step_timings = [
                {"step": n, "duration_ms": n * 7 % 900, "ended_ms": n * 1000, "ok": True, "title": f"Step {n}"}
                for n in range(1, 1001)
            ]
    await finish(site, claimed, completed(artifacts=[await last_picture(site, claimed)]))
    return claimed.run_id


async def hostile_run(site: Site) -> UUID:
    """A run in which every word that a guest can choose is an attack."""
    claimed = await start(site, "hostile")
    wide = "W" * 5000
    await site.core.claims.record(
        claimed,
        lines(
            {"type": "agent_text", "text": HOSTILE + wide},
            {"type": HOSTILE, "text": "no type"},
            {"type": "warning", "text": HOSTILE},
            *steps((HOSTILE, 900), (wide, 20), error=HOSTILE),
            {"type": "page_loaded", "url": "javascript:document.title='owned'", "title": HOSTILE},
            {"type": "question", "request_id": "q1", "question": HOSTILE, "choices": [HOSTILE]},
        ),
        10,
    )
    await put_result(
        site,
        claimed,
        summary=EVIL_SUMMARY,
        items=[{HOSTILE: HOSTILE, "link": "javascript:document.title='owned'", "wide": wide, "مرحبا": "שלום עולם"}],
        tables={HOSTILE: [{"a": 1}]},
        values={HOSTILE: {"number": 1, "unit": "<b>"}},
        alerts=[{"text": HOSTILE, "severity": "critical"}],
        evidence_url='https://evil.example/?q="><script>',
    )
    files = [
        await keep(
            site,
            claimed,
            "final.png",
            b"<html><script>document.title='owned'</script>",
            ArtifactKind.SCREENSHOT,
            caption=HOSTILE,
        ),
        await keep(site, claimed, "page.html", HOSTILE.encode(), ArtifactKind.DOWNLOAD, caption=HOSTILE),
    ]
    await finish(
        site,
        claimed,
        Outcome(
            RunStatus.FAILED,
            Reason.AGENT_ERROR,
            message=HOSTILE + wide,
            artifacts=files,
            final_url="https://evil.example/",
            final_title=HOSTILE,
        ),
    )
    return claimed.run_id
