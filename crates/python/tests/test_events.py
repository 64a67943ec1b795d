"""Observers of a client's connection."""

import asyncio
import threading

import pytest
from openai_codex import AsyncCodex, Codex, Sandbox
from openai_codex.events import AnsweredByDefault, HandlerFailed
from openai_codex.models import Notification
from openai_codex.testing import ModelReply, ScriptedModel


def methods(seen) -> list[str]:
    return [event.method for event in seen if isinstance(event, Notification)]


def test_an_observer_sees_all_turns_and_ends_with_the_client(codex: Codex, model: ScriptedModel):
    events = codex.events()
    seen: list = []
    reading = threading.Thread(target=lambda: seen.extend(events))
    reading.start()
    threads = [codex.thread_start(), codex.thread_start()]
    for thread in threads:
        model.reply("hello")
        thread.run("x")
    codex.close()
    reading.join()
    deltas = [event for event in seen if isinstance(event, Notification) and event.method == "item/agentMessage/delta"]
    assert {event.payload.thread_id for event in deltas} == {thread.id for thread in threads}
    assert "".join(event.payload.delta for event in deltas) == "hello" * 2
    assert methods(seen).count("turn/completed") == 2


def test_an_async_observer_sees_the_turn(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            events = codex.events()
            thread = await codex.thread_start()
            model.reply("hello")
            await thread.run("x")
            seen = []
            async for event in events:
                seen.append(event)
                if methods([event]) == ["turn/completed"]:
                    break
            assert "item/agentMessage/delta" in methods(seen)

    asyncio.run(main())


def test_an_observer_of_a_thread_sees_only_its_events(codex: Codex, model: ScriptedModel):
    model.fallback("hello")
    threads = [codex.thread_start(), codex.thread_start()]
    events = threads[1].events()
    for thread in threads:
        thread.run("x")
    seen: list = []
    for event in events:
        seen.append(event)
        if methods([event]) == ["turn/completed"]:
            break
    assert "item/agentMessage/delta" in methods(seen)
    assert {event.payload.thread_id for event in seen if hasattr(event.payload, "thread_id")} == {threads[1].id}


def test_an_async_observer_of_a_thread_ends_with_the_client(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            model.fallback("hello")
            threads = [await codex.thread_start(), await codex.thread_start()]
            events = threads[0].events()
            for thread in threads:
                await thread.run("x")
        assert methods([event async for event in events]).count("turn/completed") == 1

    asyncio.run(main())


def test_a_closed_observer_ends_the_call_that_waits_for_it(codex: Codex):
    observer = codex._client._native.events()
    seen: list = []
    reading = threading.Thread(target=lambda: seen.extend(iter(lambda: observer.next().wait(), None)))
    reading.start()
    observer.close()
    reading.join()
    assert observer.next().wait() is None


def test_a_cancelled_read_loses_nothing(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            observer = codex._native.events()
            from openai_codex._wait import wait

            # Nothing happens yet, or what the start of the runtime brings.
            with pytest.raises(asyncio.TimeoutError):
                while True:
                    await asyncio.wait_for(wait(observer.next()), 0.2)
            model.reply("hello")
            await (await codex.thread_start()).run("x")
            while methods([await wait(observer.next())]) != ["turn/completed"]:
                pass

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_observer_sees_a_function_that_fails(codex: Codex, model: ScriptedModel, tmp_path):
    events = codex.events()
    model.reply(ModelReply().escalate(f"touch {tmp_path / 'x'}", "the test wants it"))
    model.reply("done")
    codex.thread_start(sandbox=Sandbox.read_only, on_command_approval=lambda _: str(1 / 0)).run("x")
    failed = next(event for event in events if isinstance(event, HandlerFailed))
    assert failed.method == "item/commandExecution/requestApproval" and "ZeroDivisionError" in failed.message


def test_an_observer_sees_what_nothing_answers(model: ScriptedModel, tmp_path):
    model.reply(ModelReply().escalate(f"touch {tmp_path / 'x'}", "the test wants it"))
    model.reply("done")
    with Codex(model.config(), on_permissions_approval=lambda request: request.decline()) as codex:
        events = codex.events()
        codex.thread_start(sandbox=Sandbox.read_only).run("x")
        answered = next(event for event in events if isinstance(event, AnsweredByDefault))
    assert answered.declined and answered.method == "item/commandExecution/requestApproval"
