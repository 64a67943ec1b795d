"""Reviews a folder: structured findings, a report, and the threads that exist."""
import dataclasses
import json
import os
import pickle
import sys
from pathlib import Path

from openai_codex import (
    ApprovalMode, Codex, CodexConfig, JsonRpcError, InvalidRequestError, LocalImageInput, Sandbox, TextInput,
    CodexError, is_retryable_error, retry_on_overload,
)
from openai_codex.types import (
    ReasoningEffort, SortDirection, ThreadListResponse, ThreadSortKey, ThreadSource, ThreadStartSource, TurnStatus, Personality,
)

SCHEMA = {
    "type": "object",
    "properties": {"findings": {"type": "array", "items": {"type": "string"}}, "verdict": {"type": "string"}},
    "required": ["findings", "verdict"],
    "additionalProperties": False,
}


def main() -> int:
    folder = Path(sys.argv[1])
    config = CodexConfig(codex_bin=os.environ.get("CODEX_PROGRAM"), cwd=str(folder), config_overrides=("hide_agent_reasoning=true",))
    print(config.client_name, dataclasses.replace(config, env={"A": "b"}).env)
    with Codex(config=config) as codex:
        meta = codex.metadata
        print(meta.serverInfo.name, meta.platformFamily, meta.userAgent.split("/")[0])
        account = codex.account()
        print("login needed:", account.requires_openai_auth, account.account)
        thread = codex.thread_start(
            cwd=str(folder), sandbox=Sandbox.read_only, approval_mode=ApprovalMode.deny_all,
            developer_instructions="Be terse.", thread_source=ThreadSource.user, session_start_source=ThreadStartSource.startup,
            personality=Personality.pragmatic,
        )
        result = retry_on_overload(
            lambda: thread.run([TextInput("Review this folder."), TextInput("Only bugs.")], effort=ReasoningEffort.high, output_schema=SCHEMA)
        )
        report = json.loads(result.final_response)
        print(report["verdict"], len(report["findings"]), result.status is TurnStatus.completed, result.status.value)
        print(result.usage.total.total_tokens, result.usage.last.output_tokens, result.duration_ms >= 0)
        for item in result.items:
            root = item.root
            if root.type == "commandExecution":
                print("ran", root.command.split()[-1].strip("'"), root.exit_code, root.status.value, root.aggregated_output.strip())
            elif root.type == "agentMessage":
                print("said", len(root.text))
            elif root.type == "userMessage":
                print("asked", [part.root.text for part in root.content])
        print(sorted(result.items[0].model_dump(mode="json", by_alias=True, exclude_none=True)))
        again = pickle.loads(pickle.dumps(result))
        print(again == result, again is not result)
        thread.set_name("review")
        read = thread.read(include_turns=True)
        print(read.thread.name, [turn.status.value for turn in read.thread.turns], read.thread.turns[0].items_view)
        fork = codex.thread_fork(thread.id, model="mock-model")
        print(fork.id != thread.id, fork.run("And tests?").final_response)
        resumed = codex.thread_resume(thread.id, sandbox=Sandbox.workspace_write)
        print(resumed.id == thread.id, resumed == thread)
        page: ThreadListResponse = codex.thread_list(limit=5, sort_key=ThreadSortKey.created_at, sort_direction=SortDirection.desc)
        print([t.name for t in page.data], page.next_cursor)
        codex.thread_archive(thread.id)
        print([t.id == thread.id for t in codex.thread_list(archived=True).data])
        print(codex.thread_unarchive(thread.id).id == thread.id)
        print(any(m.hidden for m in codex.models(include_hidden=True).data), len(codex.models().data) > 0)
        try:
            codex.thread_resume("0199a213-81c0-7800-8aa1-bbab2a035a53")
        except InvalidRequestError as error:
            print("resume:", error.code, isinstance(error, CodexError), is_retryable_error(error))
        try:
            thread.run("fail please")
        except RuntimeError as error:
            print("failed:", error)
        except JsonRpcError as error:
            print("rpc", error)
        try:
            thread.run(LocalImageInput)
        except TypeError as error:
            print("type:", error)
    return 0


raise SystemExit(main())
