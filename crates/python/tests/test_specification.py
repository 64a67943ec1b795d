"""The programs of the specification of May 2026, as it prints them."""

import os
import subprocess
import sys
import textwrap

import pytest
from openai_codex.testing import ModelReply, ScriptedModel

PROGRAMS = {
    "example": """
        from openai_codex import Codex

        with Codex() as codex:
            thread = codex.thread_start(model="gpt-5.4", config={"model_reasoning_effort": "high"})
            result = thread.run("Say hello in one sentence.")
            print(result.final_response)
    """,
    "package entry": """
        from openai_codex import (
            Codex,
            AsyncCodex,
            ApprovalMode,
            RunResult,
            Thread,
            AsyncThread,
            TurnHandle,
            AsyncTurnHandle,
            Input,
            InputItem,
            TextInput,
            ImageInput,
            LocalImageInput,
            SkillInput,
            MentionInput,
        )
        from openai_codex.types import (
            InitializeResponse,
            ThreadItem,
            ThreadTokenUsage,
            TurnStatus,
        )

        with Codex() as codex:
            result = codex.thread_start(approval_mode=ApprovalMode.deny_all).run(TextInput(text="Say hello."))
            assert isinstance(codex.metadata, InitializeResponse)
            assert isinstance(result, RunResult)
            assert all(isinstance(item, ThreadItem) for item in result.items)
            assert isinstance(result.usage, ThreadTokenUsage)
            print(result.final_response)
    """,
    "retry and errors": """
        from openai_codex import (
            retry_on_overload,
            JsonRpcError,
            MethodNotFoundError,
            InvalidParamsError,
            ServerBusyError,
            is_retryable_error,
        )
        from openai_codex import Codex

        with Codex() as codex:
            thread = codex.thread_start()
            try:
                codex.thread_resume("00000000-0000-0000-0000-000000000000")
            except JsonRpcError as error:
                assert not is_retryable_error(error)
            print(retry_on_overload(lambda: thread.run("Say hello.")).final_response)
    """,
    "async": """
        import asyncio

        from openai_codex import AsyncCodex
        from openai_codex.types import ThreadReadResponse, Turn, TurnStatus

        async def main():
            async with AsyncCodex() as codex:
                thread = await codex.thread_start()
                turn = await thread.turn("Say hello.")
                async for event in turn.stream():
                    pass
                end = await turn.run()
                assert end.status == TurnStatus.completed
                read = await thread.read(include_turns=True)
                assert isinstance(read, ThreadReadResponse)
                assert all(isinstance(turn, Turn) for turn in read.thread.turns)
                print(end.final_response)

        asyncio.run(main())
    """,
    "turn control": """
        from openai_codex import Codex
        from openai_codex.types import SandboxMode, TurnStatus

        with Codex() as codex:
            thread = codex.thread_start(sandbox=SandboxMode.read_only)
            turn = thread.turn("Say hello.", approval_mode=None, sandbox_policy=None)
            pieces = [event.payload.delta for event in turn.stream() if event.method == "item/agentMessage/delta"]
            result = turn.run()
            assert (result.id, result.status, result.error) == (turn.id, TurnStatus.completed, None)
            print("".join(pieces))
    """,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_runs(program: str, model: ScriptedModel, tmp_path):
    model.fallback(ModelReply().delta("Hel").delta("lo.").usage(1, 1))
    environment = {**os.environ, **dict(model.env())}
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAMS[program])],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (0, "Hello.\n"), ended.stderr
