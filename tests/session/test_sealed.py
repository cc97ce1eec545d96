"""The session image, sealed as the appliance seals it: the real CLI, the real Chromium, a real desktop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.messages_api import MessagesApi, Use, say
from tests.session.sealed import sealed

pytestmark = pytest.mark.image

PLAYWRIGHT = "mcp__playwright__browser_"
OURS = "mcp__ccdtasks__"


def browse(path: str) -> Use:
    return Use(f"{PLAYWRIGHT}navigate", {"url": f"http://shop.test{path}"})


def submit(**fields: Any) -> Use:
    return Use(f"{OURS}submit_result", {"summary": "Lamps cost **342 USD**", **fields})


def results(asked: Any) -> str:
    """The text of the last tool results that the model was shown."""
    return json.dumps([block["content"] for block in asked.last_tool_results()])


async def test_a_task_from_the_first_message_to_the_exit(run_folder: Path) -> None:
    (run_folder / "host/inputs/hint.txt").write_text("42")
    model = MessagesApi(
        say("Let me look.", Use(f"{OURS}report_progress", {"text": "Opening the shop"})),
        say(browse("/moved")),
        say(Use(f"{PLAYWRIGHT}take_screenshot", {"filename": "shop.png"})),
        say(Use("Bash", {"command": "curl -s http://shop.test/data.json > data.json; id -u; umask; pwd"})),
        say(Use(f"{OURS}save_file", {"path": "shop.png", "caption": "the shop"})),
        say(submit(values={"price": "342"}, files=["gone.csv"])),
        say(
            submit(
                items=[{"lamp": "red", "price": 342}],
                values={"price": {"number": 342, "unit": "USD"}},
                files=["data.json"],
                evidence_url="http://shop.test/shop",
            )
        ),
        say("Done."),
    )
    async with sealed(run_folder, model) as session:
        exit_ = await session.ended()

        assert (exit_["outcome"], exit_["reason"], exit_["container_exit_code"]) == ("completed", None, 0)
        assert exit_["result_submitted"] is True
        assert (exit_["final_url"], exit_["final_title"]) == ("http://shop.test/shop", "Shop of lamps")
        assert (run_folder / "guest" / exit_["final_screenshot"]).read_bytes().startswith(b"\x89PNG")
        assert json.loads((run_folder / "guest/out/data.json").read_text()) == {"price": 342}
        assert (run_folder / "guest/out/shop.png").stat().st_size > 5_000

        events = session.events()
        assert [event["seq"] for event in events] == list(range(1, exit_["last_seq"] + 1))
        assert events[0]["type"] == "session_started"
        assert events[0]["versions"]["claude"] == "2.1.197"
        assert session.of_type("agent_started")[0]["mcp_servers"] == {
            "playwright": "connected",
            "ccdtasks": "connected",
        }
        assert session.of_type("progress")[0]["text"] == "Opening the shop"
        assert [step["title"] for step in session.of_type("step_started")] == [
            "Opening shop.test", "Taking a screenshot", "Running a command",
        ]  # fmt: skip
        assert all(step["ok"] for step in exit_["steps"])
        assert session.of_type("file_saved")[0]["path"] == "shop.png"
        page = session.of_type("page_loaded")[0]
        assert (page["url"], page["title"], page["status"]) == ("http://shop.test/shop", "Shop of lamps", 200)

        # One redirect, the page, its style and picture, the frame of another site and what its script fetched.
        metrics = exit_["metrics"]
        assert (metrics["pages_loaded"], metrics["http_requests"], metrics["failed_requests"]) == (1, 6, 0)
        assert 1_000 < metrics["bytes_received"] < 5_000
        assert session.of_type("metrics")[-1]["http_requests"] == 6

        # The refused result was explained to the model; the good one is what counts.
        assert "values.price must be a number" in results(model.asked[6])
        result = session.of_type("result")[-1]
        assert result["values"] == {"price": {"number": 342, "unit": "USD"}}
        assert len(session.of_type("result")) == 1
        assert json.loads((run_folder / "guest/result.json").read_text())["items"] == [{"lamp": "red", "price": 342}]

        finished = session.of_type("agent_finished")[0]
        assert (finished["outcome"], finished["text"]) == ("completed", "Done.")
        assert finished["usage"]["claude-sonnet-5"]["input"] == 8_000
        assert "2000\\n0022\\n/home/agent/work" in results(model.asked[4])

        first = model.asked[0]
        assert "in {place}" in first.text()
        assert "hint.txt" in first.text()
        assert first.headers["x-api-key"] == "sk-ant-api03-dummy"
        tools = {tool["name"] for tool in first.body["tools"]}
        assert {f"{OURS}ask_user", f"{OURS}request_human", f"{PLAYWRIGHT}click", "Bash"} <= tools
        assert f"{PLAYWRIGHT}run_code_unsafe" not in tools


async def test_the_wall(run_folder: Path) -> None:
    """Chromium's own sandbox is on, there is no way out, no capability, no credential, nothing to write to."""
    model = MessagesApi(
        say(browse("/shop")), say(Use(f"{OURS}ask_user", {"question": "Wait?"})), say(submit()), say("ok")
    )
    async with sealed(
        run_folder, model, credential_kind="oauth_token", credential_dummy="sk-ant-oat01-dummy"
    ) as session:
        await session.event("question")
        renderers = [p["pid"] for p in await session.processes() if "--type=renderer" in p["args"]]
        assert renderers
        ours = await session.shell("readlink", "/proc/self/ns/pid", "/proc/self/ns/user")
        for pid in renderers:
            theirs = await session.shell("readlink", f"/proc/{pid}/ns/pid", f"/proc/{pid}/ns/user")
            assert set(theirs.split()).isdisjoint(ours.split())
            status = await session.shell("cat", f"/proc/{pid}/status")
            assert "Seccomp:\t2" in status
            assert "Seccomp_filters:\t2" in status
        outside_chromium = [p for p in await session.processes() if "/usr/lib/chromium" not in p["args"]]
        assert len(outside_chromium) > 5
        for process in outside_chromium:
            status = await session.shell("sh", "-c", f"cat /proc/{process['pid']}/status || true")
            assert not status or "CapEff:\t0000000000000000" in status
        assert not [p for p in await session.processes() if "--no-sandbox" in p["args"]]

        assert (await session.shell("cat", "/proc/net/route")).count("\n") == 1  # the heading alone
        assert "lo:" in await session.shell("cat", "/proc/net/dev")
        assert (await session.shell("cat", "/proc/net/dev")).count(":") == 1
        for path in ("/x", "/opt/ccdtasks/x", "/run/ccdtasks/host/x", "/etc/x", "/var/tmp/x"):
            assert "cannot" in await session.shell("sh", "-c", f"touch {path} 2>&1 || true")
        # Not even as "root" of a user namespace, which the agent may make as Chromium does.
        for call in ("mount -t tmpfs none /tmp", "umount /tmp", "nsenter --target 1 --pid true"):
            said = await session.shell("sh", "-c", f"unshare --user --map-root-user {call} 2>&1 && echo DONE || true")
            assert "DONE" not in said
            assert said
        environment = await session.shell("sh", "-c", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'")
        assert "CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-dummy" in environment
        assert "ANTHROPIC_API_KEY" not in environment
        assert "/etc/ssl" not in environment

        fetch = "curl -sS -m 5 -o /dev/null -w %{http_code} http://10.0.0.1/"
        assert "Could not connect" in await session.shell("sh", "-c", f"{fetch} 2>&1 || true")
        assert await session.shell("sh", "-c", f"{fetch} --proxy 127.0.0.1:3128") == "403"
        await session.control(do="resume", outcome="answered", text="go on")
        assert (await session.ended())["outcome"] == "completed"
        assert model.asked[0].headers["Authorization"] == "Bearer sk-ant-oat01-dummy"


async def test_pages_that_lead_inside_are_refused(run_folder: Path) -> None:
    inside = ["http://127.0.0.1:9222/json", "http://localhost:9223/json", "file:///etc/passwd", "chrome://settings"]
    model = MessagesApi(
        *[say(Use(f"{PLAYWRIGHT}navigate", {"url": url}), Use(f"{PLAYWRIGHT}snapshot")) for url in inside],
        say(submit()),
        say("ok"),
    )
    async with sealed(run_folder, model) as session:
        await session.ended()
        shown = "".join(results(asked) for asked in model.asked[1 : len(inside) + 1])
        for leak in ("webSocketDebuggerUrl", "root:x:0:0", "Privacy and security"):
            assert leak not in shown
        assert session.exit()["metrics"]["pages_loaded"] <= 2  # the proxy's own refusals


async def test_a_person_answers_speaks_and_takes_over(run_folder: Path) -> None:
    model = MessagesApi(
        say(Use(f"{OURS}ask_user", {"question": "Which lamp?", "choices": ["red", "blue"]})),
        say(browse("/shop")),
        say(Use(f"{OURS}request_human", {"reason": "unclear", "detail": "Two prices"})),
        say(submit()),
        say("ok"),
    )
    async with sealed(run_folder, model) as session:
        question = await session.event("question")
        assert (question["question"], question["choices"]) == ("Which lamp?", ["red", "blue"])
        assert (await session.control(do="resume", request_id="h9", outcome="done"))["ok"] is False
        assert (await session.control(do="resume", outcome="left"))["ok"] is False
        assert (await session.control(do="dance"))["error"].startswith("nothing is called 'dance'")
        assert (await session.control(do="say", text=" "))["ok"] is False
        answer = {"do": "resume", "request_id": question["request_id"], "outcome": "answered", "text": "blue"}
        assert await session.control(**answer) == {"id": 1, "ok": True}

        needed = await session.event("human_needed")
        assert (needed["reason"], needed["url"]) == ("unclear", "http://shop.test/shop")
        assert (run_folder / "guest" / needed["screenshot"]).read_bytes().startswith(b"\x89PNG")
        for _ in range(2):  # the host says it again when our answer got lost
            said = await session.control(do="say", text="Hurry", author="Ann", message_id="m1")
            assert said == {"id": 1, "ok": True}
        shot = await session.control(do="screenshot")
        assert (run_folder / "guest" / shot["path"]).exists()
        assert (await session.control(do="ping"))["seq"] == session.events()[-1]["seq"]
        await session.control(do="resume", request_id=needed["request_id"], outcome="skipped")

        assert (await session.ended())["outcome"] == "completed"
        assert "The person answers: blue" in results(model.asked[1])
        assert "skips this" in results(model.asked[3])
        assert "Message from Ann: Hurry" in model.asked[-1].text()
        assert [done["outcome"] for done in session.of_type("human_done")] == ["answered", "skipped"]
        assert [said["text"] for said in session.of_type("user_message")] == ["Hurry"]


async def test_a_solved_captcha_resolves_itself_by_the_hand_of_a_person_on_vnc(run_folder: Path) -> None:
    model = MessagesApi(
        say(browse("/captcha")),
        say(Use(f"{OURS}request_human", {"reason": "captcha", "detail": "Press the button"})),
        say(submit()),
        say("ok"),
    )
    async with sealed(run_folder, model) as session:
        await session.event("human_needed")
        await session.click_on_vnc(640, 500)
        done = await session.event("human_done")
        assert done["outcome"] == "left"
        exit_ = await session.ended()
        assert exit_["final_url"] == "http://shop.test/second"
        assert "The obstacle is gone" in results(model.asked[2])


async def test_nobody_comes(run_folder: Path) -> None:
    model = MessagesApi(say(Use(f"{OURS}request_human", {"reason": "mfa", "detail": "x"})), say(submit()), say("ok"))
    async with sealed(run_folder, model, human_timeout_s=0.5) as session:
        exit_ = await session.ended()
        assert session.of_type("human_done")[0]["outcome"] == "timeout"
        assert exit_["outcome"] == "completed"


async def test_downloads_reach_the_agent_and_dialogs_do_not_spoil_the_last_picture(run_folder: Path) -> None:
    save = Use(f"{OURS}save_file", {"path": "downloads/prices.csv"})
    model = MessagesApi(say(browse("/prices.csv")), say(save), say(browse("/dialog")), say(submit()), say("ok"))
    async with sealed(run_folder, model) as session:
        exit_ = await session.ended()
        assert (run_folder / "guest/out/prices.csv").read_text() == "lamp,price\nred,342\n"
        assert (run_folder / "guest" / exit_["final_screenshot"]).stat().st_size > 1_000
        assert exit_["final_url"] == "http://shop.test/dialog"


async def test_a_later_attempt_goes_on_with_the_saved_conversation(run_folder: Path, tmp_path: Path) -> None:
    first = MessagesApi(say("The lamp is red.", submit()), say("ok"))
    async with sealed(run_folder, first) as session:
        await session.ended()
        number = session.of_type("agent_started")[0]["claude_session_id"]
    for name in ("events.jsonl", "exit.json"):
        (run_folder / "guest" / name).unlink()
    for socket in (run_folder / "host").glob("*.sock"):
        socket.unlink(missing_ok=True)
    second = MessagesApi(say(submit(summary="Red, as I said")), say("ok"))
    async with sealed(run_folder, second, claude_session_id=number, resume=True, prompt="Which colour?") as session:
        assert (await session.ended())["outcome"] == "completed"
        assert "The lamp is red." in second.asked[0].text()
        assert "Which colour?" in second.asked[0].text()


async def test_a_page_to_begin_with_is_counted_and_sees_the_tasks_zone_and_language(run_folder: Path) -> None:
    look = Use(
        f"{PLAYWRIGHT}evaluate",
        {"function": "() => [Intl.DateTimeFormat().resolvedOptions().timeZone, navigator.language].join()"},
    )
    model = MessagesApi(say(Use(f"{OURS}ask_user", {"question": "Loaded?"})), say(look), say(submit()), say("ok"))
    start = {"start_url": "http://shop.test/second", "timezone": "Asia/Tokyo", "locale": "de-DE"}
    async with sealed(run_folder, model, **start) as session:
        await session.event("page_loaded")
        await session.event("question")
        await session.control(do="resume", outcome="answered", text="yes")
        exit_ = await session.ended()
        assert (exit_["final_url"], exit_["metrics"]["pages_loaded"]) == ("http://shop.test/second", 1)
        assert "Asia/Tokyo,de-DE" in results(model.asked[2])
