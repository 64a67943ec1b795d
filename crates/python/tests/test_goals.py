"""Goals of threads, with the clients below `Codex` and `AsyncCodex`."""

import asyncio
import os
import signal
import threading
from typing import Any

import pytest
from openai_codex import _goal
from openai_codex._goal import GoalOperation
from openai_codex.async_client import AsyncCodexClient
from openai_codex.client import CodexClient
from openai_codex.errors import CodexTimeoutError, InvalidRequestError, StreamOverflowError, TransportClosedError
from openai_codex.events import Skipped
from openai_codex.generated.v2_all import ThreadGoalStatus, TurnStatus
from openai_codex.testing import Gate, ModelReply, ScriptedModel


@pytest.fixture
def client(model: ScriptedModel):
    model.add_config("features.goals = true\n")
    with CodexClient(model.config()) as client:
        yield client


def stored_thread(client: CodexClient, model: ScriptedModel) -> str:
    model.reply("stored")
    thread = client.thread_start().thread.id
    list(client.stream_text(thread, "x"))
    return thread


def held_goal(client: CodexClient, model: ScriptedModel, thread: str) -> tuple[GoalOperation, str, Gate]:
    """A goal whose first turn waits for the gate."""
    gate = model.gate()
    model.reply(ModelReply().delta("working").pause(gate))
    goal, turn_id = client.start_goal_operation(thread, "finish it")
    gate.wait_reached()
    return goal, turn_id, gate


def completes() -> ModelReply:
    return ModelReply.tool_call("update_goal", {"status": "complete"})


def test_a_goal_is_followed_over_its_turns(client: CodexClient, model: ScriptedModel):
    thread = stored_thread(client, model)
    model.reply("first part")
    model.reply(completes())
    model.reply("second part")
    goal, turn_id = client.start_goal_operation(thread, "finish it")
    assert (goal.thread_id, goal.logical_turn_id) == (thread, turn_id)
    seen = []
    while not goal.is_finished() or goal._pending:
        seen.append(client.next_goal_notification(goal))
    methods = [event.method for event in seen]
    assert methods.count("turn/started") == methods.count("turn/completed") == 2
    assert methods[0] == "thread/goal/updated" and methods[-1] == "turn/completed"
    texts: list[Any] = [event.payload for event in seen if event.method == "item/agentMessage/delta"]
    assert [delta.delta for delta in texts] == ["first part", "second part"]
    assert (goal.status, goal.current_turn_id, goal.cleared) == (ThreadGoalStatus.complete, None, False)
    assert goal.started_turn is not None and goal.started_turn.id == turn_id
    assert goal.completed_turn is not None and goal.completed_turn.id != turn_id
    with pytest.raises(TransportClosedError, match="the goal is over"):
        client.next_goal_notification(goal)
    model.reply("a plain turn")
    assert [delta.delta for delta in client.stream_text(thread, "y")] == ["a plain turn"]


def test_a_cancelled_goal_is_paused_and_its_turn_interrupted(client: CodexClient, model: ScriptedModel):
    thread = stored_thread(client, model)
    goal, turn_id, gate = held_goal(client, model, thread)
    assert goal.current_turn_id == turn_id
    client.cancel_goal_operation(goal)
    while client.next_goal_notification(goal).method != "turn/completed":
        pass
    assert goal.is_finished() and goal.status == ThreadGoalStatus.paused
    (*_, turn) = client.thread_read(thread, include_turns=True).thread.turns
    assert (turn.id, turn.status) == (turn_id, TurnStatus.interrupted)
    gate.release()
    # There is nothing left to interrupt.
    client.cancel_goal_operation(goal)


def test_a_thread_with_a_goal_takes_no_other_turn(client: CodexClient, model: ScriptedModel):
    thread = stored_thread(client, model)
    goal, _, gate = held_goal(client, model, thread)
    with pytest.raises(InvalidRequestError, match="works on a goal"):
        client.turn_start(thread, "y")
    with pytest.raises(InvalidRequestError, match="not idle"):
        client.start_goal_operation(thread, "another")
    for follow in (client.register_goal_operation, client.reserve_goal_operation):
        with pytest.raises(RuntimeError, match="already"):
            follow(thread)
    client.unregister_goal_operation(goal)
    with pytest.raises(TransportClosedError):
        while True:
            client.next_goal_notification(goal)
    # The goal goes on, and can be followed again.
    goal = client.register_goal_operation(thread)
    model.reply(completes())
    model.reply("done")
    gate.release()
    while not goal.is_finished():
        client.next_goal_notification(goal)
    assert goal.status == ThreadGoalStatus.complete


def test_a_goal_needs_a_stored_thread(client: CodexClient, model: ScriptedModel):
    thread = client.thread_start({"ephemeral": True}).thread.id
    with pytest.raises(InvalidRequestError, match="not stored"):
        client.start_goal_operation(thread, "finish it")
    assert client.reserve_goal_operation(thread).status is None


def test_a_goal_that_the_runtime_refuses_is_not_followed(model: ScriptedModel):
    model.add_config("features.goals = false\n")
    with CodexClient(model.config()) as client:
        thread = stored_thread(client, model)
        with pytest.raises(InvalidRequestError):
            client.start_goal_operation(thread, "finish it")
        model.reply("a plain turn")
        assert [delta.delta for delta in client.stream_text(thread, "y")] == ["a plain turn"]


def test_notifications_of_a_followed_goal_come_once(client: CodexClient, model: ScriptedModel):
    thread = stored_thread(client, model)
    goal, _, gate = held_goal(client, model, thread)
    client.cancel_goal_operation(goal)
    while not goal.is_finished():
        client.next_goal_notification(goal)
    gate.release()
    client.thread_set_name(thread, "n")
    others = []
    while others[-1:] != ["thread/name/updated"]:
        others.append(client.next_notification().method)
    assert not [method for method in others if method.startswith("thread/goal/")]
    # The program follows the goal no more.
    client.thread_goal_clear(thread)
    while client.next_notification().method != "thread/goal/cleared":
        pass


def test_a_goal_whose_client_is_closed_says_so(client: CodexClient, model: ScriptedModel):
    goal, _, gate = held_goal(client, model, stored_thread(client, model))
    client.close()
    gate.release()
    with pytest.raises(TransportClosedError):
        while True:
            client.next_goal_notification(goal)


def test_a_goal_that_does_not_start_is_paused(client: CodexClient, model: ScriptedModel, monkeypatch):
    thread = stored_thread(client, model)
    monkeypatch.setattr(_goal, "_START_TIMEOUT", 0.01)
    # The turn starts, and the client does not see it.
    monkeypatch.setattr(GoalOperation, "_observe", lambda *_: False)
    gate = model.gate()
    model.reply(ModelReply().delta("working").pause(gate))
    with pytest.raises(CodexTimeoutError, match="did not start a turn"):
        client.start_goal_operation(thread, "finish it")
    monkeypatch.undo()
    response: Any = client.request("thread/goal/get", {"threadId": thread}, response_model=GoalResponse)
    assert response["goal"]["status"] == "paused"
    gate.release()


class GoalResponse:
    """Reads a response as plain JSON."""

    @staticmethod
    def model_validate_json(text: bytes) -> Any:
        import json

        return json.loads(text)


class Full:
    """An observer that has dropped events."""

    def __init__(self) -> None:
        self.events: list[Any] = [Skipped(3)]

    def pop(self) -> Any:
        return self.events.pop() if self.events else None

    def close(self) -> None:
        pass


def test_a_goal_that_is_not_read_is_bounded_and_says_so(client: CodexClient):
    observer: Any = Full()
    goal = GoalOperation("t", observer, takes_turns=True)
    assert goal.status is None and repr(goal) == "<GoalOperation thread_id='t' status=None>"
    for _ in range(2):
        with pytest.raises(StreamOverflowError, match="dropped 3 events"):
            client.next_goal_notification(goal)


def test_an_async_goal_is_followed_and_cancelled(model: ScriptedModel):
    model.add_config("features.goals = true\n")

    async def main():
        async with AsyncCodexClient(model.config()) as client:
            model.reply("stored")
            thread = (await client.thread_start()).thread.id
            assert [delta.delta async for delta in client.stream_text(thread, "x")] == ["stored"]
            model.reply(completes())
            model.reply("done")
            goal, turn_id = await client.start_goal_operation(thread, "finish it")
            while not goal.is_finished():
                await client.next_goal_notification(goal)
            assert goal.completed_turn is not None and goal.completed_turn.id == turn_id
            gate = model.gate()
            model.reply(ModelReply().delta("working").pause(gate))
            goal, _ = await client.start_goal_operation(thread, "another")
            with pytest.raises(RuntimeError, match="already"):
                client.register_goal_operation(thread)
            await client.cancel_goal_operation(goal)
            while not goal.is_finished():
                await client.next_goal_notification(goal)
            assert (await client.pause_goal(thread)).goal.status == ThreadGoalStatus.paused
            client.unregister_goal_operation(goal)
            assert (await client.thread_goal_set(thread, objective="third", status=ThreadGoalStatus.paused)).goal
            assert (await client.thread_goal_clear(thread)).model_dump()
            gate.release()

    asyncio.run(main())


def test_a_start_whose_task_is_cancelled_pauses_the_goal(model: ScriptedModel, monkeypatch):
    model.add_config("features.goals = true\n")
    # The client does not see the turn start, so the call waits for it.
    monkeypatch.setattr(GoalOperation, "_observe", lambda *_: False)

    async def main():
        async with AsyncCodexClient(model.config()) as client:
            model.reply("stored")
            thread = (await client.thread_start()).thread.id
            assert [delta.delta async for delta in client.stream_text(thread, "x")] == ["stored"]
            gate = model.gate()
            model.reply(ModelReply().delta("working").pause(gate))
            starting = asyncio.create_task(client.start_goal_operation(thread, "finish it"))
            await asyncio.to_thread(gate.wait_reached)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            response = await client.request("thread/goal/get", {"threadId": thread}, response_model=GoalResponse)
            assert response["goal"]["status"] == "paused"
            turns = (await client.thread_read(thread, include_turns=True)).thread.turns
            assert turns[-1].status == TurnStatus.interrupted
            gate.release()

    asyncio.run(main())


def test_ctrl_c_in_a_start_pauses_the_goal(client: CodexClient, model: ScriptedModel, monkeypatch):
    thread = stored_thread(client, model)
    # The client does not see the turn start, so the call waits for it.
    monkeypatch.setattr(GoalOperation, "_observe", lambda *_: False)
    gate = model.gate()
    model.reply(ModelReply().delta("working").pause(gate))

    def send() -> None:
        gate.wait_reached()
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        client.start_goal_operation(thread, "finish it")
    sender.join()
    response: Any = client.request("thread/goal/get", {"threadId": thread}, response_model=GoalResponse)
    assert response["goal"]["status"] == "paused"
    assert client.thread_read(thread, include_turns=True).thread.turns[-1].status == TurnStatus.interrupted
    gate.release()
