"""Turns of both clients: results, streams, steering, interrupts."""

import asyncio
import inspect
import threading
from typing import Any

import pytest
from openai_codex import ApprovalMode, AsyncCodex, AsyncThread, Codex, Sandbox, Thread, TurnHandle, TurnResult
from openai_codex.approvals import CommandApproval
from openai_codex.errors import InvalidInputError, InvalidRequestError, TransportClosedError
from openai_codex.generated import v2_all
from openai_codex.models import Notification
from openai_codex.testing import Gate, ModelReply, ScriptedModel
from openai_codex.tools import tool
from pydantic import BaseModel

STREAMED = [
    "turn/started",
    "item/started",
    "item/completed",
    "item/started",
    "item/agentMessage/delta",
    "item/agentMessage/delta",
    "item/completed",
    "thread/tokenUsage/updated",
    "turn/completed",
]


def hello() -> ModelReply:
    return ModelReply().delta("he").delta("llo").usage(11, 7, cached=3, reasoning=5)


def check_result(result: TurnResult) -> None:
    assert (result.final_response, result.status.value, result.error) == ("hello", "completed", None)
    assert [item.root.type for item in result.items] == ["userMessage", "agentMessage"]
    assert result.usage.total.total_tokens == 18
    assert isinstance(result.started_at, int) and isinstance(result.duration_ms, int)


def test_a_turn_runs(codex: Codex, model: ScriptedModel):
    model.reply(hello())
    check_result(codex.thread_start().run("Say hello."))
    assert model.requests[-1].last_user_text == "Say hello."


def test_an_async_turn_runs(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            model.reply(hello())
            check_result(await (await codex.thread_start()).run("Say hello."))

    asyncio.run(main())


def test_a_stream_has_all_events_and_the_result_is_whole_after_it(codex: Codex, model: ScriptedModel):
    model.reply(hello())
    turn = codex.thread_start().turn("x")
    stream = turn.stream()
    assert inspect.isgenerator(stream)
    events = list(stream)
    assert [event.method for event in events] == STREAMED
    assert "".join(e.payload.delta for e in events if e.method == "item/agentMessage/delta") == "hello"
    check_result(turn.run())
    check_result(turn.run())
    # A later stream begins now: it has the end.
    assert [event.method for event in turn.stream()] == ["turn/completed"]


def test_an_async_stream_has_all_events(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            model.reply(hello())
            turn = await (await codex.thread_start()).turn("x")
            stream: Any = turn.stream()
            assert inspect.isasyncgen(stream)
            assert [event.method async for event in stream] == STREAMED
            check_result(await turn.run())

    asyncio.run(main())


def test_a_stream_that_is_left_leaves_the_turn_alone(codex: Codex, model: ScriptedModel):
    model.reply(hello())
    turn = codex.thread_start().turn("x")
    for _ in turn.stream():
        break
    check_result(turn.run())


def test_a_text_stream_has_the_text_and_the_error_of_a_failed_turn(codex: Codex, model: ScriptedModel):
    thread = codex.thread_start()
    model.reply(ModelReply().delta('he"\\n').delta("llo ä"))
    turn = thread.turn("x")
    assert list(turn.stream_text()) == ['he"\\n', "llo ä"]
    model.reply(ModelReply().delta("half").fail("boom"))
    pieces: list[str] = []
    with pytest.raises(RuntimeError, match="boom"):
        pieces.extend(thread.turn("x").stream_text())
    assert pieces == ["half"]


def test_an_async_text_stream_has_the_text(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            model.reply(hello())
            turn = await (await codex.thread_start()).turn("x")
            assert [piece async for piece in turn.stream_text()] == ["he", "llo"]

    asyncio.run(main())


def test_the_final_response_follows_the_phases(codex: Codex, model: ScriptedModel):
    thread = codex.thread_start()
    reply = ModelReply()
    for parts, expected in (
        (reply.message("one", "commentary"), None),
        (reply.message("one", "commentary").message("two", "final_answer"), "two"),
        (reply.message("one", "final_answer").message("two", "commentary"), "one"),
        (reply.delta(""), ""),
    ):
        model.reply(parts)
        assert thread.run("x").final_response == expected


def test_a_turn_that_is_interrupted_is_a_result(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    turn = codex.thread_start().turn("x")
    gate.wait_reached()
    turn.interrupt()
    assert turn.run().status.value == "interrupted"
    turn.interrupt()


def test_a_steer_reaches_the_model(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply.exec_command("true").pause(gate))
    model.fallback("done")
    turn = codex.thread_start().turn("x")
    gate.wait_reached()
    assert turn.steer("more").turn_id == turn.id
    gate.release()
    assert turn.run().final_response == "done"
    assert model.requests[-1].last_user_text == "more"


def test_a_second_turn_on_a_busy_thread_joins_it(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    model.fallback("done")
    thread = codex.thread_start()
    turn = thread.turn("x")
    gate.wait_reached()
    joined = thread.turn("y")
    gate.release()
    assert joined.id == turn.id
    assert joined.run().final_response == turn.run().final_response == "done"


def test_turns_of_many_threads_run_at_once(codex: Codex, model: ScriptedModel):
    gates = [model.gate() for _ in range(4)]
    for number, gate in enumerate(gates):
        model.reply_to(f"x{number}", ModelReply().delta(f"y{number}").pause(gate))
    turns = [codex.thread_start().turn(f"x{number}") for number in range(4)]
    for gate in gates:
        gate.wait_reached()
    found = {}

    def collect(number: int) -> None:
        found[number] = [e.payload.delta for e in turns[number].stream() if e.method == "item/agentMessage/delta"]

    threads = [threading.Thread(target=collect, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for gate in gates:
        gate.release()
    for thread in threads:
        thread.join(30)
    assert found == {number: [f"y{number}"] for number in range(4)}


def test_many_async_turns_run_in_one_loop_without_threads_of_their_own(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            threads = [await codex.thread_start() for _ in range(8)]
            for number in range(8):
                model.reply_to(f"x{number}", f"y{number}")
            results = await asyncio.gather(*(thread.run(f"x{n}") for n, thread in enumerate(threads)))
            assert [result.final_response for result in results] == [f"y{number}" for number in range(8)]
            names = [thread.name for thread in threading.enumerate()]
            assert [name for name in names if name != "codex-prepare"] == ["MainThread"]

    asyncio.run(main())


def test_a_client_works_in_two_loops_at_once(model: ScriptedModel):
    model.fallback("ok")
    codex = AsyncCodex(model.config())
    found = []

    async def one():
        found.append((await (await codex.thread_start()).run("x")).final_response)

    threads = [threading.Thread(target=lambda: asyncio.run(one())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    asyncio.run(codex.close())
    assert found == ["ok", "ok"]


def test_first_calls_that_come_together_start_one_runtime(model: ScriptedModel):
    async def main():
        codex = AsyncCodex(model.config())
        with pytest.raises(RuntimeError):
            codex.metadata
        await asyncio.gather(*(codex.models() for _ in range(5)))
        assert codex.metadata.userAgent.startswith("codex_python_sdk/")
        await codex.close()

    asyncio.run(main())


def test_an_async_client_starts_again_after_its_close(model: ScriptedModel):
    model.fallback("ok")

    async def main():
        codex = AsyncCodex(model.config())
        thread = await codex.thread_start()
        await thread.run("x")
        await codex.close()
        with pytest.raises(RuntimeError):
            codex.metadata
        # The thread is resumed in the new runtime.
        assert (await thread.run("y")).final_response == "ok"
        await codex.close()

    asyncio.run(main())


def test_a_thread_keeps_its_functions_and_settings_when_its_client_starts_again(model: ScriptedModel, tmp_path):
    loops = []

    async def decide(request: CommandApproval) -> str:
        loops.append(asyncio.get_running_loop())
        return "accept"

    @tool
    async def lookup() -> str:
        """Looks it up."""
        return "seven"

    codex = AsyncCodex(model.config())

    async def first() -> AsyncThread:
        thread = await codex.thread_start(
            sandbox=Sandbox.workspace_write,
            cwd=str(tmp_path),
            base_instructions="Be brief.",
            on_command_approval=decide,
            tools=[lookup],
        )
        model.reply("first")
        # A turn's settings stay with its thread.
        await thread.run("x", sandbox=Sandbox.read_only)
        await codex.close()
        return thread

    async def second(thread: AsyncThread) -> None:
        model.reply(ModelReply.exec_command(f"touch {tmp_path / 'sandboxed'}"))
        model.reply(ModelReply().escalate(f"touch {tmp_path / 'approved'}", "the test wants it"))
        model.reply(ModelReply.tool_call("lookup", {}))
        model.reply("done")
        assert (await thread.run("y")).final_response == "done"
        assert loops == [asyncio.get_running_loop()]
        await codex.close()

    thread = asyncio.run(first())
    asyncio.run(second(thread))
    assert not (tmp_path / "sandboxed").exists() and (tmp_path / "approved").exists()
    assert model.requests[-1].last_output == "seven" and "Be brief." in str(model.requests[-1].body)


def test_an_ephemeral_thread_ends_with_its_client(model: ScriptedModel):
    async def main():
        codex = AsyncCodex(model.config())
        thread = await codex.thread_start(ephemeral=True)
        await codex.close()
        with pytest.raises(TransportClosedError, match="ended with its runtime"):
            await thread.run("x")
        await codex.close()

    asyncio.run(main())


def test_a_thread_can_be_made_by_hand(codex: Codex, model: ScriptedModel):
    model.fallback("ok")
    thread = codex.thread_start()
    thread.run("x")
    same = Thread(codex._client, thread.id)
    assert same == thread and repr(same).startswith("Thread(_client=<CodexClient")
    assert same.run("y").final_response == "ok"
    with pytest.raises(ValueError, match="made by hand"):
        TurnHandle(codex._client, thread.id, "turn").run()


def test_the_usage_of_a_turn_is_that_of_its_requests(codex: Codex, model: ScriptedModel):
    thread = codex.thread_start()
    result = None
    for _ in range(2):
        model.reply(ModelReply.exec_command("true").usage(10, 5))
        model.reply(ModelReply().delta("done").usage(20, 7))
        result = thread.run("x")
        assert result.turn_usage is not None and result.turn_usage.total_tokens == 42
    assert result is not None and result.usage is not None and result.usage.total.total_tokens == 84
    assert "turn_usage" not in repr(result)


def test_a_fork_has_the_turns_up_to_the_last_one(codex: Codex, model: ScriptedModel):
    model.fallback("ok")
    thread = codex.thread_start()
    turns = [thread.run(text).id for text in ("one", "two")]
    fork = codex.thread_fork(thread.id, last_turn_id=turns[0])
    fork.run("three")
    assert model.requests[-1].user_texts[-2:] == ["one", "three"]


def test_a_turn_is_interrupted_when_its_handle_is_dropped_if_it_should(codex: Codex, model: ScriptedModel):
    thread = codex.thread_start()
    for dropped in (True, False):
        gate = model.gate()
        model.reply(ModelReply().delta("he").pause(gate))
        turn = thread.turn("x", interrupt_on_drop=dropped)
        gate.wait_reached()
        events = thread.events()
        del turn
        gate.release()
        completed = next(event for event in events if event.method == "turn/completed")
        assert completed.payload.turn.status.value == ("interrupted" if dropped else "completed")


def test_an_unsubscribed_thread_can_be_read_and_runs_no_turn(codex: Codex, model: ScriptedModel):
    model.fallback("ok")
    thread = codex.thread_start()
    thread.run("x")
    assert thread.unsubscribe().status.value == "unsubscribed"
    assert len(list(thread.turns())) == 1 and thread.read().thread.id == thread.id
    with pytest.raises(InvalidInputError, match="has unsubscribed"):
        thread.run("y")
    assert codex.thread_resume(thread.id).run("y").final_response == "ok"


def test_an_async_thread_is_unsubscribed(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            thread = await codex.thread_start()
            assert (await thread.unsubscribe()).status.value == "unsubscribed"
            with pytest.raises(InvalidRequestError, match="rate limits"):
                await codex.rate_limits()

    asyncio.run(main())


def test_the_rate_limits_need_an_account(codex: Codex):
    with pytest.raises(InvalidRequestError, match="rate limits"):
        codex.rate_limits()


def test_compaction_begins(codex: Codex, model: ScriptedModel):
    model.fallback("ok")
    thread = codex.thread_start()
    thread.run("x")
    before = len(model.requests)
    assert thread.compact().model_dump() == {}
    model.wait_requested(before + 1)


def test_a_cancelled_run_interrupts_its_turn(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            thread = await codex.thread_start()
            gate = model.gate()
            model.reply(ModelReply().delta("he").pause(gate))
            running = asyncio.create_task(thread.run("x"))
            await asyncio.to_thread(gate.wait_reached)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            model.reply("next")
            # It waits for the end of the interrupted turn, and does not join it.
            assert (await thread.run("y")).final_response == "next"
            read = await thread.read(include_turns=True)
            assert [turn.status.value for turn in read.thread.turns] == ["interrupted", "completed"]

    asyncio.run(main())


def test_a_cancelled_run_of_a_handle_leaves_the_turn_alone(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            gate = model.gate()
            model.reply(ModelReply().delta("hello").pause(gate))
            turn = await (await codex.thread_start()).turn("x")
            await asyncio.to_thread(gate.wait_reached)

            async def follow():
                async for _ in turn.stream():
                    pass

            for waiting in (asyncio.create_task(turn.run()), asyncio.create_task(follow())):
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            gate.release()
            result = await turn.run()
            assert (result.status.value, result.final_response) == ("completed", "hello")

    asyncio.run(main())


def test_a_cancelled_start_of_a_turn_interrupts_it(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            thread: AsyncThread = await codex.thread_start()
            gate = model.gate()
            # The client may cancel before it has sent the request.
            model.reply_to("x", ModelReply().delta("he").pause(gate))
            model.reply_to("y", "next")
            starting = asyncio.create_task(thread.turn("x"))
            await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            assert (await thread.run("y")).final_response == "next"
            read = await thread.read(include_turns=True)
            assert "completed" not in [turn.status.value for turn in read.thread.turns[:-1]]

    asyncio.run(main())


def test_other_tasks_run_while_a_stream_is_read(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            gate = model.gate()
            model.reply(ModelReply().delta("he").pause(gate).delta("llo"))
            turn = await (await codex.thread_start()).turn("x")
            async for event in turn.stream():
                if event.method == "item/agentMessage/delta":
                    gate.release()
                    # A request of the same client does not wait for the stream.
                    assert (await codex.models()).data

    asyncio.run(main())


def test_an_approval_that_nothing_decides_is_declined(codex: Codex, model: ScriptedModel, tmp_path):
    from openai_codex.types import ThreadItem

    class Started(BaseModel):
        turn: dict[str, Any]

    marker = tmp_path / "marker"
    thread = codex.thread_start(cwd=str(tmp_path), sandbox=Sandbox.read_only)
    model.reply("first")
    thread.run("x")
    # The package has no mode in which the runtime asks the client. A turn's mode stays with its thread.
    params = {"threadId": thread.id, "input": [{"type": "text", "text": "x"}], "approvalsReviewer": "user"}
    model.reply("second")
    turn = codex._client.request("turn/start", params, response_model=Started).turn["id"]
    ended = False
    while not ended:
        turns = thread.read(include_turns=True).thread.turns
        ended = any(found.id == turn and found.status.value == "completed" for found in turns)
    model.reply(ModelReply().escalate(f"touch {marker}", "the test wants it"))
    model.reply("done")
    result = thread.run("x")
    assert result.final_response == "done"
    assert "declined" in [item.root.status.value for item in result.items if item.root.type == "commandExecution"]
    assert all(isinstance(item, ThreadItem) for item in result.items)
    assert not marker.exists()


def test_any_request_can_be_made(codex: Codex, model: ScriptedModel):
    assert codex.request("thread/loaded/list", {})["data"] == []
    thread = codex.thread_start()
    assert codex.request("thread/loaded/list", {})["data"] == [thread.id]
    with pytest.raises(InvalidRequestError):
        codex.request("no/such/method")

    async def main():
        async with AsyncCodex(model.config()) as other:
            assert (await other.request("thread/loaded/list", {}))["data"] == []

    asyncio.run(main())


def test_the_async_client_needs_asyncio(model: ScriptedModel):
    starting = AsyncCodex(model.config()).models()
    with pytest.raises(RuntimeError, match="needs a running asyncio event loop"):
        starting.send(None)


def delegates(model: ScriptedModel) -> Gate:
    """Scripts a turn that waits for a sub-agent: the gate is where it waits."""
    spawn = {"message": "help", "task_name": "helper"}
    model.reply_to("delegate", ModelReply.tool_call("spawn_agent", spawn, namespace="multi_agent_v1"))
    model.reply_to("help", ModelReply().delta("from ").delta("below"))
    gate = model.gate()
    model.reply_to("delegate", ModelReply().pause(gate).delta("from above"))
    # The model also gets the news of the sub-agent's end.
    model.fallback(", and noted")
    return gate


def text_of(event: Notification) -> str:
    return event.payload.delta if isinstance(event.payload, v2_all.AgentMessageDeltaNotification) else ""


@pytest.mark.parametrize("with_children", [False, True])
def test_a_stream_has_the_events_of_sub_agents_if_it_should(codex: Codex, model: ScriptedModel, with_children: bool):
    gate = delegates(model)
    turn = codex.thread_start(approval_mode=ApprovalMode.deny_all).turn("delegate")
    threads, below = set(), ""
    if not with_children:
        gate.release()
    for event in turn.stream(with_children=with_children):
        thread_id = getattr(event.payload, "thread_id", turn.thread_id)
        threads.add(thread_id)
        if thread_id != turn.thread_id:
            below += text_of(event)
        if event.method == "turn/completed":
            gate.release()
    assert below == ("from below" if with_children else "")
    assert len(threads) == (2 if with_children else 1)
    assert turn.run().status.value == "completed"


def test_an_async_stream_has_the_events_of_sub_agents(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            gate = delegates(model)
            turn = await (await codex.thread_start(approval_mode=ApprovalMode.deny_all)).turn("delegate")
            text, ends = "", []
            async for event in turn.stream(with_children=True):
                text += text_of(event)
                if event.method == "turn/completed":
                    ends.append(event.payload.turn.id)
                    gate.release()
            assert "from below" in text and "from above" in text
            assert len(ends) == 2 and ends[1] == turn.id

    asyncio.run(main())
