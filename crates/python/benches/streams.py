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
import subprocess
import sys
import tempfile
from pathlib import Path

from scripted_server import DELTA, write_server

CONSUMER = f"""
import asyncio, sys, time
from openai_codex import AsyncCodex, Codex, CodexConfig, TurnHandle

count, config = int(sys.argv[3]), CodexConfig(launch_args_override=(sys.executable, *sys.argv[1:5]))

def show(name, began, text, events):
    assert text == count * len({DELTA!r}), text
    print(f"{{name:6}} {{count / (time.perf_counter() - began):12,.0f}} deltas/s, {{events:,}} events", flush=True)

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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--package", help="an interpreter with the published package")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = write_server(Path(folder))
        for python, count in ((sys.executable, options.events), (options.package, options.events // 10)):
            if python is not None:
                print(f"{python}, {count:,} deltas")
                subprocess.run([python, "-c", CONSUMER, *server, str(count), "1"], check=True, cwd=folder)


if __name__ == "__main__":
    main()
