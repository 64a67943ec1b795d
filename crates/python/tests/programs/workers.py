"""A pool of workers over one client, with the low-level client for what the high-level one lacks."""
import os, sys
from concurrent.futures import ThreadPoolExecutor
from openai_codex import Codex, CodexConfig, Sandbox, Thread, TurnHandle
from openai_codex.async_client import AsyncCodexClient
from openai_codex.client import CodexClient
from openai_codex.generated.v2_all import ThreadReadResponse, ThreadStartParams
import asyncio

CONFIG = CodexConfig(codex_bin=os.environ.get("CODEX_PROGRAM"))
handled = []
def approve(method, params):
    handled.append(method)
    return {"decision": "accept"}

def job(codex: Codex, n: int) -> str:
    thread: Thread = codex.thread_start(ephemeral=True, sandbox=Sandbox.read_only)
    handle: TurnHandle = thread.turn(f"job {n}")
    deltas = "".join(e.payload.delta for e in handle.stream() if e.method == "item/agentMessage/delta")
    return deltas

with Codex(CONFIG) as codex:
    with ThreadPoolExecutor(4) as pool:
        print(list(pool.map(lambda n: job(codex, n), range(8))))
    thread = codex.thread_start()
    raw = codex._client.request("thread/read", {"threadId": thread.id}, response_model=ThreadReadResponse)
    print(raw.thread.id == thread.id)
    by_hand = Thread(codex._client, thread.id)
    print(by_hand.run("by hand").final_response, repr(by_hand).startswith("Thread(_client="), by_hand == thread)

with CodexClient(CONFIG, approval_handler=approve) as client:
    client.initialize()
    thread_id = client.thread_start(ThreadStartParams.model_validate({"sandbox": "read-only", "approvalPolicy": "on-request", "approvalsReviewer": "user"})).thread.id
    turn = client.turn_start(thread_id, "approve")
    print(client.wait_for_turn_completed(turn.turn.id).turn.status.value, handled, os.path.exists(os.path.join(sys.argv[1], 'marker')))
    seen = set()
    while "thread/started" not in seen:
        seen.add(client.next_notification().method)
    goal, first = client.start_goal_operation(thread_id, "ship it")
    methods = []
    while not (methods and methods[-1] == "turn/completed"):
        methods.append(client.next_goal_notification(goal).method)
    print(first == goal.logical_turn_id, methods[0], goal.status)
    print(client.wait_for_turn_completed(client.turn_start(thread_id, "after").turn.id).turn.items_view)

async def low() -> None:
    async with AsyncCodexClient(CONFIG) as client:
        await client.initialize()
        started = await client.thread_start({"ephemeral": True})
        print([d.delta async for d in client.stream_text(started.thread.id, "low")])
        print(type(await client.model_list()).__name__, (await client.thread_list({"limit": 1})).data[0].id == thread_id)
asyncio.run(low())
