"""Measures how fast notifications become Python objects, beside the published package's way.

    python benches/notifications.py [--events N] [--package PYTHON]

Each event is a delta of an agent's message. The consumer reads `.payload.delta`. The published package parses the line, validates
the parameters with `model_validate` and makes a dataclass. By default its steps are done with this package's classes, which are
equal. `--package` names the interpreter of an environment that has the package, and runs the steps there, with its classes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

METHOD = "item/agentMessage/delta"
# What consumers read of items and turns, beside deltas.
OTHERS = {
    "item/completed": {
        "item": {
            "type": "commandExecution",
            "id": "call_Yk2rLwqNlVbU0yYpEdxAhvLn",
            "command": "/bin/bash -lc 'cargo test'",
            "cwd": "/home/user/project",
            "processId": "4711",
            "source": "agent",
            "status": "completed",
            "commandActions": [{"type": "unknown", "command": "cargo test"}],
            "aggregatedOutput": "running 3 tests\n" * 20,
            "exitCode": 0,
            "durationMs": 1234,
        },
        "threadId": "0199a213-81c0-7800-8aa1-bbab2a035a53",
        "turnId": "0199a213-8206-7d31-aac0-1f7d2c6c7a11",
        "completedAtMs": 1764340000000,
    },
    "thread/tokenUsage/updated": {
        "threadId": "0199a213-81c0-7800-8aa1-bbab2a035a53",
        "turnId": "0199a213-8206-7d31-aac0-1f7d2c6c7a11",
        "tokenUsage": {
            kind: {
                "totalTokens": 12345,
                "inputTokens": 12000,
                "cachedInputTokens": 8000,
                "outputTokens": 345,
                "reasoningOutputTokens": 128,
            }
            for kind in ("total", "last")
        },
    },
}
ROUNDS = 5


@dataclass(slots=True)
class Event:
    method: str
    payload: Any


def delta(index: int) -> dict[str, str]:
    return {
        "threadId": "0199a213-81c0-7800-8aa1-bbab2a035a53",
        "turnId": "0199a213-8206-7d31-aac0-1f7d2c6c7a11",
        "itemId": "msg_0f3d2b9c8a7e6d5c4b3a29181716151413121110",
        "delta": f" token {index}",
    }


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def package_way(lines: list[bytes], cls: Any) -> int:
    """What the published package does for each line."""
    length = 0
    for line in lines:
        message = json.loads(line)
        event = Event(method=message["method"], payload=cls.model_validate(message["params"]))
        length += len(event.payload.delta)
    return length


def best(run: Callable[[], object], events: int) -> float:
    """The most events a second of several rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return events / min(times)


def measure_package(events: int) -> float:
    from openai_codex.generated import v2_all

    cls = v2_all.AgentMessageDeltaNotification
    lines = [compact({"jsonrpc": "2.0", "method": METHOD, "params": delta(index)}) for index in range(events)]
    expected = sum(len(delta(index)["delta"]) for index in range(events))
    assert package_way(lines, cls) == expected
    return best(lambda: package_way(lines, cls), events)


def measure(events: int) -> dict[str, float]:
    from openai_codex import _native
    from openai_codex.generated import v2_all

    params = [compact(delta(index)) for index in range(events)]
    notification: Any = _native.notification
    build = _native.build

    def read_delta() -> int:
        length = 0
        for text in params:
            length += len(notification(METHOD, text).payload.delta)
        return length

    def read_method() -> None:
        for text in params:
            if notification(METHOD, text).method == "other":
                raise AssertionError

    def check_class() -> int:
        length = 0
        cls = v2_all.AgentMessageDeltaNotification
        for text in params:
            event = notification(METHOD, text)
            if event.method == METHOD and isinstance(event.payload, cls):
                length += len(event.payload.delta)
        return length

    def build_only() -> None:
        for text in params:
            build("AgentMessageDeltaNotification", text)

    assert read_delta() == check_class() == sum(len(delta(index)["delta"]) for index in range(events))
    rates = {
        "method alone": best(read_method, events),
        "payload.delta": best(read_delta, events),
        "method, isinstance, payload.delta": best(check_class, events),
        "build() alone": best(build_only, events),
    }
    for method, value in OTHERS.items():
        text, count = compact(value), max(events // 10, 1)

        def read(method: str = method, text: bytes = text, count: int = count) -> None:
            for _ in range(count):
                _ = notification(method, text).payload

        rates[f"payload of {method}"] = best(read, count)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--package", help="an interpreter with the published package")
    parser.add_argument("--only-package", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_package:
        print(measure_package(options.events))
        return
    few = max(options.events // 10, 1)
    if options.package:
        command = [options.package, __file__, "--only-package", "--events", str(few)]
        theirs = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    else:
        theirs = measure_package(few)
    print(f"Python {sys.version.split()[0]}, events a second")
    print(f"{theirs:>12,.0f}  the published package's way, payload.delta")
    for name, rate in measure(options.events).items():
        print(f"{rate:>12,.0f}  {name}")


if __name__ == "__main__":
    main()
