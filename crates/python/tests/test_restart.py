"""Clients that replace a lost runtime."""

import asyncio
import os
import signal
from typing import Any

import pytest
from openai_codex import AsyncCodex, Codex, Sandbox
from openai_codex.client import RestartPolicy
from openai_codex.errors import InvalidInputError, TransportClosedError
from openai_codex.events import Restarted, Restarting, RuntimeLost
from openai_codex.testing import ModelReply, ScriptedModel
from openai_codex.tools import tool


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_the_next_use_starts_a_new_runtime_and_handles_go_on(model: ScriptedModel, tmp_path):
    received = []
    with Codex(model.config(restart=RestartPolicy())) as codex:
        thread = codex.thread_start(
            sandbox=Sandbox.read_only, on_command_approval=lambda request: received.append(request) or "accept"
        )
        model.reply("first")
        thread.run("x")
        gate = model.gate()
        model.reply(ModelReply().delta("half").pause(gate))
        turn = thread.turn("y")
        gate.wait_reached()
        events = codex.events()
        first = codex._client._native.runtime_pid
        kill(first)
        with pytest.raises(TransportClosedError) as caught:
            turn.run()
        assert caught.value.turn is not None and caught.value.turn.id == turn.id
        lost = next(event for event in events if isinstance(event, RuntimeLost))
        assert "signal 9" in lost.reason or "SIGKILL" in lost.reason

        model.reply(ModelReply().escalate(f"touch {tmp_path / 'marker'}", "the test wants it"))
        model.reply("done")
        assert thread.run("z").final_response == "done"
        assert len(received) == 1 and (tmp_path / "marker").exists()
        restarting = next(event for event in events if isinstance(event, Restarting))
        assert (restarting.attempt, restarting.pause, restarting.reason) == (1, 0.0, lost.reason)
        assert next(event for event in events if isinstance(event, Restarted)).attempt == 1
        assert codex._client._native.runtime_pid not in (None, first)
        assert codex.metadata.userAgent


def test_an_async_client_starts_a_new_runtime_and_handles_go_on(model: ScriptedModel):
    @tool
    async def lookup() -> str:
        """Looks it up."""
        return "seven"

    async def main():
        async with AsyncCodex(model.config(restart=RestartPolicy(max_attempts=2, window=60))) as codex:
            events = codex.events()
            thread = await codex.thread_start(tools=[lookup])
            model.reply("first")
            await thread.run("x")
            first = codex._native.runtime_pid
            kill(first)
            async for event in events:
                if isinstance(event, RuntimeLost):
                    # At once, and not only at the next use.
                    await codex.start()
                if isinstance(event, Restarted):
                    break
            assert codex._native.runtime_pid not in (None, first)
            model.reply(ModelReply.tool_call("lookup", {}))
            model.reply("done")
            assert (await thread.run("y")).final_response == "done"
            assert model.requests[-1].last_output == "seven"

    asyncio.run(main())


def test_without_a_policy_a_lost_runtime_stays_lost(codex: Codex, model: ScriptedModel):
    events = codex.events()
    kill(codex._client._native.runtime_pid)
    with pytest.raises(TransportClosedError):
        for _ in events:
            pass
    codex.start()
    with pytest.raises(TransportClosedError):
        codex.models()


@pytest.mark.parametrize("bad", [{"max_attempts": 0}, {"jitter": 2.0}])
def test_an_unusable_policy_is_refused(model: ScriptedModel, bad: dict[str, Any]):
    with pytest.raises(InvalidInputError, match="restart policy"):
        Codex(model.config(restart=RestartPolicy(**bad)))
