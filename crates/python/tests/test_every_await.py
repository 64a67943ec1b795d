"""Cancellation at every suspension point of the async calls, and after every wake of the loop while they wait."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest
from conftest import gone, pid_of
from openai_codex import AsyncCodex, AsyncThread, AsyncTurnHandle, TransportClosedError
from openai_codex.testing import Gate, ModelReply, ScriptedModel

# More than any call has. The tests end before.
MANY = 1_000


class Loop(asyncio.SelectorEventLoop):
    """An event loop that reports each wake by the client, after the loop has polled what was woken."""

    woken: Callable[[], None] | None = None

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        def report(*args: Any) -> None:
            callback(*args)
            if self.woken is not None:
                self.woken()

        super().add_reader(fd, report, *args)


def run(main: Coroutine[Any, Any, None]) -> None:
    loop = Loop()
    try:
        loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


class Suspended:
    """Awaits a coroutine, and cancels the task at one of its suspension points."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], point: int) -> None:
        self.coroutine, self.point = coroutine, point

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        points, value, error = 0, None, None
        while True:
            try:
                waits_for = self.coroutine.throw(error) if error is not None else self.coroutine.send(value)
            except StopIteration as stop:
                return stop.value
            if points == self.point:
                task.cancel()
            points += 1
            value, error = None, None
            try:
                value = yield waits_for
            except BaseException as raised:
                error = raised


async def cancelled_at_suspension(make: Callable[[], Coroutine[Any, Any, Any]], point: int) -> bool:
    """Whether the call was cancelled at this suspension point. It ends before if it has fewer."""

    async def call() -> None:
        await Suspended(make(), point)

    return await was_cancelled(asyncio.ensure_future(call()))


async def cancelled_after_wake(make: Callable[[], Coroutine[Any, Any, Any]], point: int) -> bool:
    """Whether the call was cancelled after this wake of the loop. It ends before if it needs fewer."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    wakes = 0
    task = asyncio.ensure_future(make())

    def woken() -> None:
        nonlocal wakes
        if wakes == point:
            task.cancel()
        wakes += 1

    loop.woken = woken
    try:
        return await was_cancelled(task)
    finally:
        loop.woken = None


async def was_cancelled(task: "asyncio.Future[Any]") -> bool:
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


WAYS = pytest.mark.parametrize("cancelled", [cancelled_at_suspension, cancelled_after_wake])


async def at_every_point(attempt: Callable[[int], Coroutine[Any, Any, bool]]) -> None:
    """Cancels a call at its first point, at its second, and so on, until an attempt says that the call ended before."""
    point = 0
    for _ in range(MANY):
        if await attempt(point):
            point += 1
        elif point > 0:
            return
        # On a busy machine the response may be there before the loop has to wait for it. Then the first point is tried again.
    raise AssertionError("the call never ends, or it never waits")


@WAYS
@pytest.mark.parametrize("method", ["run", "turn"])
def test_a_thread_goes_on_after_a_cancelled_turn(model: ScriptedModel, cancelled: Any, method: str):
    async def main() -> None:
        model.fallback("ok")
        async with AsyncCodex(model.config()) as codex:
            thread = await codex.thread_start()

            async def call() -> None:
                turn: Any = await getattr(thread, method)("x")
                if method == "turn":
                    await turn.run()

            async def attempt(point: int) -> bool:
                is_cancelled = await cancelled(call, point)
                # It joins no turn that was given up.
                assert (await thread.run("y")).final_response == "ok"
                read = await thread.read(include_turns=True)
                statuses = [turn.status.value for turn in read.thread.turns]
                assert statuses[-1] == "completed" and "inProgress" not in statuses
                return is_cancelled

            await at_every_point(attempt)

    run(main())


async def paused_turn(thread: AsyncThread, model: ScriptedModel) -> tuple[AsyncTurnHandle, Gate]:
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate).delta("llo"))
    turn = await thread.turn("x")
    await asyncio.to_thread(gate.wait_reached)
    return turn, gate


@WAYS
@pytest.mark.parametrize("method", ["run", "stream", "stream_text"])
def test_a_held_turn_goes_on_after_a_cancelled_wait(model: ScriptedModel, cancelled: Any, method: str):
    async def main() -> None:
        async with AsyncCodex(model.config()) as codex:
            thread = await codex.thread_start()

            async def attempt(point: int) -> bool:
                turn, gate = await paused_turn(thread, model)

                async def follow() -> None:
                    # The rest of the turn arrives while the call waits.
                    asyncio.get_running_loop().call_soon(gate.release)
                    if method == "run":
                        await turn.run()
                    else:
                        async for _ in getattr(turn, method)():
                            pass

                is_cancelled = await cancelled(follow, point)
                gate.release()
                result = await turn.run()
                assert (result.status.value, result.final_response) == ("completed", "hello")
                return is_cancelled

            await at_every_point(attempt)

    run(main())


@WAYS
def test_a_held_turn_goes_on_after_a_cancelled_steer(model: ScriptedModel, cancelled: Any):
    async def main() -> None:
        async with AsyncCodex(model.config()) as codex:
            thread = await codex.thread_start()
            turn, gate = await paused_turn(thread, model)
            model.fallback("done")
            await at_every_point(lambda point: cancelled(lambda: turn.steer("more"), point))
            gate.release()
            assert (await turn.run()).final_response == "done"
            # The steer that was not cancelled arrived.
            assert model.requests[-1].last_user_text == "more"

    run(main())


@WAYS
def test_a_turn_ends_after_a_cancelled_interrupt(model: ScriptedModel, cancelled: Any):
    async def main() -> None:
        async with AsyncCodex(model.config()) as codex:
            thread = await codex.thread_start()

            async def attempt(point: int) -> bool:
                turn, _gate = await paused_turn(thread, model)
                is_cancelled = await cancelled(turn.interrupt, point)
                await turn.interrupt()
                assert (await turn.run()).status.value == "interrupted"
                return is_cancelled

            await at_every_point(attempt)

    run(main())


@WAYS
def test_a_cancelled_close_can_be_finished_and_leaves_no_process(model: ScriptedModel, cancelled: Any):
    async def attempt(point: int) -> bool:
        codex = AsyncCodex(model.config())
        turn, _gate = await paused_turn(await codex.thread_start(), model)
        pid = pid_of(codex)
        is_cancelled = await cancelled(codex.close, point)
        await codex.close()
        with pytest.raises(TransportClosedError):
            await turn.run()
        assert await asyncio.to_thread(gone, pid)
        return is_cancelled

    run(at_every_point(attempt))


@WAYS
def test_a_client_starts_after_a_cancelled_start(model: ScriptedModel, cancelled: Any):
    async def attempt(point: int) -> bool:
        codex = AsyncCodex(model.config())
        is_cancelled = await cancelled(codex.__aenter__, point)
        assert (await codex.models()).data
        pid = pid_of(codex)
        await codex.close()
        assert await asyncio.to_thread(gone, pid)
        return is_cancelled

    run(at_every_point(attempt))


# Each makes a request that takes effect or not, and leaves a client that works.
REQUESTS: dict[str, Callable[[AsyncCodex, AsyncThread], Coroutine[Any, Any, Any]]] = {
    "AsyncCodex.thread_start": lambda codex, _: codex.thread_start(),
    "AsyncCodex.thread_list": lambda codex, _: codex.thread_list(),
    "AsyncCodex.thread_resume": lambda codex, thread: codex.thread_resume(thread.id),
    "AsyncCodex.thread_fork": lambda codex, thread: codex.thread_fork(thread.id),
    "AsyncCodex.models": lambda codex, _: codex.models(),
    "AsyncCodex.account": lambda codex, _: codex.account(),
    "AsyncCodex.login_api_key": lambda codex, _: codex.login_api_key("sk-test"),
    "AsyncCodex.login_chatgpt": lambda codex, _: codex.login_chatgpt(),
    "AsyncCodex.logout": lambda codex, _: codex.logout(),
    "AsyncCodex.request": lambda codex, _: codex.request("thread/loaded/list", {}),
    "AsyncThread.read": lambda _, thread: thread.read(),
    "AsyncThread.set_name": lambda _, thread: thread.set_name("n"),
}


@WAYS
@pytest.mark.parametrize("name", REQUESTS)
def test_a_client_works_after_a_cancelled_request(model: ScriptedModel, cancelled: Any, name: str):
    async def main() -> None:
        model.fallback("ok")
        async with AsyncCodex(model.config()) as codex:
            thread = await codex.thread_start()
            await thread.run("x")

            async def attempt(point: int) -> bool:
                is_cancelled = await cancelled(lambda: REQUESTS[name](codex, thread), point)
                assert (await codex.request("thread/loaded/list", {}))["data"]
                return is_cancelled

            await at_every_point(attempt)
            assert (await thread.run("y")).final_response == "ok"

    run(main())
