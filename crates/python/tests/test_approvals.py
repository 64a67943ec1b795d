"""Functions that decide about approvals."""

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from openai_codex import ApprovalMode, AsyncCodex, Codex, Sandbox
from openai_codex.approvals import (
    CommandApproval,
    ElicitationRequest,
    FileChangeApproval,
    PermissionsApproval,
    UserInputRequest,
)
from openai_codex.events import AnsweredByDefault
from openai_codex.testing import ModelReply, ScriptedModel


@pytest.fixture
def marker(model: ScriptedModel, tmp_path):
    """A file that an approved command makes."""
    path = tmp_path / "marker"
    model.reply(ModelReply().escalate(f"touch {path}", "the test wants it"))
    model.reply("done")
    return path


def decide_with(codex: Codex, handler):
    return codex.thread_start(sandbox=Sandbox.read_only, on_command_approval=handler)


@pytest.mark.parametrize("decision", ["accept", "decline"])
def test_a_function_decides(codex: Codex, marker, decision: str):
    received: list[CommandApproval] = []

    def decide(request: CommandApproval) -> str:
        received.append(request)
        return decision

    thread = decide_with(codex, decide)
    result = thread.run("x")
    (request,) = received
    assert request.shell_command == f"touch {marker}" and request.reason == "the test wants it"
    assert (request.thread_id, request.turn_id) == (thread.id, result.id)
    assert request.params["itemId"] == request.item_id
    assert request.argv is not None and request.argv[-1] == f"touch {marker}"
    assert "accept" in request.available_decisions
    assert marker.exists() == (decision == "accept")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_function_of_an_async_client_decides(model: ScriptedModel, marker, asynchronous: bool):
    async def main():
        threads = []

        def decide(request: CommandApproval) -> str:
            threads.append(threading.current_thread().name)
            return "accept"

        async def decide_later(request: CommandApproval) -> str:
            await asyncio.sleep(0)
            return decide(request)

        async with AsyncCodex(model.config()) as codex:
            handler = decide_later if asynchronous else decide
            thread = await codex.thread_start(sandbox=Sandbox.read_only, on_command_approval=handler)
            await thread.run("x")
        assert marker.exists()
        assert threads == ["MainThread" if asynchronous else "codex-handler"]

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("handler", [lambda _: 1 / 0, lambda _: None, lambda _: {"no": 1}])
def test_a_function_that_fails_or_returns_nonsense_approves_nothing(codex: Codex, marker, handler):
    assert decide_with(codex, handler).run("x").final_response == "done"
    assert not marker.exists()


@pytest.mark.parametrize("decision", ["accept", "decline"])
def test_a_function_decides_about_file_changes(codex: Codex, model: ScriptedModel, tmp_path, decision: str):
    received: list[FileChangeApproval] = []

    def decide(request: FileChangeApproval) -> str:
        received.append(request)
        return decision

    path = tmp_path / "new.txt"
    model.reply(ModelReply().apply_patch(f"*** Begin Patch\n*** Add File: {path}\n+hello\n*** End Patch\n"))
    model.reply("done")
    options = {"cwd": str(tmp_path), "sandbox": Sandbox.read_only, "on_file_change_approval": decide}
    thread = codex.thread_start(**options)
    assert thread.run("x").final_response == "done"
    assert [request.thread_id for request in received] == [thread.id]
    assert path.exists() == (decision == "accept")


def test_a_resumed_thread_and_a_fork_have_their_own_functions(codex: Codex, model: ScriptedModel, tmp_path):
    received = []
    thread = codex.thread_start(sandbox=Sandbox.read_only)
    model.reply("ok")
    thread.run("x")
    for number, open_thread in enumerate((codex.thread_resume, codex.thread_fork)):
        model.reply(ModelReply().escalate(f"touch {tmp_path / str(number)}", "the test wants it"))
        model.reply("done")
        opened = open_thread(thread.id, on_command_approval=lambda request: received.append(request) or "decline")
        opened.run("y")
        assert received[number].thread_id == opened.id


@pytest.mark.parametrize("decision", ["accept", "decline"])
def test_a_function_of_the_client_decides_for_its_threads(model: ScriptedModel, marker, decision: str):
    received: list[CommandApproval] = []
    with Codex(model.config(), on_command_approval=lambda request: received.append(request) or decision) as codex:
        thread = codex.thread_start(sandbox=Sandbox.read_only)
        assert thread.run("x").final_response == "done"
    assert [request.thread_id for request in received] == [thread.id]
    assert marker.exists() == (decision == "accept")


def test_a_function_of_a_thread_comes_before_that_of_the_client(model: ScriptedModel, marker):
    with Codex(model.config(), on_command_approval=lambda _: "accept") as codex:
        decide_with(codex, lambda _: "decline").run("x")
    assert not marker.exists()


def test_an_async_function_of_the_client_runs_in_its_loop(model: ScriptedModel, marker):
    async def main():
        here, seen = asyncio.get_running_loop(), []

        async def decide(_: CommandApproval) -> str:
            seen.append(asyncio.get_running_loop() is here)
            return "accept"

        async with AsyncCodex(model.config(), on_command_approval=decide) as codex:
            await (await codex.thread_start(sandbox=Sandbox.read_only)).run("x")
        assert marker.exists() and seen == [True]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "granted"),
    [
        (lambda request: request.grant(), True),
        (lambda request: request.grant_file_system(), True),
        (lambda request: request.grant_network(), False),
        (lambda request: request.decline(), False),
    ],
)
def test_a_function_grants_permissions(model: ScriptedModel, tmp_path, answer, granted: bool):
    model.add_config("features.request_permissions_tool = true\n")
    permissions = {"file_system": {"write": [str(tmp_path)]}, "network": {"enabled": True}}
    arguments = {"reason": "the test wants it", "permissions": permissions}
    model.reply(ModelReply.tool_call("request_permissions", arguments))
    model.reply(ModelReply.exec_command(f"touch {tmp_path / 'marker'}"))
    model.reply("done")
    reasons = []

    def decide(request: PermissionsApproval):
        reasons.append(request.reason)
        return answer(request)

    with Codex(model.config()) as codex:
        thread = codex.thread_start(sandbox=Sandbox.read_only, on_permissions_approval=decide)
        assert thread.run("x").final_response == "done"
    assert reasons == ["the test wants it"]
    assert (tmp_path / "marker").exists() == granted


QUESTION = {
    "id": "color",
    "header": "Color",
    "question": "Which color?",
    "options": [{"label": "red", "description": "warm"}, {"label": "blue", "description": "cold"}],
}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_function_answers_questions(model: ScriptedModel, asynchronous: bool):
    model.add_config("features.default_mode_request_user_input = true\n")
    model.reply(ModelReply.tool_call("request_user_input", {"questions": [QUESTION]}))
    model.reply("done")

    def answer(request: UserInputRequest):
        return request.answer({question["id"]: question["options"][1]["label"] for question in request.questions})

    async def answer_later(request: UserInputRequest):
        return answer(request)

    async def main():
        async with AsyncCodex(model.config(), on_user_input=answer_later) as codex:
            return await (await codex.thread_start()).run("x")

    if asynchronous:
        result = asyncio.run(main())
    else:
        with Codex(model.config(), on_user_input=answer) as codex:
            result = codex.thread_start().run("x")
    assert result.final_response == "done"
    assert "blue" in (model.requests[-1].last_output or "")


def add_greeter(model: ScriptedModel, *arguments: str) -> None:
    """Makes the model call a tool of an MCP server, which asks the user."""
    command = json.dumps([str(Path(__file__).with_name("mcp_server.py")), *arguments])
    model.add_config(f"[mcp_servers.greeter]\ncommand = {json.dumps(sys.executable)}\nargs = {command}\n")
    model.reply(ModelReply.tool_call("greet", {}, namespace="mcp__greeter"))
    model.reply("done")


@pytest.fixture
def greeting(model: ScriptedModel) -> None:
    add_greeter(model)


@pytest.mark.parametrize("approved", [True, False])
def test_a_function_decides_about_a_tool_of_an_mcp_server_that_may_write(model: ScriptedModel, approved: bool):
    add_greeter(model, "writes")
    received: list[ElicitationRequest] = []

    def answer(request: ElicitationRequest):
        received.append(request)
        if len(received) == 1:
            return request.accept({}) if approved else request.decline()
        return request.accept({"name": "Ann"})

    with Codex(model.config(), on_elicitation=answer) as codex:
        codex.thread_start(approval_mode=ApprovalMode.ask, sandbox=Sandbox.read_only).run("x")
    assert received[0].params["_meta"]["codex_approval_kind"] == "mcp_tool_call"
    assert len(received) == (2 if approved else 1)
    assert ("Ann" in (model.requests[-1].last_output or "")) == approved


@pytest.mark.parametrize("of_the_client", [False, True])
@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
def test_a_function_answers_an_mcp_server(model: ScriptedModel, greeting, action: str, of_the_client: bool):
    received: list[ElicitationRequest] = []

    def answer(request: ElicitationRequest):
        received.append(request)
        if action == "accept":
            return request.accept({"name": "Ann"})
        return request.decline() if action == "decline" else request.cancel()

    handlers: dict[str, Any] = {"on_elicitation": answer}
    with Codex(model.config(), **(handlers if of_the_client else {})) as codex:
        thread = codex.thread_start(
            approval_mode=ApprovalMode.ask, sandbox=Sandbox.read_only, **({} if of_the_client else handlers)
        )
        result = thread.run("x")
    (request,) = received
    assert (request.thread_id, request.turn_id) == (thread.id, result.id)
    assert (request.server_name, request.message) == ("greeter", "Your name?")
    assert request.requested_schema is not None and request.requested_schema["required"] == ["name"]
    (call,) = [item.root for item in result.items if item.root.type == "mcpToolCall"]
    said = json.loads(call.result.content[0]["text"])
    assert said["action"] == action and (said.get("content") == {"name": "Ann"}) == (action == "accept")


def test_an_async_function_answers_an_mcp_server(model: ScriptedModel, greeting):
    async def answer(request: ElicitationRequest):
        return request.accept({"name": "Ann"})

    async def main():
        async with AsyncCodex(model.config()) as codex:
            options = {"approval_mode": ApprovalMode.ask, "sandbox": Sandbox.read_only, "on_elicitation": answer}
            await (await codex.thread_start(**options)).run("x")

    asyncio.run(main())
    assert "Ann" in (model.requests[-1].last_output or "")


def test_in_the_mode_ask_a_request_without_a_function_is_declined(model: ScriptedModel, marker):
    with Codex(model.config()) as codex:
        thread = codex.thread_start(sandbox=Sandbox.read_only, approval_mode=ApprovalMode.ask)
        assert thread.run("x").final_response == "done"
    assert not marker.exists()


def test_a_turn_in_the_mode_ask_asks_the_program(model: ScriptedModel, marker):
    with Codex(model.config(), on_user_input=lambda request: request.answer({})) as codex:
        thread = codex.thread_start(sandbox=Sandbox.read_only, approval_mode=ApprovalMode.deny_all)
        events = codex.events()
        thread.run("x", approval_mode=ApprovalMode.ask)
        answered = next(event for event in events if isinstance(event, AnsweredByDefault))
    assert answered.declined and not marker.exists()


def test_an_async_function_needs_an_async_client(codex: Codex):
    async def decide(_: CommandApproval) -> str:
        return "accept"

    with pytest.raises(TypeError, match="needs an AsyncCodex"):
        decide_with(codex, decide)
    with pytest.raises(TypeError, match="needs an AsyncCodex"):
        Codex(on_command_approval=decide)
    with pytest.raises(TypeError, match="is a function"):
        decide_with(codex, "accept")


@pytest.mark.parametrize("entry", [("approval_policy", "never"), ("approvals_reviewer", "user")])
def test_an_entry_of_the_configuration_replaces_the_default_mode(codex: Codex, model: ScriptedModel, entry):
    model.reply("ok")
    thread = codex.thread_start(config=dict([entry]))
    thread.run("go")
    now = codex.request("thread/resume", {"threadId": thread.id})
    expected = {"approval_policy": "on-request", "approvals_reviewer": "auto_review", **dict([entry])}
    # An older name.
    reviewer = now["approvalsReviewer"].replace("guardian_subagent", "auto_review")
    assert {"approval_policy": now["approvalPolicy"], "approvals_reviewer": reviewer} == expected
