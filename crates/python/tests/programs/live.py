"""A live view of several agents in asyncio: every kind of event, steering, interrupting, partial text, and a JSON log."""
import asyncio, contextlib, copy, dataclasses, json, os, pickle
from openai_codex import AsyncCodex, CodexConfig, ExternalMessage, Sandbox, TurnResult
from openai_codex.generated.v2_all import (
    AgentMessageDeltaNotification, AgentMessageThreadItem, CommandExecutionThreadItem, ErrorNotification, ItemCompletedNotification,
    ItemStartedNotification, ThreadTokenUsageUpdatedNotification, TurnCompletedNotification, TurnStartedNotification, UserMessageThreadItem,
)
from openai_codex.generated.notification_registry import NOTIFICATION_MODELS, notification_turn_id
from openai_codex.models import Notification, UnknownNotification
from openai_codex.types import TurnStatus

log: list[str] = []

async def watch(turn) -> str:
    text = ""
    async with contextlib.aclosing(turn.stream()) as events:
        async for event in events:
            assert event.method in NOTIFICATION_MODELS or isinstance(event.payload, UnknownNotification)
            match event.payload:
                case AgentMessageDeltaNotification(delta=delta, turn_id=turn_id):
                    assert turn_id == turn.id
                    text += delta
                case ItemStartedNotification(item=item):
                    log.append("start " + item.root.type)
                case ItemCompletedNotification(item=item):
                    match item.root:
                        case CommandExecutionThreadItem(exit_code=code, aggregated_output=output):
                            log.append(f"command {code} {(output or '').strip()}")
                        case AgentMessageThreadItem(text=said):
                            log.append(f"agent {said}")
                        case UserMessageThreadItem(content=content):
                            log.append(f"user {content[0].root.text}")
                        case other:
                            log.append(f"other {other.type}")
                case ThreadTokenUsageUpdatedNotification(token_usage=usage):
                    json.loads(usage.model_dump_json(by_alias=True))["total"]["totalTokens"]
                case TurnCompletedNotification(turn=done):
                    assert notification_turn_id(event.payload) == done.id
                    copied = pickle.loads(pickle.dumps(copy.deepcopy(event.payload)))
                    assert copied == event.payload
                    log.append(f"end {done.status.value}")
                case ErrorNotification(error=error):
                    log.append("error " + error.message)
            assert dataclasses.is_dataclass(event) and Notification.__match_args__ == ("method", "payload")
    return text

async def main() -> None:
    async with AsyncCodex(CodexConfig(codex_bin=os.environ.get("CODEX_PROGRAM"), experimental_api=True)) as codex:
        thread = await codex.thread_start(sandbox=Sandbox.read_only)
        turn = await thread.turn("one", model="mock-model")
        print(await watch(turn))
        ran: TurnResult = await (await thread.turn("command")).run()
        print(ran.final_response, [type(item.root).__name__ for item in ran.items])
        slow = await thread.turn("slow")
        watching = asyncio.create_task(watch(slow))
        while not any(line.startswith("start agentMessage") for line in log[-1:]):
            await asyncio.sleep(0.01)
        print((await slow.interrupt()).model_dump())
        print(repr(await watching))
        try:
            await thread.run("fail")
        except RuntimeError as error:
            print("failed:", error)
        out = await thread.run(ExternalMessage("ci", [{"type": "input_text", "text": "red"}]))
        print(out.final_response, out.status == TurnStatus.completed)
        others = await asyncio.gather(*[codex.thread_start(ephemeral=True) for _ in range(4)])
        print([r.final_response for r in await asyncio.gather(*[t.run(f"many {n}") for n, t in enumerate(others)])])
        print((await thread.compact()).model_dump(), (await thread.read()).thread.id == thread.id)
    print("\n".join(log))

asyncio.run(main())
