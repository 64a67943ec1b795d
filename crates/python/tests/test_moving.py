"""Threads that move to another home."""

import asyncio
import pickle
from collections.abc import Iterator

import pytest
from openai_codex import AsyncCodex, Codex
from openai_codex.errors import CodexError, InvalidInputError
from openai_codex.rollout import Rollout
from openai_codex.testing import ScriptedModel


@pytest.fixture
def elsewhere() -> Iterator[ScriptedModel]:
    """A model whose runtime has another home."""
    with ScriptedModel() as model:
        model.fallback("there")
        yield model


def test_a_thread_moves_with_its_history(codex: Codex, model: ScriptedModel, elsewhere: ScriptedModel):
    model.fallback("here")
    thread = codex.thread_start()
    thread.run("one")
    rollout = pickle.loads(pickle.dumps(thread.export()))
    assert isinstance(rollout, Rollout) and rollout.thread_id == thread.id
    assert rollout.data not in repr(rollout)
    with Codex(elsewhere.config()) as other:
        moved = other.thread_import(rollout)
        assert moved.id == thread.id
        assert moved.run("two").final_response == "there"
        assert elsewhere.requests[-1].user_texts[-2:] == ["one", "two"]
        with pytest.raises(InvalidInputError):
            other.thread_import(rollout)
        with pytest.raises(InvalidInputError):
            other.thread_import(Rollout("t", "../name", ""))


def test_an_async_thread_moves_with_its_history(model: ScriptedModel, elsewhere: ScriptedModel):
    async def main():
        model.fallback("here")
        async with AsyncCodex(model.config()) as codex, AsyncCodex(elsewhere.config()) as other:
            thread = await codex.thread_start()
            await thread.run("one")
            moved = await other.thread_import(await thread.export())
            assert (await moved.run("two")).final_response == "there"
            with pytest.raises(CodexError):
                await (await codex.thread_start(ephemeral=True)).export()

    asyncio.run(main())
