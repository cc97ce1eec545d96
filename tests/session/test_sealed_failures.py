"""Everything that can break in a session: each ends with its reason, a picture, and what was gathered."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.doubles.messages_api import BreakOff, MessagesApi, Refuse, Use, say
from tests.session.sealed import Sealed, podman, sealed
from tests.session.test_sealed import OURS, browse, submit

pytestmark = pytest.mark.image

ASK = Use(f"{OURS}ask_user", {"question": "Wait?"})


async def kill(session: Sealed, words: str) -> None:
    """Kill the first process whose command line has these words."""
    pid = next(process["pid"] for process in await session.processes() if words in process["args"])
    await session.shell("kill", "-9", pid)


async def test_stop_is_obeyed_within_15_s_and_keeps_what_was_gathered(run_folder: Path) -> None:
    write = Use("Bash", {"command": "echo 342 > found.csv"})
    model = MessagesApi(say(browse("/shop")), say(write), say(ASK))
    async with sealed(run_folder, model) as session:
        await session.event("question")
        begun = time.monotonic()
        await podman("kill", "--signal", "TERM", session.container)
        exit_ = await session.ended()
        assert time.monotonic() - begun < 15
        assert (exit_["outcome"], exit_["reason"], exit_["container_exit_code"]) == ("stopped", "stopped", 3)
        assert exit_["result_submitted"] is False
        assert (run_folder / "guest" / exit_["final_screenshot"]).exists()
        assert (run_folder / "guest/out/found.csv").read_text() == "342\n"
        assert session.of_type("human_done")[-1]["outcome"] == "cancelled"
        assert session.of_type("agent_finished")[0]["outcome"] == "interrupted"
        assert session.events()[-1]["seq"] == exit_["last_seq"]


async def test_stop_over_the_control_socket_names_who_stopped_while_the_model_thinks(run_folder: Path) -> None:
    model = MessagesApi(say("never", hold=asyncio.Event()))
    async with sealed(run_folder, model) as session:
        await asyncio.wait_for(model.wait_for(1), 60)
        assert await session.control(do="stop", by="Ann") == {"id": 1, "ok": True}
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["message"]) == ("stopped", "Stopped by Ann.")


async def test_the_time_limit(run_folder: Path) -> None:
    model = MessagesApi(say("never", hold=asyncio.Event()))
    async with sealed(run_folder, model, timeout_s=4) as session:
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["reason"], exit_["container_exit_code"]) == ("failed", "timeout", 1)


async def test_an_agent_without_a_result_is_reminded_once(run_folder: Path) -> None:
    model = MessagesApi(say("I am done."), say("Really done."))
    async with sealed(run_folder, model) as session:
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["result_submitted"]) == ("completed", False)
        assert len(model.asked) == 2
        assert "without calling submit_result" in model.asked[1].text()


@pytest.mark.parametrize("kind", ["api_key", "oauth_token"])
async def test_a_refused_credential_ends_the_run_at_once(run_folder: Path, kind: str) -> None:
    model = MessagesApi(Refuse(401, "authentication_error", "invalid x-api-key"))
    async with sealed(run_folder, model, credential_kind=kind) as session:
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["reason"]) == ("failed", "model_auth")
        assert "refused the credential" in exit_["message"]


USED_UP = "The run's budget of $5 is used up ($5.0021 spent)."


@pytest.mark.parametrize(
    "answer", [Refuse(403, "permission_error", USED_UP), BreakOff("Let me", "permission_error", USED_UP)]
)
async def test_a_used_up_budget_ends_the_run(run_folder: Path, answer: Refuse | BreakOff) -> None:
    model = MessagesApi(answer)
    async with sealed(run_folder, model) as session:
        assert (await session.ended())["reason"] == "budget"


async def test_a_used_up_subscription_says_until_when(run_folder: Path) -> None:
    reset = int(time.time()) + 7_200
    headers = {
        "retry-after": "7200",
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(reset),
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
    }
    model = MessagesApi(Refuse(429, "rate_limit_error", "limit reached", headers))
    async with sealed(run_folder, model, credential_kind="oauth_token") as session:
        exit_ = await session.ended()
        assert exit_["reason"] == "usage_limit"
        assert exit_["reset_at"] == time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(reset))


async def test_answers_that_break_off_are_continued(run_folder: Path) -> None:
    model = MessagesApi(BreakOff("Let me", "overloaded_error"), BreakOff("Let me"), say(submit()), say("ok"))
    async with sealed(run_folder, model) as session:
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["result_submitted"]) == ("completed", True)
        assert "agent_continued" in [warning["what"] for warning in session.of_type("warning")]


async def test_a_model_that_is_away_for_good(run_folder: Path) -> None:
    model = MessagesApi(BreakOff("Let me", "overloaded_error"))
    async with sealed(run_folder, model) as session:
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["reason"]) == ("failed", "model_unavailable")
        assert len(model.asked) == 3


async def test_turns_are_limited(run_folder: Path) -> None:
    model = MessagesApi(say(Use("Bash", {"command": "true"})))
    async with sealed(run_folder, model, max_turns=3) as session:
        assert (await session.ended())["reason"] == "max_turns"


async def test_chromium_is_brought_back_once_and_the_agent_goes_on_with_it(run_folder: Path) -> None:
    model = MessagesApi(say(browse("/second")), say(ASK), say(browse("/shop")), say(submit()), say("ok"))
    async with sealed(run_folder, model) as session:
        await session.event("question")
        await kill(session, "chromium --user-data-dir")
        assert (await session.event("warning", 2))["what"] == "chromium_restarted"
        await session.control(do="resume", outcome="answered", text="go on")
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["final_url"]) == ("completed", "http://shop.test/shop")
        assert exit_["metrics"]["pages_loaded"] == 2


async def test_a_chromium_that_dies_again_ends_the_run_with_a_picture_of_the_desktop(run_folder: Path) -> None:
    model = MessagesApi(say(ASK))
    async with sealed(run_folder, model) as session:
        await session.event("desktop_ready")
        await kill(session, "chromium --user-data-dir")
        await session.event("warning", 2)
        await kill(session, "chromium --user-data-dir")
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["reason"]) == ("failed", "session_crashed")
        assert "Chromium crashed twice" in exit_["message"]
        assert (run_folder / "guest" / exit_["final_screenshot"]).read_bytes().startswith(b"\x89PNG")
        assert exit_["final_url"] is None


async def test_a_desktop_that_dies_ends_the_run(run_folder: Path) -> None:
    model = MessagesApi(say(ASK))
    async with sealed(run_folder, model) as session:
        await session.event("desktop_ready")
        await kill(session, "Xtigervnc")
        exit_ = await session.ended()
        assert exit_["reason"] == "session_crashed"
        assert "desktop" in exit_["message"] or "Chromium" in exit_["message"]


async def test_a_cli_that_dies_is_started_again_on_its_conversation(run_folder: Path) -> None:
    model = MessagesApi(say("I remember a red lamp.", ASK), say(submit()), say("ok"))
    async with sealed(run_folder, model) as session:
        await session.event("question")
        await kill(session, "/opt/ccdtasks/claude")
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["result_submitted"]) == ("completed", True)
        assert "agent_restarted" in [warning["what"] for warning in session.of_type("warning")]
        assert "I remember a red lamp." in model.asked[1].text()


async def test_what_breaks_in_the_session_itself_leaves_its_stack(run_folder: Path) -> None:
    (run_folder / "guest/control.sock").mkdir()  # where it wants to listen
    async with sealed(run_folder, MessagesApi()) as session:
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["reason"]) == ("failed", "session_crashed")
        assert "The session could not start" in exit_["message"]
        said = await session.output()
    assert "Traceback (most recent call last)" in said
    assert "supervisor.py" in said


async def test_a_job_that_cannot_be_read_still_leaves_an_exit(run_folder: Path) -> None:
    async with sealed(run_folder, MessagesApi(), credential_kind="cookie") as session:
        exit_ = await session.ended()
        assert (exit_["outcome"], exit_["reason"], exit_["session_id"]) == ("failed", "session_crashed", None)
        assert "credential_kind" in exit_["message"]


async def test_logs_are_kept_and_hold_no_pictures(run_folder: Path) -> None:
    shot = Use("mcp__playwright__browser_take_screenshot", {})
    model = MessagesApi(say(browse("/noise")), say(shot), say(submit()), say("ok"))
    async with sealed(run_folder, model, limits={"log_bytes": 40_000}) as session:
        assert (await session.ended())["outcome"] == "completed"
        picture = next(block for block in model.asked[2].last_tool_results()[0]["content"] if block["type"] == "image")
        assert len(picture["source"]["data"]) > 200_000  # one line of the CLI's stream
        logs = {path.name: path.stat().st_size for path in (run_folder / "guest/out/logs").iterdir()}
        assert 0 < logs.pop("page.txt") <= 20_000
        assert "Nothing to buy here" in (run_folder / "guest/out/logs/page.txt").read_text()
        assert set(logs) == {"agent.log", "agent-errors.log", "chromium.log", "desktop.log"}
        assert all(size < 10_200 for size in logs.values())
        first = (run_folder / "guest/out/logs/agent.log").read_text().splitlines()[0]
        assert json.loads(first)["type"]
