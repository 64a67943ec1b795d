"""The settings of a client that the published package does not have."""

import asyncio
import json
import math
import os
import sys
import threading
from contextvars import ContextVar
from typing import Any

import pytest
from openai_codex import AsyncCodex, Codex, CodexConfig, Sandbox
from openai_codex.client import ConnectionPolicy, RestartPolicy, WireLog, native_client
from openai_codex.errors import CodexTimeoutError, StartError, StreamOverflowError
from openai_codex.events import HandlerFailed
from openai_codex.testing import ModelReply, ScriptedModel


def test_every_setting_is_taken_and_no_signature_shows_it(tmp_path):
    settings: dict[str, Any] = {
        "connect": None,
        "connection_policy": ConnectionPolicy(max_attempts=1, window=1, start_grace=0, gap_policy="live"),
        "env_clear": True,
        "env_inherit": ("PATH", "HOME"),
        "env_remove": ["LANG"],
        "restart": RestartPolicy(max_attempts=1, window=1, initial_delay=0.1, max_delay=1, jitter=0),
        "wire_log": WireLog(tmp_path / "log", max_bytes=1000, keep=0),
        "start_timeout": 1,
        "request_timeout": 2.5,
        "class_timeouts": {"quick": 1, "slow": 2.5, "lasting": math.inf},
        "handler_timeout": 3,
        "close_timeout": 4,
        "turn_idle_timeout": 0,
        "coalesce_above": 1000,
        "stream_limit": 2000,
        "trace_context": lambda: None,
    }
    config = CodexConfig(**settings)
    native_client(config)
    assert not settings.keys() & set(CodexConfig.__match_args__)
    assert [name for name in CodexConfig.__slots__ if name not in CodexConfig.__match_args__] == list(settings)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"class_timeouts": {"fast": 1}}, "unknown class"),
        ({"start_timeout": -1}, "not a usable time"),
        ({"connection_policy": ConnectionPolicy(gap_policy="other")}, "unknown gap policy"),  # type: ignore[arg-type]
        ({"connection_policy": ConnectionPolicy(window=-1)}, "not a usable time"),
        ({"env_inherit": ("PATH",)}, "env_inherit needs env_clear"),
    ],
)
def test_an_unusable_setting_is_refused(settings: dict[str, Any], error: str):
    with pytest.raises(ValueError, match=error):
        Codex(CodexConfig(**settings))


def test_the_environment_is_what_the_settings_leave(tmp_path, monkeypatch):
    log, program = tmp_path / "log", tmp_path / "codex"
    program.write_text(
        f"#!{sys.executable} -I\nimport json, os\nopen({str(log)!r}, 'w').write(json.dumps(dict(os.environ)))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("DROPPED", "2")

    def environment(**settings: Any) -> dict[str, str]:
        with pytest.raises(StartError):
            Codex(CodexConfig(codex_bin=str(program), **settings))
        return json.loads(log.read_text())

    removed = environment(env_remove=["DROPPED", "SET"], env={"SET": "3"})
    assert (removed["KEPT"], removed.get("DROPPED"), removed["SET"]) == ("1", None, "3")
    cleared = environment(env_clear=True, env_inherit=["KEPT", "HOME"], env={"SET": "3"})
    assert (cleared["KEPT"], cleared["SET"], cleared["HOME"]) == ("1", "3", os.environ["HOME"])
    assert "DROPPED" not in cleared and "PATH" not in cleared


def test_a_wire_log_has_all_messages_and_no_key(model: ScriptedModel, tmp_path):
    path = tmp_path / "wire.jsonl"
    model.reply("hello")
    with Codex(model.config(wire_log=path)) as codex:
        codex.login_api_key("sk-secret")
        codex.thread_start().run("x")
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    sent = [line["sent"].get("method") for line in lines if "sent" in line]
    assert sent[:2] == ["initialize", "initialized"] and "turn/start" in sent
    assert any(line.get("received", {}).get("method") == "turn/completed" for line in lines)
    assert "<redacted>" in text and "sk-secret" not in text


def test_a_runtime_that_starts_too_slowly_is_a_timeout(tmp_path):
    program = tmp_path / "codex"
    program.write_text("#!/bin/sh\nwhile read -r line; do :; done\n")
    program.chmod(0o755)
    with pytest.raises(CodexTimeoutError, match="start_timeout"):
        Codex(CodexConfig(codex_bin=str(program), start_timeout=0.2))


def test_the_timeout_of_a_class_is_that_of_its_methods(model: ScriptedModel, tmp_path):
    marker = tmp_path / "marker"
    command = ["sh", "-c", f"while [ ! -e {marker} ]; do sleep 0.05; done"]
    with Codex(model.config(class_timeouts={"lasting": 0.2})) as codex:
        with pytest.raises(CodexTimeoutError):
            codex.request("command/exec", {"command": command})
        marker.touch()
        assert codex.models().data


def test_a_function_that_answers_too_late_is_a_refusal(model: ScriptedModel, tmp_path):
    ended = threading.Event()
    model.reply(ModelReply().escalate(f"touch {tmp_path / 'marker'}", "the test wants it"))
    model.reply("done")

    def decide(_: object) -> str:
        ended.wait()
        return "accept"

    with Codex(model.config(handler_timeout=0.2), on_command_approval=decide) as codex:
        events = codex.events()
        assert codex.thread_start(sandbox=Sandbox.read_only).run("x").final_response == "done"
        failed = next(event for event in events if isinstance(event, HandlerFailed))
        ended.set()
    assert "0.2" in failed.message or "200ms" in failed.message
    assert not (tmp_path / "marker").exists()


def test_a_stream_beyond_its_limit_ends_and_the_turn_does_not(model: ScriptedModel):
    model.reply(ModelReply().delta("he").delta("llo"))
    with Codex(model.config(stream_limit=1)) as codex:
        turn = codex.thread_start().turn("x")
        assert turn.run().final_response == "hello"
        with pytest.raises(StreamOverflowError):
            list(turn.stream())


def test_requests_carry_the_trace_of_their_caller(wire, model: ScriptedModel):
    current: dict[str, str] | None = None

    def headers() -> dict[str, str] | None:
        return current

    wire.config.trace_context = headers
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with Codex(wire.config) as codex:
        current = {"traceparent": parent, "tracestate": "a=b", "baggage": "c=d"}
        codex.account()
        current = {"traceparent": parent}
        codex.models()
        current = {}
        codex.thread_list()
    messages = [json.loads(line) for line in wire.log.read_text().splitlines()]
    traces = {message.get("method"): message.get("trace") for message in messages}
    assert traces["account/read"] == {"traceparent": parent, "tracestate": "a=b"}
    assert traces["model/list"] == {"traceparent": parent}
    assert traces["thread/list"] is None and traces["initialize"] is None


def test_requests_of_tasks_carry_the_traces_of_their_tasks(wire, model: ScriptedModel):
    current: ContextVar[str | None] = ContextVar("current", default=None)

    def headers() -> dict[str, str]:
        parent = current.get()
        return {} if parent is None else {"traceparent": parent}

    async def run(codex: AsyncCodex, number: int) -> None:
        current.set(f"00-{number:032x}-b7ad6b7169203331-01")
        thread = await codex.thread_start(service_name=str(number))
        await thread.run(str(number))

    async def main() -> None:
        async with AsyncCodex(wire.config) as codex:
            await asyncio.gather(*(run(codex, number) for number in range(1, 5)))

    wire.config.trace_context = headers
    model.fallback("ok")
    asyncio.run(main())
    messages = [json.loads(line) for line in wire.log.read_text().splitlines()]
    numbers = {"thread/start": lambda p: p["serviceName"], "turn/start": lambda p: p["input"][0]["text"]}
    traced = {
        (message["method"], int(message["trace"]["traceparent"].split("-")[1], 16))
        for message in messages
        if message.get("method") in numbers
        and int(numbers[message["method"]](message["params"])) == int(message["trace"]["traceparent"].split("-")[1], 16)
    }
    assert traced == {(method, number) for method in numbers for number in range(1, 5)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_request_survives_a_trace_function_that_raises(model: ScriptedModel):
    with Codex(model.config(trace_context=lambda: 1 / 0)) as codex:  # type: ignore[arg-type, return-value]
        assert codex.models().data
