"""A program that mypy checks and no test runs: what annotations a consumer gets."""

from dataclasses import dataclass
from typing import Any

from openai_codex import AsyncCodex, Codex, CodexConfig, Sandbox, TurnResult, retry_on_overload
from openai_codex.approvals import CommandApproval, ElicitationRequest, PermissionsApproval, UserInputRequest
from openai_codex.events import HandlerFailed
from openai_codex.models import Notification
from openai_codex.testing import ModelReply, RecordedRequest, ScriptedModel
from openai_codex.tools import tool
from openai_codex.typed_output import TypedResult
from openai_codex.types import Thread, ThreadItem


def blocking() -> str | None:
    with Codex(CodexConfig(env={"A": "b"})) as codex:
        thread = codex.thread_start(sandbox=Sandbox.read_only, trust_folder=True)
        turn = thread.turn("x", sandbox_policy=None)
        for event in turn.stream():
            received: Notification = event
            print(received.method)
        result: TurnResult = turn.run()
        items: list[ThreadItem] = result.items
        threads: list[Thread] = codex.thread_list().data
        print(items, threads)
        return retry_on_overload(lambda: thread.run("y")).final_response


async def asynchronous() -> TurnResult:
    async with AsyncCodex() as codex:
        turn = await (await codex.thread_start()).turn("y")
        async for event in turn.stream():
            received: Notification = event
            print(received.method)
        return await turn.run()


@dataclass
class Point:
    x: int


def typed_output() -> int:
    with Codex() as codex:
        result = codex.thread_start().run("x", output_type=Point, timeout=60, sandbox=Sandbox.read_only)
        plain: TurnResult = codex.thread_start().run("x", effort=None, inactivity_timeout=1.5)
        print(plain, result.final_response)
        turn = codex.thread_start().turn("x", output_type=Point, timeout=60)
        for event in turn.stream():
            print(event.method)
        return result.value.x + turn.run().value.x


async def async_typed_output() -> Point:
    async with AsyncCodex() as codex:
        thread = await codex.thread_start()
        result: TypedResult[Point] = await thread.run("x", output_type=Point)
        plain: TurnResult = await thread.run("x")
        print(plain, (await (await thread.turn("x", output_type=Point)).run()).value.x)
        return result.value


@tool
def lookup(part: str, count: int = 1) -> str:
    return part * count


@tool(name="later", timeout=5)
async def later() -> None: ...


def decide(request: CommandApproval) -> str:
    return "accept" if request.shell_command == "git status" else "decline"


async def answer(request: UserInputRequest) -> dict[str, Any]:
    return request.answer({question["id"]: "yes" for question in request.questions})


def grant(request: PermissionsApproval) -> dict[str, Any]:
    return request.grant({}) if request.reason else request.decline()


async def fill(request: ElicitationRequest) -> dict[str, Any]:
    return request.accept({"name": "x"}) if request.requested_schema else request.cancel()


def observed() -> str:
    with Codex() as codex:
        for event in codex.events():
            if isinstance(event, HandlerFailed):
                return event.message
            if isinstance(event, Notification):
                print(event.method)
    return ""


async def listings() -> list[str]:
    with Codex() as codex:
        names = [stored.preview for stored in codex.threads(page_size=10)] + [m.id for m in codex.all_models()]
        thread = codex.thread_start()
        names += [turn.id for turn in thread.turns()] + [entry.turn_id for entry in thread.items()]
        print(list(thread.events()))
    async with AsyncCodex() as client:
        return names + [stored.id async for stored in client.threads()]


def handlers() -> AsyncCodex:
    with Codex(on_command_approval=decide) as codex:
        codex.thread_start(on_permissions_approval=grant)
        print(codex.request("thread/loaded/list", {})["data"])
    return AsyncCodex(on_command_approval=decide, on_user_input=answer, on_elicitation=fill)


def tools() -> str:
    with Codex() as codex:
        codex.thread_start(tools=[lookup, later])
    return lookup("x", count=2)


def scripted(model: ScriptedModel) -> list[RecordedRequest]:
    model.reply(ModelReply.failed("x"))
    return model.requests
