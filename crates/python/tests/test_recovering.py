"""Recorded results of turns, and input for a turn that may be over."""

import asyncio
import os
import signal

import pytest
from conftest import pid_of
from openai_codex import AsyncCodex, Codex
from openai_codex.client import RestartPolicy
from openai_codex.errors import TransportClosedError, TurnFailedError, TurnLostError
from openai_codex.generated.v2_all import ThreadItem
from openai_codex.testing import ModelReply, ScriptedModel


def test_a_recorded_turn_is_its_result(codex: Codex, model: ScriptedModel):
    thread = codex.thread_start()
    model.reply("done")
    turn = thread.turn("x")
    result = turn.run()
    for recovered in (turn.recover(), thread.recover(turn.id)):
        assert (recovered.id, recovered.status, recovered.final_response) == (result.id, result.status, "done")
        assert [item.root.type for item in recovered.items] == ["userMessage", "agentMessage"]
        assert all(isinstance(item, ThreadItem) for item in recovered.items) and recovered.usage is None


def test_a_recorded_failure_raises_and_an_unknown_turn_is_lost(codex: Codex, model: ScriptedModel):
    thread = codex.thread_start()
    model.reply(ModelReply.failed("boom"))
    turn = thread.turn("x")
    with pytest.raises(TurnFailedError):
        turn.run()
    with pytest.raises(TurnFailedError, match="boom") as caught:
        turn.recover()
    assert caught.value.turn is not None and caught.value.turn.id == turn.id
    with pytest.raises(TurnLostError, match="no record"):
        thread.recover("01a220f8-0000-7000-8000-000000000000")


def test_a_turn_of_a_lost_runtime_is_recovered(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config(restart=RestartPolicy())) as codex:
            thread = await codex.thread_start()
            gate = model.gate()
            model.reply(ModelReply().delta("half").pause(gate))
            turn = await thread.turn("x")
            await asyncio.to_thread(gate.wait_reached)
            os.kill(pid_of(codex), signal.SIGKILL)
            with pytest.raises(TransportClosedError):
                await turn.run()
            for recovered in (await turn.recover(), await thread.recover(turn.id)):
                assert recovered.status.value == "interrupted" and recovered.items[0].root.type == "userMessage"

    asyncio.run(main())


def test_input_joins_a_running_turn_and_starts_one_after_it(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    model.reply("both")
    turn = codex.thread_start().turn("x")
    gate.wait_reached()
    joined = turn.steer_or_start("y")
    gate.release()
    assert joined.id == turn.id and joined.run().final_response == turn.run().final_response == "both"
    model.reply("next")
    started = turn.steer_or_start("z")
    assert started.id != turn.id and "".join(started.stream_text()) == "next"
    assert started.run().final_response == "next"


def test_async_input_starts_a_turn_after_the_last(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            model.reply("one")
            turn = await (await codex.thread_start()).turn("x")
            await turn.run()
            model.reply("two")
            started = await turn.steer_or_start("y")
            assert started.id != turn.id and (await started.run()).final_response == "two"

    asyncio.run(main())
