"""Signals, forks, and the ends of the interpreter and of objects: no hang, and no process that is left."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from conftest import alive, pid_of
from openai_codex import AsyncCodex, Codex, TransportClosedError
from openai_codex.testing import ModelReply, ScriptedModel


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is left"
        time.sleep(0.01)


def interrupt_when(reached: threading.Event | object) -> threading.Thread:
    """Sends this process SIGINT once a model's gate is reached."""

    def send() -> None:
        reached.wait_reached()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_ctrl_c_ends_a_run_and_interrupts_its_turn(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    thread = codex.thread_start()
    sender = interrupt_when(gate)
    with pytest.raises(KeyboardInterrupt):
        thread.run("x")
    sender.join()
    model.reply("next")
    assert thread.run("y").final_response == "next"
    statuses = [turn.status.value for turn in thread.read(include_turns=True).thread.turns]
    assert statuses == ["interrupted", "completed"]


def test_ctrl_c_ends_a_stream_and_leaves_its_turn_alone(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("hello").pause(gate))
    turn = codex.thread_start().turn("x")
    sender = interrupt_when(gate)
    with pytest.raises(KeyboardInterrupt):
        for _ in turn.stream():
            pass
    sender.join()
    gate.release()
    assert turn.run().final_response == "hello"


def test_a_signal_handler_that_returns_ends_nothing(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("hello").pause(gate))
    seen = []

    def handler(number: int, _frame: object) -> None:
        seen.append(number)
        gate.release()

    old = signal.signal(signal.SIGINT, handler)
    try:
        sender = interrupt_when(gate)
        assert codex.thread_start().run("x").final_response == "hello"
        sender.join()
    finally:
        signal.signal(signal.SIGINT, old)
    assert seen == [signal.SIGINT]


def test_close_from_another_thread_ends_a_wait(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    thread = codex.thread_start()

    def close() -> None:
        gate.wait_reached()
        codex.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(TransportClosedError):
        thread.run("x")
    closer.join()


def test_a_runtime_that_dies_fails_the_turn_with_what_it_produced(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    thread = codex.thread_start()
    pid = pid_of(codex)

    def kill() -> None:
        gate.wait_reached()
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TransportClosedError) as caught:
        thread.run("x")
    killer.join()
    assert caught.value.turn.status.value == "inProgress"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_last_object_ends_the_runtime(model: ScriptedModel, asynchronous: bool):
    if asynchronous:

        async def main() -> int:
            codex = AsyncCodex(model.config())
            thread = await codex.thread_start()
            return pid_of(thread._codex)

        pid = asyncio.run(main())
    else:
        codex = Codex(model.config())
        thread = codex.thread_start()
        pid = pid_of(codex)
        del codex
        gc.collect()
        assert alive(pid)
        del thread
    gc.collect()
    wait_until_gone(pid)


PROGRAM = """
import asyncio, os, sys
from openai_codex import AsyncCodex, Codex
from openai_codex.testing import ModelReply, ScriptedModel

model = ScriptedModel()
gate = model.gate()
model.fallback(ModelReply().delta("he").pause(gate))
"""

ENDS = {
    "blocking": """
        codex = Codex(model.config())
        thread = codex.thread_start()
        turn = thread.turn("x")
        gate.wait_reached()
        print(codex._client._native.runtime_pid)
    """,
    "an exception": """
        codex = Codex(model.config())
        turn = codex.thread_start().turn("x")
        gate.wait_reached()
        print(codex._client._native.runtime_pid, flush=True)
        raise SystemExit("failed")
    """,
    "async, never closed": """
        async def main():
            codex = AsyncCodex(model.config())
            turn = await (await codex.thread_start()).turn("x")
            stream = turn.stream()
            await stream.__anext__()
            print(codex._client._current.runtime_pid)
            globals().update(kept=(codex, turn, stream))
        asyncio.run(main())
    """,
    "a handler that waits": """
        import threading
        called = threading.Event()

        def decide(request):
            called.set()
            threading.Event().wait()

        codex = Codex(model.config())
        thread = codex.thread_start(on_command_approval=decide)
        gate.release()
        model.reply(ModelReply().escalate("true", "the test wants it"))
        turn = thread.turn("x")
        assert called.wait(30)
        print(codex._client._native.runtime_pid)
    """,
    "a waiting daemon thread": """
        import threading
        codex = Codex(model.config())
        thread = codex.thread_start()
        threading.Thread(target=lambda: thread.run("x"), daemon=True).start()
        gate.wait_reached()
        print(codex._client._native.runtime_pid)
    """,
}


def run(program: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program that may end without the removal of its model's home. Pytest removes the folder."""
    command, env = [sys.executable, "-c", program], {**os.environ, "TMPDIR": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_the_interpreter_ends_the_runtime(end: str, tmp_path: Path):
    ended = run(PROGRAM + textwrap.dedent(ENDS[end]), tmp_path)
    assert ended.returncode == (1 if end == "an exception" else 0), ended.stderr
    assert "panicked" not in ended.stderr and "Fatal" not in ended.stderr, ended.stderr
    wait_until_gone(int(ended.stdout))


FORK = (
    PROGRAM
    + """
from openai_codex.client import CodexClient
codex = Codex(model.config())
thread = codex.thread_start()
turn = thread.turn("x")
gate.wait_reached()
below = CodexClient(model.config())
below.start()
child = os.fork()
if child == 0:
    from openai_codex import TransportClosedError
    calls = [codex.models, lambda: thread.run("y"), turn.run, lambda: list(turn.stream()), codex.thread_start, turn.interrupt]
    calls += [below.next_notification, below.model_list]
    for call in calls:
        try:
            call()
        except TransportClosedError as error:
            assert "fork" in str(error), error
        else:
            print("no error from", call)
    del codex, thread, turn, gate
    model.close()
    del below, model
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert model.home.is_dir()
gate.release()
print(turn.run().final_response)
codex.close()
below.close()
"""
)


FORK_DURING_IMPORTS = """
import importlib.machinery, os, sys, threading
import openai_codex.client
from openai_codex.testing import ScriptedModel

model = ScriptedModel()
model.fallback("he")
imports, forks = threading.Event(), threading.Event()

class Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module):
        # The module stays locked from its import by the client's own thread to the fork.
        assert threading.current_thread().name == "codex-prepare"
        imports.set()
        forks.wait()
        super().exec_module(module)

class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "openai_codex.generated":
            spec = super().find_spec(name, path, target)
            spec.loader = Loader(name, spec.origin)
            return spec

sys.meta_path.insert(0, Finder)
codex = openai_codex.Codex(model.config())
imports.wait()
os.register_at_fork(before=forks.set)
child = os.fork()
if child == 0:
    from openai_codex.generated import v2_all
    v2_all.TurnStartResponse
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(codex.thread_start().run("x").final_response)
codex.close()
model.close()
"""


def test_a_fork_waits_for_the_imports_of_the_client(tmp_path: Path):
    ended = run(FORK_DURING_IMPORTS, tmp_path)
    assert (ended.returncode, ended.stdout.strip()) == (0, "he"), ended.stdout + ended.stderr


def test_a_fork_gets_errors_and_ends_nothing(tmp_path: Path):
    ended = run(FORK, tmp_path)
    assert (ended.returncode, ended.stdout.strip()) == (0, "he"), ended.stdout + ended.stderr
