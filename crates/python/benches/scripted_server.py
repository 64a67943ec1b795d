"""A scripted server for benchmarks: it answers with recorded responses of the real runtime, and sends deltas to turns.

The server waits until TURNS turns have started, each on a thread of its own. Then it sends COUNT deltas of an agent's message in all,
one for each turn by rotation, and ends every turn.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

DELTA = "some words of text "

_SERVER = f"""
import json, sys

recorded, count, turns = json.loads(open(sys.argv[1]).read()), int(sys.argv[2]), int(sys.argv[3])
out = sys.stdout.buffer
threads, running = 0, []

def line(message):
    return json.dumps(message).encode() + b"\\n"

for request in map(json.loads, sys.stdin.buffer):
    if "id" not in request:
        continue
    result = recorded.get(request["method"], {{}})
    if request["method"] == "thread/start":
        threads += 1
        result = result | {{"thread": result["thread"] | {{"id": f"{{result['thread']['id'][:-4]}}{{threads:04}}"}}}}
    if request["method"] == "turn/start":
        thread = request["params"]["threadId"]
        turn = result["turn"] | {{"id": f"{{result['turn']['id'][:-4]}}{{thread[-4:]}}"}}
        result = result | {{"turn": turn}}
        running.append((thread, turn))
    out.write(line({{"id": request["id"], "result": result}}))
    if request["method"] == "turn/start":
        out.write(line({{"method": "turn/started", "params": {{"threadId": thread, "turn": turn}}}}))
    out.flush()
    if len(running) == turns:
        def delta(thread, turn):
            params = {{"threadId": thread, "turnId": turn["id"], "itemId": "msg_0123456789abcdef", "delta": {DELTA!r}}}
            return line({{"method": "item/agentMessage/delta", "params": params}})
        rounds = max(1, 100 // turns)
        block = b"".join(delta(*turn) for turn in running) * rounds
        for _ in range(count // (turns * rounds)):
            out.write(block)
        for thread, turn in running:
            out.write(line({{"method": "turn/completed", "params": {{"threadId": thread, "turn": turn | {{"status": "completed"}}}}}}))
        out.flush()
        running = []
"""


def _record() -> dict[str, object]:
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


def write_server(folder: Path) -> tuple[str, str]:
    """Writes the server and its recorded responses into `folder`. The arguments of its interpreter; add COUNT and TURNS."""
    server, recorded = folder / "server.py", folder / "recorded.json"
    server.write_text(_SERVER)
    recorded.write_text(json.dumps(_record()))
    return str(server), str(recorded)
