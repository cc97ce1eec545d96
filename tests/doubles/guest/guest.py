"""A session program for tests: does at once what its prompt names, good or evil, from inside a real sealed container.

The prompt is `behave: <name>`; every behaviour speaks the contract of docs/run-folder.md as far as it wants to.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HOST, GUEST = Path("/run/ccdtasks/host"), Path("/run/ccdtasks/guest")
JOB = json.loads((HOST / "job.json").read_text())
# A PNG of one pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c4944415408d763f8ffff3f0005fe02fea735810d0000000049454e44ae426082"
)
seq = 0
speaking = threading.Lock()


def tell(kind: str, **data: Any) -> None:
    global seq  # noqa: PLW0603  a program of one file
    with speaking:
        seq += 1
        line = {"seq": seq, "at": datetime.now(UTC).isoformat(), "type": kind, **data}
        write_whole(GUEST / "events.jsonl", json.dumps(line).encode() + b"\n")


def write_whole(path: Path, data: bytes) -> None:
    """At the end of the file, as the real session does: a full disk passes."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    while data:
        try:
            data = data[os.write(file, data) :]
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            time.sleep(0.02)
    os.close(file)


def exit_with(outcome: str, code: int, **facts: Any) -> None:
    word = {
        "version": 1, "session_id": JOB["session_id"], "outcome": outcome, "reason": None, "message": None,
        "result_submitted": False, "final_screenshot": None, "final_url": None, "final_title": None, "last_seq": seq,
        "metrics": {"pages_loaded": 3, "http_requests": 40, "bytes_received": 5000, "bytes_sent": 70}, **facts,
    }  # fmt: skip
    (GUEST / "exit.json.tmp").write_text(json.dumps(word))
    (GUEST / "exit.json.tmp").rename(GUEST / "exit.json")
    sys.stdout.flush()
    os._exit(code)


def succeed(summary: str = "Cheapest: 342 USD") -> None:
    out = GUEST / "out"
    (out / "logs").mkdir(parents=True, exist_ok=True)
    (out / "final.png").write_bytes(PIXEL)
    (out / "prices.csv").write_text("airline,price\nUnited,342\n")
    (out / "logs/agent.log").write_text("all went well\n")
    tell("file_saved", path="out/prices.csv", caption="All prices", size_bytes=26)
    items = [{"airline": "United", "price": 342}, {"airline": "Delta", "price": 389}]
    tell("result", summary=summary, items=items, values={"lowest": {"number": 342, "unit": "USD"}},
         alerts=[], files=["prices.csv"], evidence_url="https://shop.example/final")  # fmt: skip
    exit_with("completed", 0, result_submitted=True, final_screenshot="out/final.png",
              final_url="https://shop.example/final", final_title="Shop")  # fmt: skip


def completes() -> None:
    tell("session_started", versions={}, chromium_sandbox=True)
    for step in range(1, 6):
        tell("step_started", step=step, tool="t", title=f"Step {step}", url=None)
        tell("step_finished", step=step, ok=True, duration_ms=5, error=None)
    succeed()


def finds_a_lot() -> None:
    """A table that fits no line of the log: the event is cut, the file beside it is whole."""
    rows = [{"product": f"No. {number}", "note": "x" * 60} for number in range(1, 2001)]
    whole = {"summary": "2,000 products", "items": rows, "evidence_url": "https://shop.example/final"}
    (GUEST / "result.json").write_text(json.dumps(whole))
    (GUEST / "out").mkdir(exist_ok=True)
    (GUEST / "out/final.png").write_bytes(PIXEL)
    tell("result", summary="2,000 products", items=rows[:50], cut=True)
    exit_with("completed", 0, result_submitted=True, final_screenshot="out/final.png",
              final_url="https://shop.example/final", final_title="Shop")  # fmt: skip


def talks_a_lot() -> None:
    """More lines in one breath than anybody can have read when it is over."""
    for number in range(3000):
        tell("progress", text=f"line {number + 1}")
    succeed()


def takes_its_time() -> None:
    for number in range(1, 61):
        tell("progress", text=f"line {number}")
        time.sleep(0.025)
    succeed()


def works_on() -> None:
    """Tells an event every 20 ms until it is asked to end, or until somebody puts `go` into the inputs."""

    def end(*_: object) -> None:
        exit_with("stopped", 3, reason="stopped")

    signal.signal(signal.SIGTERM, end)
    while not (HOST / "inputs/go").exists():
        tell("progress", text=f"line {seq + 1}")
        time.sleep(0.02)
    succeed()


def ignores_everybody() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell("progress", text="deaf")
    time.sleep(3600)


def outlives_its_word() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    real_exit, os._exit = os._exit, lambda code: None  # type: ignore[assignment]
    succeed()
    time.sleep(3600)
    real_exit(0)


def fails(reason: str, message: str, **facts: Any) -> None:
    tell("progress", text="trying")
    (GUEST / "out").mkdir(exist_ok=True)
    (GUEST / "out/final.png").write_bytes(PIXEL)
    exit_with("failed", 1, reason=reason, message=message, final_screenshot="out/final.png", **facts)


def fails_on_a_page() -> None:
    """A failure with everything that a report shows, all of it as hostile as a page can make it."""
    logs = GUEST / "out/logs"
    logs.mkdir(parents=True)
    (logs / "page.txt").write_text("Access denied\n```\n# Not ours\n" + "x" * 30_000)
    (GUEST / "out/failure-report.md").write_text("a report that the guest made up")
    tell("step_started", step=1, tool="t", title="Opening [kayak.com](https://evil.example)", url="https://kayak.com/")
    tell("step_finished", step=1, ok=False, duration_ms=60_000, error="net::ERR_TIMED_OUT at <b>kayak.com</b>")
    fails("agent_error", "kayak.com did not answer within 60 s.", final_url="https://www.kayak.com/flights",
          final_title="Sorry | *Kayak*")  # fmt: skip


def crashes() -> None:
    tell("progress", text="about to crash")
    sys.stderr.write("Traceback: something broke\n")
    sys.stderr.flush()
    os._exit(70)


def breaks_and_says_so() -> None:
    """As a session whose own program has a mistake: the stack goes to its output, the rest is in order."""
    sys.stderr.write("Traceback (most recent call last):\n  File supervisor.py, line 1\nValueError: no such tab\n")
    sys.stderr.flush()
    fails("session_crashed", "The session program failed: ValueError('no such tab').")


def gives_up_noisily() -> None:
    """The agent's program complains, and so does the browser, as it always does."""
    logs = GUEST / "out/logs"
    logs.mkdir(parents=True)
    (logs / "agent-errors.log").write_text("TypeError: x is undefined\n    at main (cli.js:1:2)\n")
    (logs / "chromium.log").write_text("dbus: no such thing\n")
    call = "page.goto: Timeout 60000ms exceeded.\nCall log:\n  - navigating to https://kayak.com/"
    tell("step_started", step=1, tool="t", title="Opening kayak.com", url="https://kayak.com/")
    tell("step_finished", step=1, ok=False, duration_ms=60_000, error=call)
    fails("agent_error", "It gave up.")


def lies() -> None:
    """Claims success without having handed anything in."""
    exit_with("completed", 0, result_submitted=True)


def eats_memory() -> None:
    tell("progress", text="eating")
    hoard = [bytearray(os.urandom(1)) * (64 << 20) for _ in range(200)]
    tell("progress", text=f"ate {len(hoard)}")


def forks() -> None:
    children = []
    try:
        while True:
            children.append(subprocess.Popen(["sleep", "60"]))
    except OSError as error:
        tell("warning", what="pids", text=f"cannot start more than {len(children)}: {error.strerror}")
    succeed()


def fills_the_disk() -> None:
    tell("progress", text="filling")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with (GUEST / "ballast").open("wb") as file:
        while True:
            file.write(bytes(1 << 20))
            file.flush()


def plants_traps() -> None:
    """Everything that is not a plain file, where the host will look."""
    out = GUEST / "out"
    out.mkdir(exist_ok=True)
    (out / "passwd").symlink_to("/etc/passwd")
    (out / "host").symlink_to("/run/ccdtasks/host")
    os.mkfifo(out / "pipe")
    socket.socket(socket.AF_UNIX).bind(str(out / "socket"))
    (out / "name\x1b[2J\u202etxt.exe").write_text("x")
    (out / ("n" * 255)).write_text("long")
    (out / "-rf").write_text("dash")
    os.symlink("/proc/self/root/etc/shadow", GUEST / "control.sock")
    (out / "locked").mkdir(mode=0o700)
    (out / "locked/inside.txt").write_text("inside")
    (out / "locked").chmod(0)
    (out / "secret.txt").write_text("private")
    (out / "secret.txt").chmod(0)
    with (GUEST / "events.jsonl").open("ab") as log:
        log.write(b'{"seq": 1, "type": "progress", "text": "before"}\n')
        log.write(b"\0\0\0\n" + b"not json\n" + b'{"seq": "x"}\n' + b'["list"]\n')
        log.write(b'{"seq": 2, "type": "progress", "text": "' + b"x" * 300_000 + b'"}\n')
        log.write(b'{"seq": 3, "at": "9999-01-01T00:00:00Z", "type": "progress", "text": "nul \\u0000 \\ud800"}\n')
        log.write(b'{"seq": 4, "type": "progress", "text": "after"}\n')
        log.flush()
        os.truncate(GUEST / "events.jsonl", 1 << 30)  # a line of a gigabyte, sparse
    fail_after_traps()


def fail_after_traps() -> None:
    (GUEST / "out/final.png").write_bytes(PIXEL)
    metrics = {"pages_loaded": 10**30, "http_requests": "many"}
    exit_with("failed", 1, reason="agent_error", message="\x1b[31mred\x1b[0m", final_url="javascript:alert(1)",
              final_screenshot="../host/job.json", metrics=metrics)  # fmt: skip


def log_is_a_link() -> None:
    (GUEST / "events.jsonl").symlink_to("/etc/passwd")
    exit_with("failed", 1, reason="agent_error", message="no log")


def last_word_is_a_pipe() -> None:
    tell("progress", text="pipe")
    os.mkfifo(GUEST / "exit.json")


def asks_model() -> None:
    """One request to the model and one to the internet, so that both sockets prove that they are served."""
    signal.signal(signal.SIGTERM, lambda *_: exit_with("stopped", 3, reason="stopped"))
    while not (HOST / "inputs/go").exists():
        tell("progress", text=f"model {_status('model.sock')} egress {_status('egress.sock')}")
        time.sleep(0.05)
    succeed()


def _status(name: str) -> str:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    try:
        connection.connect(str(HOST / name))
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return connection.recv(64).split(b" ")[1].decode()
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def waits_for_the_model() -> None:
    """Asks the model again and again, as the CLI does, until it answers."""
    last = ""
    while (status := _ask_model()) != "200":
        if status != last:
            tell("progress", text=f"model {status}")
        last = status
        time.sleep(0.05)
    succeed()


def _ask_model() -> str:
    body = json.dumps({"model": JOB["model"], "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: {JOB['credential_dummy']}\r\n"
    head += "anthropic-version: 2023-06-01\r\nContent-Type: application/json\r\nConnection: close\r\n"
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    try:
        connection.connect(str(HOST / "model.sock"))
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        return connection.recv(64).split(b" ")[1].decode()
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def searches_for_keys() -> None:
    """Tells everything that looks like a key in the environment, the processes and the files that it can see."""
    found: set[bytes] = set()
    places = [
        *Path("/proc").glob("[0-9]*/environ"),
        *Path("/proc").glob("[0-9]*/cmdline"),
        Path("/proc/self/mountinfo"),
    ]
    for root in ("/run", "/tmp", "/home", "/etc", "/var"):
        places += [path for path in Path(root).rglob("*") if path.is_file()]
    for path in places:
        with contextlib.suppress(OSError):
            found.update(re.findall(rb"sk-ant-[A-Za-z0-9_-]+", path.read_bytes()))
    tell("progress", text=" ".join(sorted(key.decode() for key in found)))
    time.sleep(3600)


def tries_to_get_out() -> None:
    """Asks for every `host:port` of its parameter, by itself and through the gateway, and tells what answered."""
    for target in JOB["parameters"][0]["value"].split(","):
        host, _, port = target.rpartition(":")
        with contextlib.suppress(OSError, ValueError, UnicodeError):
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
            tell("progress", text=f"DIRECT {target}")
        for request in (f"CONNECT {target} HTTP/1.1", f"GET http://{target}/ HTTP/1.1"):
            answer = _ask_gateway(f"{request}\r\nHost: {target}\r\n\r\n")
            if b"let in" in answer or answer.startswith(b"HTTP/1.1 200"):
                tell("progress", text=f"REACHED {request}")
    tell("progress", text="tried all")
    succeed()


def _ask_gateway(request: str) -> bytes:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    answer = b""
    with contextlib.suppress(OSError):
        connection.connect(str(HOST / "egress.sock"))
        connection.sendall(request.encode("utf-8", "surrogateescape"))
        answer = connection.recv(1000)
        if answer.startswith(b"HTTP/1.1 200") and request.startswith("CONNECT"):
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while piece := connection.recv(1000):
            answer += piece
    connection.close()
    return answer


def needs_a_person() -> None:
    """Waits for somebody on its control socket."""
    done = threading.Event()
    answers: list[dict[str, Any]] = []

    def hear(request: dict[str, Any]) -> dict[str, Any]:
        answers.append(request)
        if request["do"] == "resume":
            done.set()
        return {"ok": True, "seq": seq}

    _listen(hear)
    tell("question", request_id="q1", question="Which colour?", choices=["red", "blue"])
    done.wait()
    tell("human_done", request_id="q1", outcome=answers[-1]["outcome"], text=answers[-1]["text"])
    succeed(f"Chosen: {answers[-1]['text']}")


def cannot_be_reached() -> None:
    """Asks, and listens only once somebody put `go` into the inputs; a dead socket lies there before."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(GUEST / "control.sock"))
    (GUEST / "control.sock").chmod(0o666)
    answers: list[dict[str, Any]] = []
    done = threading.Event()

    def hear(request: dict[str, Any]) -> dict[str, Any]:
        answers.append(request)
        done.set()
        return {"ok": True}

    tell("human_needed", request_id="h1", reason="login", detail="Please log in.", url=None, screenshot=None)
    while not (HOST / "inputs/go").exists():
        time.sleep(0.02)
    (GUEST / "control.sock").unlink()
    _listen(hear)
    done.wait()
    tell("human_done", request_id="h1", outcome=answers[0]["outcome"], text=answers[0]["text"])
    succeed(f"Helped: {answers[0]['outcome']} {answers[0]['text']}")


def never_confirms() -> None:
    """Takes an answer and a message at once, but hangs up without a word the first time; each only once, as agreed."""
    taken: list[str] = []
    attempts: list[str] = []

    def hear(request: dict[str, Any]) -> dict[str, Any] | None:
        is_answer = request["do"] == "resume"
        name = request["request_id"] if is_answer else request["message_id"]
        is_new = name not in taken
        attempts.append(name)
        if is_new:
            taken.append(name)
        tell("progress", text=f"{'took' if is_new else 'knew'} {request['do']} {request['text']}")
        if is_new:
            return None
        return {"ok": False, "error": "nobody waits for that"} if is_answer else {"ok": True}

    _listen(hear)
    tell("question", request_id="q1", question="Which colour?", choices=[])
    while not (HOST / "inputs/go").exists():
        time.sleep(0.02)
    tell("human_done", request_id="q1", outcome="answered", text="blue")
    while not any(attempts.count(name) > 1 for name in taken[1:]):
        time.sleep(0.02)
    succeed(f"Taken: {len(taken)}")


def _listen(hear: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Serves the control socket; a request that `hear` has no answer to gets none."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(GUEST / "control.sock"))
    (GUEST / "control.sock").chmod(0o666)
    listener.listen()

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            request = json.loads(connection.makefile().readline())
            if (answer := hear(request)) is not None:
                connection.sendall(json.dumps({"id": request["id"], **answer}).encode() + b"\n")
            connection.close()

    threading.Thread(target=serve, daemon=True).start()


BEHAVIOURS = {
    "completes": completes,
    "takes-its-time": takes_its_time,
    "talks-a-lot": talks_a_lot,
    "works-on": works_on,
    "ignores-everybody": ignores_everybody,
    "outlives-its-word": outlives_its_word,
    "agent-error": lambda: fails("agent_error", "The page made no sense."),
    "model-auth": lambda: fails("model_auth", f"The model API refused the credential: {_ask_model()}"),
    "claims-model-auth": lambda: fails("model_auth", "The model API refused the credential."),
    "overloaded": lambda: fails("model_unavailable", "The model API did not answer: overloaded"),
    "over-budget": lambda: fails("budget", "The budget is used up."),
    "session-crashed": lambda: fails("session_crashed", "Chromium died twice.", final_url="https://shop.example/x"),
    "usage-limit": lambda: fails("usage_limit", f"limit: {_ask_model()}"),
    "claims-usage-limit": lambda: fails("usage_limit", "limit", reset_at="2099-01-01T00:00:00Z"),
    "fails-on-a-page": fails_on_a_page,
    "finds-a-lot": finds_a_lot,
    "crashes": crashes,
    "breaks-and-says-so": breaks_and_says_so,
    "gives-up-noisily": gives_up_noisily,
    "lies": lies,
    "eats-memory": eats_memory,
    "forks": forks,
    "fills-the-disk": fills_the_disk,
    "plants-traps": plants_traps,
    "log-is-a-link": log_is_a_link,
    "last-word-is-a-pipe": last_word_is_a_pipe,
    "asks-model": asks_model,
    "needs-a-person": needs_a_person,
    "waits-for-the-model": waits_for_the_model,
    "cannot-be-reached": cannot_be_reached,
    "never-confirms": never_confirms,
    "searches-for-keys": searches_for_keys,
    "tries-to-get-out": tries_to_get_out,
}

if __name__ == "__main__":
    (GUEST / "out").mkdir(exist_ok=True)
    with (GUEST / "out/starts.txt").open("a") as starts:
        starts.write("started\n")
    BEHAVIOURS[JOB["prompt"].split("behave: ")[1].split()[0]]()
