"""Measures how fast a program reads the stream of a turn, beside the published package.

    python benches/streams.py [--events N] [--package PYTHON]

A scripted server sends N deltas of an agent's message to one turn. The consumer reads `.payload.delta` of each, or the pieces of
`stream_text`. `--package` names the interpreter of an environment that has the published package, which gets a tenth of the events from
the same server.

The rate counts deltas that the server sent. A consumer that lags by 48 MiB gets several of them as one event, so the number of events is
shown too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = """
import json, sys

recorded, count = json.loads(open(sys.argv[1]).read()), int(sys.argv[2])
out = sys.stdout.buffer
turn, thread = recorded["turn/start"]["turn"], recorded["thread/start"]["thread"]["id"]
delta = {"threadId": thread, "turnId": turn["id"], "itemId": "msg_0123456789abcdef", "delta": "some words of text "}

def line(message):
    return json.dumps(message).encode() + b"\\n"

for request in map(json.loads, sys.stdin.buffer):
    if "id" not in request:
        continue
    out.write(line({"id": request["id"], "result": recorded.get(request["method"], {})}))
    if request["method"] == "turn/start":
        out.write(line({"method": "turn/started", "params": {"threadId": thread, "turn": turn}}))
        block = line({"method": "item/agentMessage/delta", "params": delta}) * 100
        for _ in range(count // 100):
            out.write(block)
        end = {"threadId": thread, "turn": turn | {"status": "completed"}}
        out.write(line({"method": "turn/completed", "params": end}))
    out.flush()
"""

CONSUMER = """
import asyncio, sys, time
from openai_codex import AsyncCodex, Codex, CodexConfig, TurnHandle

count, config = int(sys.argv[3]), CodexConfig(launch_args_override=(sys.executable, *sys.argv[1:4]))

def show(name, began, text, events):
    assert text == count * len("some words of text "), text
    print(f"{name:6} {count / (time.perf_counter() - began):12,.0f} deltas/s, {events:,} events", flush=True)

def blocking():
    with Codex(config) as codex:
        thread, text, events = codex.thread_start(), 0, 0
        began = time.perf_counter()
        turn = thread.turn("go")
        for event in turn.stream():
            events += 1
            if event.method == "item/agentMessage/delta":
                text += len(event.payload.delta)
        show("sync", began, text, events)

async def asynchronous():
    async with AsyncCodex(config) as codex:
        thread, text, events = await codex.thread_start(), 0, 0
        began = time.perf_counter()
        turn = await thread.turn("go")
        async for event in turn.stream():
            events += 1
            if event.method == "item/agentMessage/delta":
                text += len(event.payload.delta)
        show("async", began, text, events)

def text():
    with Codex(config) as codex:
        thread, text, events = codex.thread_start(), 0, 0
        began = time.perf_counter()
        for piece in thread.turn("go").stream_text():
            events += 1
            text += len(piece)
        show("text", began, text, events)

for _ in range(3):
    blocking()
    if hasattr(TurnHandle, "stream_text"):
        text()
    asyncio.run(asynchronous())
"""


def record() -> dict[str, object]:
    """The responses of the real runtime to the requests of a turn."""
    from openai_codex import _native
    from openai_codex.testing import ScriptedModel

    client = {"name": "bench", "title": "bench", "version": "1"}
    requests = {
        "initialize": {"clientInfo": client, "capabilities": {"experimentalApi": True}},
        "thread/start": {"approvalPolicy": "on-request", "approvalsReviewer": "auto_review"},
        "turn/start": {"input": [{"type": "text", "text": "go"}]},
    }
    recorded: dict[str, object] = {}
    with ScriptedModel() as model:
        model.fallback("hello")
        command, environment = [str(_native.locate_runtime()), "app-server"], {**os.environ, **dict(model.env())}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        ) as runtime:
            assert runtime.stdin is not None and runtime.stdout is not None
            for method, params in requests.items():
                if method == "turn/start":
                    params["threadId"] = recorded["thread/start"]["thread"]["id"]  # type: ignore[index]
                runtime.stdin.write(json.dumps({"id": method, "method": method, "params": params}).encode() + b"\n")
                runtime.stdin.flush()
                responses = (json.loads(line) for line in runtime.stdout)
                recorded[method] = next(message["result"] for message in responses if message.get("id") == method)
            runtime.stdin.close()
            runtime.wait()
    return recorded


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--package")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server, recorded = Path(folder, "server.py"), Path(folder, "recorded.json")
        server.write_text(SERVER)
        recorded.write_text(json.dumps(record()))
        for python, count in ((sys.executable, options.events), (options.package, options.events // 10)):
            if python is not None:
                print(f"{python}, {count:,} deltas")
                subprocess.run([python, "-c", CONSUMER, server, recorded, str(count)], check=True, cwd=folder)


if __name__ == "__main__":
    main()
