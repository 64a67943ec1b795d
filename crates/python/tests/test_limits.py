"""Limits of a turn: tokens, model requests, and what an interrupt ends."""

import asyncio
from typing import Any

import pytest
from openai_codex import AsyncCodex, Codex, Sandbox
from openai_codex.errors import BudgetExceededError, InvalidInputError
from openai_codex.testing import ModelReply, ScriptedModel

LIMITS: list[dict[str, Any]] = [{"max_model_requests": 1}, {"max_tokens": 10}]


def goes_on(model: ScriptedModel) -> None:
    """Makes the model call a tool, so that the turn would make another request."""
    model.reply(ModelReply.exec_command("true").usage(20, 5))
    model.fallback("too late")


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_turn_that_exceeds_its_budget_is_interrupted(
    codex: Codex, model: ScriptedModel, limit: dict[str, Any], streamed: bool
):
    goes_on(model)
    thread = codex.thread_start(sandbox=Sandbox.read_only)
    with pytest.raises(BudgetExceededError) as caught:
        thread.turn("x", **limit).run() if streamed else thread.run("x", **limit)
    assert caught.value.turn is not None and caught.value.turn.status.value == "interrupted"


def test_an_async_turn_that_exceeds_its_budget_is_interrupted(model: ScriptedModel):
    async def main():
        goes_on(model)
        async with AsyncCodex(model.config()) as codex:
            with pytest.raises(BudgetExceededError):
                await (await codex.thread_start(sandbox=Sandbox.read_only)).run("x", max_model_requests=1)

    asyncio.run(main())


def test_a_budget_of_nothing_is_refused(codex: Codex, model: ScriptedModel):
    with pytest.raises(InvalidInputError):
        codex.thread_start().run("x", max_tokens=0)
    assert not model.requests


@pytest.mark.parametrize("ends", [True, False])
def test_an_interrupt_ends_the_commands_of_the_turn_if_it_should(
    codex: Codex, model: ScriptedModel, tmp_path, ends: bool
):
    thread = codex.thread_start(cwd=str(tmp_path), sandbox=Sandbox.full_access)
    # The model gets control back while the command runs.
    command = {"cmd": "while [ ! -e end ]; do sleep 0.05; done", "yield_time_ms": 250, "login": False}
    model.reply(ModelReply.tool_call("exec_command", command))
    gate = model.gate()
    model.reply(ModelReply().pause(gate).delta("never"))
    turn = thread.turn("x", end_commands_on_interrupt=ends)
    gate.wait_reached()
    turn.interrupt()
    running = codex.request("thread/backgroundTerminals/list", {"threadId": thread.id})["data"]
    assert isinstance(running, list) and len(running) == (0 if ends else 1)
    (tmp_path / "end").touch()
    assert turn.run().status.value == "interrupted"
