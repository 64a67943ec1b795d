"""One client used from many threads, and many clients in one process."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from conftest import gone, pid_of
from openai_codex import AsyncCodex, Codex, TransportClosedError
from openai_codex.testing import ModelReply, ScriptedModel


def at_once(count: int, call: Callable[[int], object]) -> list[object]:
    """The results of a call in many threads that begin together."""
    together = threading.Barrier(count, timeout=60)
    results: list[object] = [None] * count

    def run(number: int) -> None:
        together.wait()
        try:
            results[number] = call(number)
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


def test_many_threads_use_one_client(codex: Codex, model: ScriptedModel):
    for number in range(8):
        for turn in range(3):
            model.reply_to(f"{number}.{turn}", f"reply {number}.{turn}")

    def use(number: int) -> list[str | None]:
        thread = codex.thread_start()
        found = [thread.run(f"{number}.{turn}").final_response for turn in range(3)]
        assert codex.models().data and thread.read().thread.id == thread.id
        return found

    assert at_once(8, use) == [[f"reply {number}.{turn}" for turn in range(3)] for number in range(8)]


def test_many_threads_use_one_handle(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate).delta("llo"))
    turn = codex.thread_start().turn("x")
    read = threading.Event()

    def use(number: int) -> object:
        if number == 0:
            text = ""
            for event in turn.stream():
                if event.method == "item/agentMessage/delta":
                    text += event.payload.delta
                    read.set()
            return text
        if number == 1:
            assert read.wait(60)
            gate.release()
        return turn.run().final_response

    assert at_once(8, use) == ["hello"] * 8


def test_a_close_ends_the_calls_of_all_threads(codex: Codex, model: ScriptedModel):
    gates = [model.gate() for _ in range(4)]
    for number, gate in enumerate(gates):
        model.reply_to(f"x{number}", ModelReply().delta("he").pause(gate))

    def use(number: int) -> object:
        if number == 4:
            for gate in gates:
                gate.wait_reached()
            return codex.close()
        return codex.thread_start().run(f"x{number}")

    *ended, closed = at_once(5, use)
    assert closed is None
    assert [type(error) for error in ended] == [TransportClosedError] * 4


def test_many_clients_run_in_one_process(model: ScriptedModel):
    model.fallback("ok")
    pids: list[int] = []

    def use(_number: int) -> object:
        with Codex(model.config()) as codex:
            pids.append(pid_of(codex))
            return codex.thread_start().run("x").final_response

    async def use_async() -> object:
        async with AsyncCodex(model.config()) as codex:
            pids.append(pid_of(codex))
            return (await (await codex.thread_start()).run("x")).final_response

    async def main() -> None:
        blocking = asyncio.to_thread(at_once, 4, use)
        *results, found = await asyncio.gather(*(use_async() for _ in range(4)), blocking)
        assert (results, found) == (["ok"] * 4, ["ok"] * 4)

    asyncio.run(main())
    assert len(set(pids)) == 8
    assert all(gone(pid) for pid in pids)


def test_an_error_in_a_blocking_consumer_leaves_the_turn_alone(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate).delta("llo"))
    turn = codex.thread_start().turn("x")
    with pytest.raises(ZeroDivisionError):
        for event in turn.stream():
            if event.method == "item/agentMessage/delta":
                print(1 / 0)
    gate.release()
    assert turn.run().final_response == "hello"


@pytest.mark.parametrize("method", ["models", "thread_start", "__aenter__", "close"])
def test_an_event_loop_that_is_not_asyncios_gets_a_clear_error(model: ScriptedModel, method: str):
    codex = AsyncCodex(model.config())
    if method == "close":
        asyncio.run(codex.start())
    # As trio runs a coroutine.
    call = getattr(codex, method)()
    with pytest.raises(RuntimeError, match="needs a running asyncio event loop; it does not work on trio"):
        call.send(None)
    asyncio.run(codex.close())
