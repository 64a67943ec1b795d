"""Several agents at once: streams their text, steers one, interrupts another."""
import asyncio
import os
from collections import Counter

from openai_codex import AsyncCodex, AsyncThread, AsyncTurnHandle, CodexConfig, ExternalMessage, Sandbox, TransportClosedError, TurnResult
from openai_codex.generated.v2_all import (
    AgentMessageDeltaNotification, CommandExecutionThreadItem, ItemCompletedNotification, ItemStartedNotification,
    ThreadTokenUsageUpdatedNotification, TurnCompletedNotification,
)
from openai_codex.types import Notification, TurnStatus


async def follow(name: str, turn: AsyncTurnHandle) -> tuple[str, Counter[str]]:
    text, kinds = "", Counter()
    async for event in turn.stream():
        kinds[event.method] += 1
        match event:
            case Notification(method="item/agentMessage/delta", payload=AgentMessageDeltaNotification() as delta):
                text += delta.delta
            case Notification(payload=ItemCompletedNotification(item=item)) if isinstance(item.root, CommandExecutionThreadItem):
                text += f"[{item.root.exit_code}]"
            case Notification(payload=TurnCompletedNotification(turn=done)):
                assert done.id == turn.id and event.payload.thread_id == turn.thread_id
    return f"{name}: {text}", kinds


async def main() -> None:
    config = CodexConfig(codex_bin=os.environ.get("CODEX_PROGRAM"), client_name="orchestrator", client_version="2.0")
    codex = AsyncCodex(config)
    try:
        codex.metadata
    except RuntimeError:
        print("not started")
    async with codex:
        print(codex.metadata.userAgent.startswith("orchestrator/"))
        threads = await asyncio.gather(*(codex.thread_start(sandbox=Sandbox.read_only, ephemeral=True) for _ in range(3)))
        assert all(isinstance(thread, AsyncThread) for thread in threads)
        turns = [await thread.turn(f"task {n}") for n, thread in enumerate(threads)]
        for line, kinds in await asyncio.gather(*(follow(f"agent {n}", turn) for n, turn in enumerate(turns))):
            print(line, kinds["turn/started"], kinds["turn/completed"], kinds["item/agentMessage/delta"])

        slow = await threads[0].turn("slow")
        stream = slow.stream()
        async for event in stream:
            if event.method == "item/agentMessage/delta":
                break
        await stream.aclose()
        print((await slow.steer("hurry")).turn_id == slow.id)
        await slow.interrupt()
        slow2 = await threads[1].turn("slow")
        async for event in slow2.stream():
            if event.method == "item/agentMessage/delta":
                await slow2.interrupt()
            if isinstance(event.payload, TurnCompletedNotification):
                print(event.payload.turn.status == TurnStatus.interrupted)
        result: TurnResult = await threads[2].run(ExternalMessage(tool_name="ci", content="build failed", namespace="acme"))
        print(result.final_response, result.error)
        try:
            await asyncio.wait_for(threads[2].run("slow"), timeout=1)
        except asyncio.TimeoutError:
            print("timed out")
        listing = await codex.thread_list(limit=1)
        print(type(listing).__name__, await codex.logout())
    thread = threads[2]
    try:
        await thread.read()
    except Exception as error:
        print("closed:", isinstance(error, TransportClosedError) or type(error).__name__)
    else:
        print("closed: started again")
    await codex.close()


asyncio.run(main())
