"""A turn runs once, however many callers ask for it, and however often."""

import asyncio
import os
import signal

import pytest
from conftest import pid_of
from openai_codex import AsyncCodex, Codex, TurnResult
from openai_codex.errors import InvalidRequestError, ThreadInUseError, TransportClosedError, TurnInterruptedError
from openai_codex.testing import ModelReply, ScriptedModel


def test_a_turn_runs_once_and_is_found(codex: Codex, model: ScriptedModel):
    model.reply("first")
    thread = codex.thread_start()
    ran = thread.ensure("k", "go", sandbox=None)
    assert (ran.outcome, ran.continued, ran.result.final_response, ran.half_done) == ("ran", 0, "first", [])
    assert ran.result.usage is not None and ran.result.turn_usage is not None
    found = thread.ensure("k", "go")
    assert (found.outcome, found.result.id, found.result.final_response) == ("found_done", ran.result.id, "first")
    assert [item.root.type for item in found.result.items] == ["userMessage", "agentMessage"]
    turn = thread.find_turn("k")
    assert turn is not None and turn.id == ran.result.id and thread.find_turn("other") is None
    assert len(model.requests) == 1


def half_done(model: ScriptedModel) -> str:
    """A thread whose turn was killed in the middle. Returns its id."""
    with Codex(model.config()) as codex:
        gate = model.gate()
        model.reply(ModelReply().delta("half").pause(gate))
        thread = codex.thread_start()
        turn = thread.turn("go")
        key = turn.client_message_id
        assert key is not None
        gate.wait_reached()
        os.kill(pid_of(codex), signal.SIGKILL)
        with pytest.raises(TransportClosedError):
            turn.run()
    return f"{thread.id} {key}"


def test_a_killed_turn_is_refused_or_continued(model: ScriptedModel):
    thread_id, key = half_done(model).split()
    with Codex(model.config()) as codex:
        thread = codex.thread_resume(thread_id, writer_timeout=60)
        with pytest.raises(TurnInterruptedError) as caught:
            thread.ensure(key, "go")
        assert caught.value.turn is not None and caught.value.turn.status.value == "interrupted"
        with pytest.raises(TurnInterruptedError):
            thread.ensure(key, "go", on_half_done=lambda partial: None)
        seen: list[TurnResult] = []
        model.reply("done")
        ensured = thread.ensure(key, "go", on_half_done=lambda partial: seen.append(partial) or "Go on.")
        assert (ensured.outcome, ensured.continued, ensured.result.final_response) == ("continued", 1, "done")
        assert [partial.id for partial in ensured.half_done] == [partial.id for partial in seen]


def test_an_async_call_continues_a_killed_turn(model: ScriptedModel):
    thread_id, key = half_done(model).split()

    async def main():
        async def decide(partial: TurnResult) -> str:
            await asyncio.sleep(0)
            return f"Go on after {len(partial.items)} items."

        async with AsyncCodex(model.config()) as codex:
            thread = await codex.thread_resume(thread_id)
            model.reply("done")
            ensured = await thread.ensure(key, "go", on_half_done=decide)
            assert (ensured.outcome, ensured.result.final_response) == ("continued", "done")
            model.reply("more")
            assert (await thread.ensure("other", "go", on_half_done="Go on.")).outcome == "ran"
            assert (await thread.find_turn("other")) is not None and (await thread.follow()) is None

    asyncio.run(main())


def test_a_running_turn_is_followed(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate).delta("llo"))
    thread = codex.thread_start()
    assert thread.follow() is None
    turn = thread.turn("go")
    gate.wait_reached()
    followed = thread.follow()
    assert followed is not None and (followed.id, followed.client_message_id) == (turn.id, None)
    gate.release()
    result = followed.run()
    assert result.final_response == turn.run().final_response == "hello"
    assert [item.root.type for item in result.items] == ["userMessage", "agentMessage"]


def test_a_thread_with_a_name_is_stored_before_its_first_turn(model: ScriptedModel):
    with Codex(model.config()) as first, Codex(model.config()) as other:
        thread, unnamed = first.thread_start(), first.thread_start()
        thread.set_name("k")
        with pytest.raises(ThreadInUseError):
            other.thread_resume(thread.id)
        os.kill(pid_of(first), signal.SIGKILL)
        model.reply("done")
        assert other.thread_resume(thread.id, writer_timeout=60).ensure("k", "go").outcome == "ran"
        with pytest.raises(InvalidRequestError, match="no rollout found"):
            other.thread_resume(unnamed.id)


def test_a_thread_that_another_runtime_has_loaded_is_in_use(codex: Codex, model: ScriptedModel):
    model.reply("one")
    thread = codex.thread_start()
    thread.run("x")
    with Codex(model.config()) as other, pytest.raises(ThreadInUseError):
        other.thread_resume(thread.id)
