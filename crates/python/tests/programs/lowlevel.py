"""An approval gate on the low-level client."""
import os
import sys

from openai_codex.client import CodexClient, CodexConfig
from openai_codex.errors import CodexError, JsonRpcError, MethodNotFoundError, map_jsonrpc_error
from openai_codex.generated.notification_registry import NOTIFICATION_MODELS, notification_turn_id
from openai_codex.generated.v2_all import ThreadStartParams, TurnStartParams, ThreadListResponse, SandboxMode, AskForApproval
from openai_codex.models import AgentMessageDeltaNotification, UnknownNotification

seen = []


def approve(method, params):
    seen.append(method)
    if method == "item/commandExecution/requestApproval":
        return {"decision": "accept" if "allowed" in params["command"] else "decline"}
    return {}


marker = os.path.join(sys.argv[1], "allowed")
config = CodexConfig(codex_bin=os.environ.get("CODEX_PROGRAM"), cwd=sys.argv[1])
with CodexClient(config=config, approval_handler=approve) as client:
    meta = client.initialize()
    print(meta.platformOs)
    started = client.thread_start(ThreadStartParams(sandbox=SandboxMode.read_only, approval_policy=AskForApproval.model_validate("on-request"), approvals_reviewer="user"))
    thread_id = started.thread.id
    print(started.model, started.sandbox.root.type)
    turn = client.turn_start(thread_id, "touch it", {"cwd": sys.argv[1]}).turn
    done = client.wait_for_turn_completed(turn.id)
    print(done.turn.status.value, seen, os.path.exists(marker))
    print([d.delta for d in client.stream_text(thread_id, "text")])
    turn = client.turn_start(thread_id, [{"type": "text", "text": "again"}], TurnStartParams(thread_id=thread_id, input=[])).turn
    client.register_turn_notifications(turn.id)
    methods = []
    while True:
        note = client.next_turn_notification(turn.id)
        methods.append(note.method)
        assert isinstance(note.payload, UnknownNotification) or isinstance(note.payload, NOTIFICATION_MODELS[note.method])
        if note.method == "turn/completed":
            print(notification_turn_id(note.payload) == turn.id)
            break
    client.unregister_turn_notifications(turn.id)
    print(methods[0], methods[-1], "item/agentMessage/delta" in methods)
    listing = client.request("thread/list", {"limit": 2}, response_model=ThreadListResponse)
    print(len(listing.data), client.thread_read(thread_id, include_turns=True).thread.turns[0].status.value)
    client.thread_set_name(thread_id, "low")
    print(client.thread_list({"limit": 1}).data[0].name)
    try:
        client.request("no/such", None, response_model=ThreadListResponse)
    except JsonRpcError as error:
        print(type(error).__name__, error.code)
    print(type(map_jsonrpc_error(-32601, "no")) is MethodNotFoundError)
    print(client.thread_archive(thread_id).model_dump())
