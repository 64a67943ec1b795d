"""Ctrl-C and cancellation at every kind of wait: it ends at once, and leaves no process."""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import alive, gone, pid_of
from openai_codex import AsyncCodex, Codex, CodexConfig
from openai_codex.testing import ModelReply, ScriptedModel


class Silent:
    """A program that never responds, and writes its process id to a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "pid"
        # It ends with its input, as a runtime does.
        program = "import os, sys; open(sys.argv[1], 'w').write(f'{os.getpid()}.'); sys.stdin.read()"
        self.config = CodexConfig(launch_args_override=(sys.executable, "-c", program, str(self.file)))

    def wait_started(self) -> int:
        while not (self.file.exists() and self.file.read_text().endswith(".")):
            time.sleep(0.005)
        return int(self.file.read_text()[:-1])


def send_sigint_after(wait) -> threading.Thread:
    def send() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_ctrl_c_ends_a_start_and_its_process(tmp_path):
    silent = Silent(tmp_path)
    sender = send_sigint_after(silent.wait_started)
    with pytest.raises(KeyboardInterrupt):
        Codex(silent.config)
    sender.join()
    assert gone(silent.wait_started())


def test_a_cancelled_start_ends_its_process(tmp_path):
    silent = Silent(tmp_path)

    async def main():
        codex = AsyncCodex(silent.config)
        starting = asyncio.create_task(codex.__aenter__())
        await asyncio.to_thread(silent.wait_started)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(main())
    assert gone(silent.wait_started())


def test_one_of_two_starts_can_be_cancelled(model: ScriptedModel):
    async def main():
        codex = AsyncCodex(model.config())
        first, second = (asyncio.create_task(codex.models()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await second).data
        await codex.close()

    asyncio.run(main())


def test_ctrl_c_ends_the_wait_for_a_login_and_leaves_the_login(codex: Codex):
    login = codex.login_chatgpt()
    waiting = threading.Event()
    sender = send_sigint_after(waiting.wait)
    with pytest.raises(KeyboardInterrupt):
        waiting.set()
        login.wait()
    sender.join()
    assert login.cancel().status.value == "canceled"
    assert not login.wait().success


def test_ctrl_c_ends_the_wait_for_a_turn_and_leaves_the_turn(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("hello").pause(gate))
    turn = codex.thread_start().turn("x")
    sender = send_sigint_after(gate.wait_reached)
    with pytest.raises(KeyboardInterrupt):
        turn.run()
    sender.join()
    gate.release()
    assert turn.run().final_response == "hello"


def test_an_error_in_a_consumer_leaves_the_turn_alone(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            model.reply("hello")
            turn = await (await codex.thread_start()).turn("x")
            with pytest.raises(ZeroDivisionError):
                async for _ in turn.stream():
                    print(1 / 0)
            assert (await turn.run()).final_response == "hello"

    asyncio.run(main())


def test_close_while_calls_wait_ends_them(model: ScriptedModel):
    async def main():
        codex = AsyncCodex(model.config())
        thread = await codex.thread_start()
        gate = model.gate()
        model.reply(ModelReply().delta("he").pause(gate))
        turn = await thread.turn("x")
        await asyncio.to_thread(gate.wait_reached)

        async def follow():
            async for _ in turn.stream():
                pass

        waiting = [asyncio.create_task(call) for call in (turn.run(), follow())]
        await asyncio.sleep(0)
        await codex.close()
        from openai_codex import TransportClosedError

        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, TransportClosedError)

    asyncio.run(main())


def test_a_loop_that_is_closed_with_calls_in_it_hangs_nothing(model: ScriptedModel):
    codex = AsyncCodex(model.config())

    async def leave():
        thread = await codex.thread_start()
        gate = model.gate()
        model.reply(ModelReply().delta("he").pause(gate))
        asyncio.get_running_loop().create_task(thread.run("x"))
        await asyncio.to_thread(gate.wait_reached)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    async def after():
        assert (await codex.models()).data
        await codex.close()

    asyncio.run(after())


def test_a_loop_that_is_dropped_with_calls_in_it_is_collected(model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))

    def leave() -> int:
        async def begin() -> int:
            codex = AsyncCodex(model.config())
            thread = await codex.thread_start()
            asyncio.get_running_loop().create_task(thread.run("x"))
            await asyncio.to_thread(gate.wait_reached)
            return pid_of(codex)

        loop = asyncio.new_event_loop()
        pid = loop.run_until_complete(begin())
        gc.collect()
        assert alive(pid)
        loop.close()
        return pid

    pid = leave()
    gc.collect()
    assert gone(pid)
