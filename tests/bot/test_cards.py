"""Cards within Discord's limits, whatever a run brought back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from ccdtasks.bot.cards import card, run, task
from ccdtasks.bot.cards.figures import rows_lines, value_text, values_text
from ccdtasks.bot.errors import TITLES, error_card
from ccdtasks.core.outcome.changes import compare
from ccdtasks.core.outcome.results import Value, read_result, stored_result
from ccdtasks.core.pages import Page
from ccdtasks.core.runs.runs import Overview, RunRow, RunView, first_rows
from ccdtasks.core.tasks.tasks import TaskRow
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Effect, MessageType, Reason, RunStatus, Trigger
from ccdtasks.db.models import Artifact, DiscordMessage, Task, TaskRun
from ccdtasks.errors import CcdError, Invalid, LimitReached, Unavailable
from tests.doubles.discord.rules import RuleBook
from tests.doubles.discord.schema import schema

NOW = datetime(2026, 1, 17, 15, 32, 38, tzinfo=UTC)
HUGE = "**@everyone** [x](https://evil.example) `" * 4000
NEWS = {
    "changes": compare(
        read_result({"items": [{"name": HUGE[:500], "price": n} for n in range(9)], "values": {HUGE[:70]: 1}}),
        read_result({"items": [{"name": HUGE[:500], "price": -n} for n in range(3)], "values": {HUGE[:70]: 1e300}}),
        str(UUID(int=3)),
        NOW,
    ).as_json(),
    "rule": HUGE[:300],
    "is_told": True,
    "why": HUGE,
    "is_broken": True,
}


def view(status: RunStatus = RunStatus.COMPLETED, **changes: Any) -> RunView:
    """A finished run of ticket-checker."""
    owner = "123456789012345678"
    chore = Task(
        id=UUID(int=1), task_name="ticket-checker", task_type="ticket-checker", template_prompt="Check",
        owner_user_id=owner, created_by=owner, schedule_timezone="America/Los_Angeles",
        notify_on_complete=True, notify_on_error=True,
        required_parameters=[], optional_parameters=[], config={}, effect=Effect.READS, run_count=3, success_count=2,
        failure_count=1, paused=False,
    )  # fmt: skip
    values: dict[str, Any] = {
        "id": UUID("3a7f2bc4-1d9e-4a23-8f61-5c9d4e3b2a10"), "task_id": chore.id, "owner_user_id": owner,
        "started_by": owner, "status": status, "trigger": Trigger.MANUAL,
        "parameters": {"origin": "SFO", "dates": "Feb 15-22"}, "epoch": 1,
        "attempt": 1, "created_at": NOW - timedelta(seconds=160), "started_at": NOW - timedelta(seconds=158),
        "completed_at": NOW, "duration_seconds": 158, "live": {}, "pages_loaded": 12, "http_requests_made": 247,
        "data_transferred_bytes": 8_300_000, "tokens_used": {"input": 1203, "output": 1644, "cache_read": 99999},
        "cost_usd": Decimal("0.0412"), "result_summary": "Cheapest: $342 (United), $70 less than yesterday.",
    }  # fmt: skip
    run = TaskRun(**(values | changes))
    result = stored_result(run.result_data)
    return RunView(run, chore, None, [], None, 3, result=result, tables=first_rows(result) if result else ())


def drawn(seen: RunView, kind: MessageType, payload: dict[str, Any] | None = None) -> card.Card:
    row = DiscordMessage(message_type=kind, payload=payload or {})
    return run.render(row, seen, NOW)


def judged(drawing: card.Card) -> dict[str, Any]:
    """The embed, after Discord's file and the rules have found nothing."""
    embed = drawing.embed()
    body = {"content": drawing.text(), "embeds": [embed] if embed else []}
    assert schema().request_errors("POST", "/channels/1/messages", body) == []
    assert RuleBook().errors("POST", "/channels/1/messages", body) == []
    assert all(len(button.custom_id) <= 100 for button in drawing.buttons)
    assert len(drawing.buttons) <= 4
    return embed or {}


def test_the_small_print_has_the_metrics_of_the_run() -> None:
    embed = judged(drawn(view(), MessageType.RESULT))
    assert embed["footer"]["text"] == (
        "2 m 38 s · 12 pages · 247 requests · 8.3 MB · 2,847 tokens · about $0.04 · run 3a7f2bc4"
    )


def test_the_answer_comes_first_in_the_notification() -> None:
    drawing = drawn(view(result_summary="## Cheapest: **$342**\n\nmore"), MessageType.RESULT)
    assert drawing.text() == "<@123456789012345678> Cheapest: $342"


@pytest.mark.parametrize("kind", list(MessageType))
@pytest.mark.parametrize("status", list(RunStatus))
def test_every_card_of_a_hostile_run_fits(kind: MessageType, status: RunStatus) -> None:
    rows = [{f"{HUGE[:60]}{n}": HUGE for n in range(60)} for _ in range(50)]
    found = read_result(
        {"items": rows, "values": {HUGE[:90]: {"number": 1e300, "unit": HUGE}}, "alerts": [{"text": HUGE}] * 50}
    ).as_json()
    hostile = view(
        status, result_summary=HUGE, result_data=found, news=NEWS, error_message=HUGE,
        final_url="https://a.example/" + "a" * 3000, live={"text": HUGE},
        parameters={f"p{n}": HUGE for n in range(25)}, reason=Reason.AGENT_ERROR,
    )  # fmt: skip
    hostile.task.task_name = "x" * 100
    payload = {
        "text": HUGE, "choices": [HUGE] * 25, "url": HUGE, "deadline_at": NOW.isoformat(), "changes": [HUGE] * 50,
        "hint": HUGE, "answer": HUGE, "same_reason": 3, "of_last": 5,
    }  # fmt: skip
    embed = judged(drawn(hostile, kind, payload))
    shown = f"{embed.get('title')}{embed.get('description')}"
    shown = re.sub(r"(?<!\\)`[^`]*`", "", shown)  # within code nothing links or calls
    assert "@everyone" not in shown
    assert not re.search(r"(?<!\\)\]\(", shown)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_failure_has_words_and_a_way_back(reason: Reason) -> None:
    drawing = drawn(
        view(RunStatus.FAILED, reason=reason, error_message="It broke."), MessageType.TASK_ERROR, {"ping": True}
    )
    embed = judged(drawing)
    assert embed["description"].startswith("It broke.")
    assert embed["title"][0] in "✕?"
    assert [button.label for button in drawing.buttons] == ["Retry", "Log", "Adjust", "View Full Report"]
    assert drawing.ping == "123456789012345678"


def test_a_failure_that_happens_often_says_so_and_what_may_help() -> None:
    failed = view(RunStatus.FAILED, reason=Reason.AGENT_ERROR, error_message="kayak.com did not answer.", attempt=3)
    payload = {"same_reason": 3, "of_last": 5, "pattern": "navigation timeout on kayak.com"}
    payload["hint"] = "a longer timeout may help: /task-edit"
    assert judged(drawn(failed, MessageType.TASK_ERROR, payload))["description"] == (
        "Gave up after 3 tries: kayak.com did not answer.\n\n"
        "This happened in 3 of the last 5 runs (navigation timeout on kayak.com); "
        "a longer timeout may help: /task-edit."
    )


def test_all_of_an_embed_together_fits() -> None:
    embed = judged(card.Card(title="t" * 300, body="b" * 5000, footer="f" * 3000))
    assert sum(len(part) for part in (embed["title"], embed["description"], embed["footer"]["text"])) == 6000


def test_a_thread_is_named_in_the_timezone_of_its_task() -> None:
    assert run.thread_name(view(), None) == "Run 2026-01-17 07:29 - Running"
    assert run.thread_name(view(), "failed") == "Run 2026-01-17 07:29 - Failed"


def test_a_result_brings_tables_the_last_picture_and_data_but_no_logs() -> None:
    names = [
        ("shot-1.png", ArtifactKind.SCREENSHOT), ("final.png", ArtifactKind.SCREENSHOT),
        ("agent.log", ArtifactKind.LOG),
        ("results.json", ArtifactKind.RESULT), ("results.csv", ArtifactKind.TABLE), ("page.pdf", ArtifactKind.DOWNLOAD),
    ]  # fmt: skip
    files = [Artifact(name=name, kind=kind, state=ArtifactState.STORED, size_bytes=1) for name, kind in names]
    seen = view()
    drawing = drawn(RunView(seen.run, seen.task, None, files, None, 3), MessageType.RESULT)
    assert [each.name for each in drawing.artifacts] == ["results.csv", "final.png", "results.json", "page.pdf"]
    assert drawing.image == "final.png"


def test_values_and_rows_read_like_prose() -> None:
    assert rows_lines([{"airline": "United", "price": 1342.5, "nonstop": True, "note": None}, {}], 1) == [
        "1\\. **United** · price: 1,342.5 · nonstop: yes",
        "2\\. —",
    ]
    assert values_text({"lowest_price": Value(342, "$"), "flight_time": Value(3905, "s"), "options": Value(47)}) == (
        "lowest\\_price **$342** · flight\\_time **1 h 5 m** · options **47**"
    )
    assert value_text(0.1 + 0.2) == "0.3"


def test_a_page_of_many_long_names_fits() -> None:
    chore = view().task
    chore.task_name = "n" * 100
    chore.schedule_cron = "*/5 * * * *"
    rows = [TaskRow(chore, 1, RunStatus.FAILED)] * task.PAGE
    page = judged(task.page("scheduled", Page(rows, "n" * 100), is_first=False))
    assert page["description"].count("n" * 50) >= task.PAGE
    rows_of_runs = [RunRow(view(RunStatus.FAILED, error_message=HUGE).run, HUGE, 3)] * 30
    going = [RunRow(view(RunStatus.RUNNING, live={"text": HUGE}).run, HUGE, 3)] * 30
    judged(task.status(Overview(None, going, rows_of_runs)))
    judged(task.status(Overview(chore, going[:20], rows_of_runs[:5])))


def _classes(base: type[CcdError]) -> set[type[CcdError]]:
    return {base, *(each for child in base.__subclasses__() for each in _classes(child))}


def test_every_mistake_has_its_row_in_the_table() -> None:
    public = {each for each in _classes(CcdError) if each.__module__ == "ccdtasks.errors"} - {CcdError}
    assert set(TITLES) == public


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            Invalid("cron", "`61 * * * *` is no time.", "minutes go to 59"),
            "`cron`: `61 * * * *` is no time.\n\nMinutes go to 59.",
        ),
        (LimitReached("You started 10 runs.", "try again in 5 s", 5), "You started 10 runs.\n\nTry again in 5 s."),
        (Unavailable("podman", "See [here](https://evil.example)."), "See here (https://evil.example)."),
    ],
)
def test_a_mistake_is_one_sentence_and_what_to_do(error: CcdError, words: str) -> None:
    assert judged(error_card(error))["description"] == words


def test_a_year_in_a_cell_is_a_year_and_a_large_number_is_easy_to_read() -> None:
    assert [value_text(number) for number in (2026, -5, 12500, 3.5)] == ["2026", "−5", "12,500", "3.5"]
