"""Ctrl-C in every blocking call of the package: `KeyboardInterrupt` at once, and a client that works."""

import inspect
import json
import os
import signal
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import Swallowed, alive, gone, pid_of
from openai_codex import ChatgptLoginHandle, Codex, DeviceCodeLoginHandle, Thread, TurnHandle
from openai_codex._low_level import LowLevelMethods
from openai_codex.client import CodexClient
from openai_codex.rollout import Rollout
from openai_codex.testing import Gate, ModelReply, ScriptedModel


@dataclass
class Setting:
    """What the calls use."""

    codex: Codex
    model: ScriptedModel
    folder: Path
    # A model does not wait at a gate that nothing holds.
    gates: list[Gate] = field(default_factory=list)

    def gate(self) -> Gate:
        self.gates.append(self.model.gate())
        return self.gates[-1]

    def thread(self) -> Thread:
        """A stored thread."""
        self.model.fallback("ok")
        thread = self.codex.thread_start()
        thread.run("x")
        return thread

    def turn(self) -> TurnHandle:
        """A turn that runs."""
        gate = self.gate()
        self.model.reply(ModelReply().delta("he").pause(gate))
        turn = self.codex.thread_start().turn("x")
        gate.wait_reached()
        return turn

    def low_level_turn(self) -> str:
        """A turn of the client below that runs."""
        gate = self.gate()
        self.model.reply(ModelReply().delta("he").pause(gate))
        client = self.codex._client
        turn = client.turn_start(client.thread_start().thread.id, "x").turn.id
        gate.wait_reached()
        return turn


STORED = "0199a213-81c0-7800-8aa1-bbab2a035a53"
HEAD = json.dumps({"type": "session_meta", "payload": {"id": STORED}})
ROLLOUT = Rollout(STORED, f"rollout-2026-11-28T00-00-00-{STORED}.jsonl", b64encode(HEAD.encode()).decode())
Call = Callable[[], object]
# The method that the server never gets, and what prepares the call. Without a method the call waits for something else.
CALLS: dict[str, tuple[str | None, Callable[[Setting], Call]]] = {
    "Codex.login_api_key": ("account/login/start", lambda s: lambda: s.codex.login_api_key("sk-test")),
    "Codex.login_chatgpt": ("account/login/start", lambda s: s.codex.login_chatgpt),
    "Codex.login_chatgpt_device_code": ("account/login/start", lambda s: s.codex.login_chatgpt_device_code),
    "Codex.account": ("account/read", lambda s: s.codex.account),
    "Codex.rate_limits": ("account/rateLimits/read", lambda s: s.codex.rate_limits),
    "Codex.logout": ("account/logout", lambda s: s.codex.logout),
    "Codex.request": ("thread/loaded/list", lambda s: lambda: s.codex.request("thread/loaded/list", {})),
    "Codex.events": (None, lambda s: lambda: list(s.codex.events())),
    "Codex.threads": ("thread/list", lambda s: lambda: list(s.codex.threads())),
    "Codex.all_models": ("model/list", lambda s: lambda: list(s.codex.all_models())),
    "Codex.thread_start": ("thread/start", lambda s: s.codex.thread_start),
    "Codex.thread_list": ("thread/list", lambda s: s.codex.thread_list),
    "Codex.thread_resume": ("thread/resume", lambda s: lambda id=s.thread().id: s.codex.thread_resume(id)),
    "Codex.thread_fork": ("thread/fork", lambda s: lambda id=s.thread().id: s.codex.thread_fork(id)),
    "Codex.thread_archive": ("thread/archive", lambda s: lambda id=s.thread().id: s.codex.thread_archive(id)),
    "Codex.thread_unarchive": (
        "thread/unarchive",
        lambda s: lambda: s.codex.thread_unarchive("0199a213-81c0-7800-8aa1-bbab2a035a53"),
    ),
    "Codex.thread_import": ("thread/read", lambda s: lambda: s.codex.thread_import(ROLLOUT)),
    "Codex.models": ("model/list", lambda s: s.codex.models),
    "Thread.run": ("turn/start", lambda s: lambda t=s.codex.thread_start(): t.run("x")),
    "Thread.turn": ("turn/start", lambda s: lambda t=s.codex.thread_start(): t.turn("x")),
    "Thread.read": ("thread/read", lambda s: s.thread().read),
    "Thread.set_name": ("thread/name/set", lambda s: lambda t=s.thread(): t.set_name("n")),
    "Thread.compact": ("thread/compact/start", lambda s: s.thread().compact),
    "Thread.ensure": ("turn/start", lambda s: lambda t=s.codex.thread_start(): t.ensure("k", "x")),
    "Thread.find_turn": ("thread/turns/list", lambda s: lambda t=s.thread(): t.find_turn("k")),
    "Thread.follow": ("thread/turns/list", lambda s: lambda t=s.thread(): t.follow()),
    "Thread.export": ("thread/read", lambda s: s.thread().export),
    "Thread.unsubscribe": ("thread/unsubscribe", lambda s: s.thread().unsubscribe),
    "Thread.turns": ("thread/turns/list", lambda s: lambda t=s.thread(): list(t.turns())),
    "Thread.items": ("thread/items/list", lambda s: lambda t=s.thread(): list(t.items())),
    "Thread.events": (None, lambda s: lambda t=s.codex.thread_start(): list(t.events())),
    "Thread.recover": ("thread/read", lambda s: lambda t=s.thread(): t.recover("no-turn")),
    "TurnHandle.recover": ("thread/read", lambda s: lambda t=s.turn(): t.recover()),
    "TurnHandle.steer": ("turn/steer", lambda s: lambda t=s.turn(): t.steer("more")),
    "TurnHandle.interrupt": ("turn/interrupt", lambda s: s.turn().interrupt),
    "TurnHandle.stream": (None, lambda s: lambda t=s.turn(): list(t.stream())),
    "TurnHandle.stream_text": (None, lambda s: lambda t=s.turn(): list(t.stream_text())),
    "TurnHandle.run": (None, lambda s: s.turn().run),
    "ChatgptLoginHandle.wait": (None, lambda s: s.codex.login_chatgpt().wait),
    "ChatgptLoginHandle.cancel": ("account/login/cancel", lambda s: s.codex.login_chatgpt().cancel),
    "LowLevelMethods.request": (
        "thread/loaded/list",
        lambda s: lambda: s.codex._client.request("thread/loaded/list", {}, response_model=None),
    ),
    "LowLevelMethods.account_read": ("account/read", lambda s: s.codex._client.account_read),
    "LowLevelMethods.next_notification": (None, lambda s: lambda: all(iter(s.codex._client.next_notification, None))),
    "LowLevelMethods.next_turn_notification": (
        None,
        lambda s: lambda t=s.low_level_turn(): all(iter(lambda: s.codex._client.next_turn_notification(t), None)),
    ),
    "LowLevelMethods.wait_for_turn_completed": (
        None,
        lambda s: lambda t=s.low_level_turn(): s.codex._client.wait_for_turn_completed(t),
    ),
    "ScriptedModel.wait_requested": (None, lambda s: lambda: s.model.wait_requested(1000)),
    "Gate.wait_reached": (None, lambda s: s.model.gate().wait_reached),
}

# These have a test of their own, or the same code.
OTHERS = {
    "Codex.start",
    "Codex.close",
    "CodexClient.start",
    "CodexClient.close",
    # It starts a turn, as `Thread.turn` does.
    "TurnHandle.steer_or_start",
    # The same native code as the other login's. Only with a login service.
    "DeviceCodeLoginHandle.wait",
    "DeviceCodeLoginHandle.cancel",
}


def test_every_blocking_call_is_in_the_table():
    classes = (Codex, Thread, TurnHandle, ChatgptLoginHandle, DeviceCodeLoginHandle, CodexClient)
    public = {
        f"{cls.__name__}.{name}"
        for cls in classes
        for name, value in vars(cls).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    # The other methods below `Codex` make a request, as these do.
    below = {name for name in CALLS if name.startswith("LowLevelMethods.")}
    assert all(callable(getattr(LowLevelMethods, name.partition(".")[2])) for name in below)
    public |= below
    public |= {
        f"{cls.__name__}.{name}" for cls in (ScriptedModel, Gate) for name in dir(cls) if name.startswith("wait_")
    }
    assert public == CALLS.keys() | OTHERS


@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_ends_the_call_and_the_client_works(name: str, model: ScriptedModel, tmp_path):
    method, prepare = CALLS[name]
    swallowed = Swallowed(model, tmp_path, method or "nothing")
    with Codex(swallowed.config) as codex:
        setting = Setting(codex, model, tmp_path)
        call = prepare(setting)
        begun = threading.Event()
        reached = swallowed.wait if method is not None else begun.wait
        seen: list[object] = []

        def send() -> None:
            reached()
            os.kill(os.getpid(), signal.SIGINT)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        with pytest.raises(KeyboardInterrupt):
            begun.set()
            seen.append(call())
        assert seen == []
        sender.join()
        if method not in ("thread/start", "turn/start"):
            model.fallback("after")
            assert codex.thread_start().run("after").final_response == "after"
        else:
            assert codex.models().data
        for gate in setting.gates:
            gate.release()
    assert codex._client._native.runtime_pid is None


def test_ctrl_c_ends_a_close_and_the_process_ends_all_the_same(model: ScriptedModel, tmp_path):
    swallowed = Swallowed(model, tmp_path, "close")
    codex = Codex(swallowed.config)
    pid = pid_of(codex)
    assert alive(pid)

    def send() -> None:
        swallowed.wait()
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        codex.close()
    sender.join()
    codex.close()
    assert gone(pid)
