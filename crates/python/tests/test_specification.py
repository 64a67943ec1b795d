"""The programs of the specification of May 2026, as it prints them, and each of its methods with all its parameters.

Where it prints only names and signatures, the program calls them all with the defaults that it gives. After these programs come
those of the sections that only the published package 0.163.0 has.
"""

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
    "context manager": """
        from openai_codex import Codex

        with Codex() as codex:
            ...

        print("Hello.")
    """,
    "async context manager": """
        import asyncio
        from openai_codex import AsyncCodex

        async def main():
            async with AsyncCodex() as codex:
                ...

        asyncio.run(main())
        print("Hello.")
    """,
    "public types": """
        from openai_codex.types import (
            ThreadReadResponse,
            Turn,
            TurnStatus,
        )
        from openai_codex import Codex

        with Codex() as codex:
            thread = codex.thread_start()
            result = thread.turn("Say hello.").run()
            read = thread.read(include_turns=True)
            assert isinstance(read, ThreadReadResponse)
            (turn,) = read.thread.turns
            assert isinstance(turn, Turn) and turn.status == TurnStatus.completed
            print(result.final_response)
    """,
    "codex": """
        import openai_codex
        from openai_codex import AppServerConfig, ApprovalMode, Codex, Thread
        from openai_codex.types import (
            InitializeResponse, ModelListResponse, ThreadArchiveResponse, ThreadListResponse
        )

        assert isinstance(openai_codex.__version__, str)
        config: AppServerConfig | None = None
        codex = Codex(config)
        assert isinstance(codex.metadata, InitializeResponse)
        thread = codex.thread_start(approval_mode=ApprovalMode.auto_review, base_instructions=None, config=None, cwd=None, developer_instructions=None, ephemeral=None, model=None, model_provider=None, personality=None, sandbox=None)
        print(thread.run("Say hello.").final_response)
        listed = codex.thread_list(archived=None, cursor=None, cwd=None, limit=None, model_providers=None, sort_key=None, source_kinds=None)
        assert isinstance(listed, ThreadListResponse) and [entry.id for entry in listed.data] == [thread.id]
        resumed = codex.thread_resume(thread.id, approval_mode=ApprovalMode.auto_review, base_instructions=None, config=None, cwd=None, developer_instructions=None, model=None, model_provider=None, personality=None, sandbox=None)
        forked = codex.thread_fork(thread.id, approval_mode=ApprovalMode.auto_review, base_instructions=None, config=None, cwd=None, developer_instructions=None, model=None, model_provider=None, sandbox=None)
        assert all(isinstance(opened, Thread) for opened in (thread, resumed, forked))
        assert resumed.id == thread.id != forked.id
        assert isinstance(codex.thread_archive(thread.id), ThreadArchiveResponse)
        assert isinstance(codex.thread_unarchive(thread.id), Thread)
        assert isinstance(codex.models(include_hidden=False), ModelListResponse)
        codex.close()
    """,
    "async codex": """
        import asyncio
        from openai_codex import ApprovalMode, AsyncCodex, AsyncThread
        from openai_codex.types import (
            InitializeResponse, ModelListResponse, ThreadArchiveResponse, ThreadListResponse
        )

        async def main():
            codex = AsyncCodex(None)
            thread = await codex.thread_start(approval_mode=ApprovalMode.auto_review, base_instructions=None, config=None, cwd=None, developer_instructions=None, ephemeral=None, model=None, model_provider=None, personality=None, sandbox=None)
            assert isinstance(codex.metadata, InitializeResponse)
            print((await thread.run("Say hello.")).final_response)
            listed = await codex.thread_list(archived=None, cursor=None, cwd=None, limit=None, model_providers=None, sort_key=None, source_kinds=None)
            assert isinstance(listed, ThreadListResponse) and [entry.id for entry in listed.data] == [thread.id]
            resumed = await codex.thread_resume(thread.id, approval_mode=ApprovalMode.auto_review, base_instructions=None, config=None, cwd=None, developer_instructions=None, model=None, model_provider=None, personality=None, sandbox=None)
            forked = await codex.thread_fork(thread.id, approval_mode=ApprovalMode.auto_review, base_instructions=None, config=None, cwd=None, developer_instructions=None, ephemeral=None, model=None, model_provider=None, sandbox=None)
            assert all(isinstance(opened, AsyncThread) for opened in (thread, resumed, forked))
            assert isinstance(await codex.thread_archive(thread.id), ThreadArchiveResponse)
            assert isinstance(await codex.thread_unarchive(thread.id), AsyncThread)
            assert isinstance(await codex.models(include_hidden=False), ModelListResponse)
            await codex.close()

        asyncio.run(main())
    """,
    "thread": """
        from openai_codex import ApprovalMode, Codex, RunResult, TextInput
        from openai_codex.types import ThreadCompactStartResponse, ThreadReadResponse, ThreadSetNameResponse

        with Codex() as codex:
            thread = codex.thread_start()
            result = thread.run("Say hello.", approval_mode=ApprovalMode.auto_review, cwd=None, effort=None, model=None, output_schema=None, personality=None, sandbox_policy=None, service_tier=None, summary=None)
            assert isinstance(result, RunResult)
            turn = thread.turn(TextInput("Say hello."), approval_mode=ApprovalMode.auto_review, cwd=None, effort=None, model=None, output_schema=None, personality=None, sandbox_policy=None, summary=None)
            assert turn.run().id == turn.id
            assert isinstance(thread.read(include_turns=False), ThreadReadResponse)
            assert isinstance(thread.set_name("name"), ThreadSetNameResponse)
            assert isinstance(thread.compact(), ThreadCompactStartResponse)
            print(result.final_response)
    """,
    "async thread": """
        import asyncio
        from openai_codex import ApprovalMode, AsyncCodex, RunResult, TextInput
        from openai_codex.types import ThreadCompactStartResponse, ThreadReadResponse, ThreadSetNameResponse

        async def main():
            async with AsyncCodex() as codex:
                thread = await codex.thread_start()
                result = await thread.run("Say hello.", approval_mode=ApprovalMode.auto_review, cwd=None, effort=None, model=None, output_schema=None, personality=None, sandbox_policy=None, service_tier=None, summary=None)
                assert isinstance(result, RunResult)
                turn = await thread.turn(TextInput("Say hello."), approval_mode=ApprovalMode.auto_review, cwd=None, effort=None, model=None, output_schema=None, personality=None, sandbox_policy=None, summary=None)
                assert (await turn.run()).id == turn.id
                assert isinstance(await thread.read(include_turns=False), ThreadReadResponse)
                assert isinstance(await thread.set_name("name"), ThreadSetNameResponse)
                assert isinstance(await thread.compact(), ThreadCompactStartResponse)
                print(result.final_response)

        asyncio.run(main())
    """,
    "inputs": """
        import base64
        from openai_codex import (
            Codex, ImageInput, Input, InputItem, LocalImageInput, MentionInput, SkillInput, TextInput
        )

        assert InputItem == TextInput | ImageInput | LocalImageInput | SkillInput | MentionInput
        assert Input == list[InputItem] | InputItem
        png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
        open("dot.png", "wb").write(base64.b64decode(png))
        open("SKILL.md", "w").write("A skill.")
        items = [
            TextInput(text="Say hello."),
            ImageInput(url=f"data:image/png;base64,{png}"),
            LocalImageInput(path="dot.png"),
            SkillInput(name="skill", path="SKILL.md"),
            MentionInput(name="mention", path="dot.png"),
        ]
        with Codex() as codex:
            print(codex.thread_start().run(items).final_response)
    """,
    "turn control": """
        from openai_codex import Codex, TextInput, TurnHandle
        from openai_codex.types import (
            Notification, SandboxMode, TurnInterruptResponse, TurnStatus
        )

        with Codex() as codex:
            thread = codex.thread_start(sandbox=SandboxMode.read_only)
            turn = thread.turn(TextInput("Say hello."), approval_mode=None, sandbox_policy=None)
            assert isinstance(turn, TurnHandle)
            # One client streams several turns at once.
            other = codex.thread_start().turn(TextInput("Say hello."))
            events = list(turn.stream())
            assert all(isinstance(event, Notification) for event in events)
            pieces = [event.payload.delta for event in events if event.method == "item/agentMessage/delta"]
            result = turn.run()
            assert (result.id, result.status, result.error) == (turn.id, TurnStatus.completed, None)
            assert other.run().status == TurnStatus.completed
            assert isinstance(turn.interrupt(), TurnInterruptResponse)
            print("".join(pieces))
    """,
    "async turn control": """
        import asyncio
        from openai_codex import AsyncCodex, AsyncTurnHandle, TextInput
        from openai_codex.types import Notification, TurnInterruptResponse, TurnStatus

        async def main():
            async with AsyncCodex() as codex:
                turn = await (await codex.thread_start()).turn(TextInput("Say hello."))
                assert isinstance(turn, AsyncTurnHandle)
                events = [event async for event in turn.stream()]
                assert all(isinstance(event, Notification) for event in events)
                result = await turn.run()
                assert (result.id, result.status, result.error) == (turn.id, TurnStatus.completed, None)
                assert isinstance(await turn.interrupt(), TurnInterruptResponse)
                print(result.final_response)

        asyncio.run(main())
    """,
    "sandboxes and external messages": """
        from openai_codex import Codex, ExternalMessage, Sandbox, TurnResult

        with Codex() as codex:
            thread = codex.thread_start(sandbox=Sandbox.workspace_write)
            result = thread.run(
                ExternalMessage(tool_name="ci", content="The build is red."), sandbox=Sandbox.read_only, source="ci"
            )
            assert isinstance(result, TurnResult) and result.duration_ms is not None
            print(result.final_response)
    """,
    "logins": """
        from openai_codex import Codex

        with Codex() as codex:
            login = codex.login_chatgpt()
            assert login.auth_url.startswith("https://")
            login.cancel()
            assert not login.wait().success
            codex.login_api_key("sk-test")
            codex.account()
            codex.logout()
        print("Hello.")
    """,
    "help": """
        import pydoc
        import openai_codex

        for subject in (openai_codex, openai_codex.Codex, openai_codex.Thread, openai_codex.CodexConfig):
            assert pydoc.render_doc(subject)
        print("Hello.")
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
