"""Measures the streams of many turns in one asyncio loop, and a consumer that stalls.

    python benches/interleaved.py [--events N] [--stalled N]

A scripted server sends N deltas of an agent's message, spread over 1, 10, 100 and 1,000 turns of one client. One task for each turn
reads `.payload.delta`. The ratio compares the best rate of the three runs with that of one turn.

Then one turn gets `--stalled` deltas while the program does not read its stream, until the turn has ended. The program prints its own
largest memory, and reads all text.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from scripted_server import DELTA, write_server

INTERLEAVED = f"""
import asyncio, sys, time
from openai_codex import AsyncCodex, CodexConfig

count, turns = int(sys.argv[3]), int(sys.argv[4])

async def read(turn):
    text = 0
    async for event in turn.stream():
        if event.method == "item/agentMessage/delta":
            text += len(event.payload.delta)
    return text

async def main():
    async with AsyncCodex(CodexConfig(launch_args_override=(sys.executable, *sys.argv[1:5]))) as codex:
        threads = [await codex.thread_start() for _ in range(turns)]
        handles = [await thread.turn("go") for thread in threads[:-1]]
        # The last start lets the server begin.
        began = time.perf_counter()
        handles.append(await threads[-1].turn("go"))
        texts = await asyncio.gather(*map(read, handles))
        seconds = time.perf_counter() - began
        sent = count // (turns * max(1, 100 // turns)) * turns * max(1, 100 // turns)
        assert sum(texts) == sent * len({DELTA!r}), (sum(texts), sent)
        print(sent / seconds)

asyncio.run(main())
"""

STALLED = f"""
import resource, sys, time
from openai_codex import Codex, CodexConfig

count = int(sys.argv[3])
with Codex(CodexConfig(launch_args_override=(sys.executable, *sys.argv[1:5]))) as codex:
    thread = codex.thread_start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    turn = thread.turn("go")
    stream = turn.stream()
    turn.run()
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = sum(len(event.payload.delta) for event in stream if event.method == "item/agentMessage/delta")
    assert text == count * len({DELTA!r}), text
    print(f"{{largest / 1024:.0f}} MiB of the whole process, {{before / 1024:.0f}} MiB before the turn; all text read")
"""


def measure(program: str, *arguments: str, folder: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, cwd=folder, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--stalled", type=int, default=3_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server, sizes = write_server(Path(folder)), (1, 10, 100, 1_000)
        best = dict.fromkeys(sizes, 0.0)
        for _ in range(3):
            for turns in sizes:
                rate = float(measure(INTERLEAVED, *server, str(options.events), str(turns), folder=folder))
                best[turns] = max(best[turns], rate)
        for turns, rate in best.items():
            print(f"{turns:5,} turns {rate:12,.0f} deltas/s, {rate / best[1]:.2f} of one turn's", flush=True)
        print(f"stalled: {measure(STALLED, *server, str(options.stalled), '1', folder=folder)}")


if __name__ == "__main__":
    main()
