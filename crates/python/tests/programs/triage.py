"""Triage of issues: a thread per issue, JSON answers, a report as a pydantic model; threads are named, forked, archived, listed."""
import dataclasses, json, os, sys
from pathlib import Path
from pydantic import BaseModel, TypeAdapter
from openai_codex import (
    ApprovalMode, Codex, CodexConfig, CodexError, ImageInput, InvalidParamsError, JsonRpcError, MentionInput, Sandbox, SkillInput,
    TextInput, TurnResult, is_retryable_error, retry_on_overload, __version__,
)
from openai_codex.types import (
    ModelListResponse, Personality, ReasoningEffort, ReasoningSummary, SandboxPolicy, SortDirection, ThreadItem, ThreadSortKey,
    ThreadSourceKind, ThreadTokenUsage, TurnStatus,
)

SCHEMA = {"type": "object", "properties": {"severity": {"type": "integer"}, "labels": {"type": "array", "items": {"type": "string"}}},
          "required": ["severity", "labels"], "additionalProperties": False}

class Verdict(BaseModel):
    severity: int
    labels: list[str]

class Report(BaseModel):
    status: TurnStatus
    usage: ThreadTokenUsage | None
    items: list[ThreadItem]
    verdict: Verdict

def kinds(result: TurnResult) -> list[str]:
    return [item.root.type for item in result.items]

config = CodexConfig(client_name="triage", client_title="Triage", client_version="3.1", config_overrides=("hide_agent_reasoning=true",),
                     cwd=os.getcwd(), env={"TRIAGE": "1"}, codex_bin=os.environ.get("CODEX_PROGRAM"))
assert dataclasses.asdict(config)["client_name"] == "triage" and len(__version__.split(".")) >= 3
with Codex(config=config) as codex:
    meta = codex.metadata
    print(meta.serverInfo.name, meta.userAgent.split("/")[0], meta.platformFamily)
    models: ModelListResponse = codex.models(include_hidden=True)
    print(type(models).__name__, len(models.data) > 0, models.next_cursor)
    account = codex.account(refresh_token=False)
    print(account.account, account.requires_openai_auth)
    reports = []
    for number in (1, 2):
        thread = codex.thread_start(approval_mode=ApprovalMode.deny_all, sandbox=Sandbox.read_only, cwd=sys.argv[1],
                                    developer_instructions="Be brief.", personality=Personality.pragmatic, config={"model_reasoning_effort": "low"})
        result = retry_on_overload(lambda: thread.run([TextInput(f"issue {number}"), MentionInput("a", str(Path(sys.argv[1], "a.py")))],
                 output_schema=SCHEMA, effort=ReasoningEffort.high, summary=ReasoningSummary.model_validate("concise")))
        verdict = Verdict.model_validate_json(result.final_response)
        report = Report(status=result.status, usage=result.usage, items=result.items, verdict=verdict)
        reports.append(report)
        print(thread.set_name(f"issue-{number}").model_dump(), result.status is TurnStatus.completed, kinds(result), verdict)
        print(result.usage.total.total_tokens, result.usage.last.output_tokens, result.duration_ms >= 0, result.error)
    text = TypeAdapter(list[Report]).dump_json(reports, exclude_none=True)
    back = TypeAdapter(list[Report]).validate_json(text)
    print(back == reports, sorted(json.loads(text)[0]))
    listing = codex.thread_list(limit=10, sort_key=ThreadSortKey.created_at, sort_direction=SortDirection.asc, source_kinds=[ThreadSourceKind.app_server, ThreadSourceKind.vscode])
    print([entry.name for entry in listing.data])
    first = codex.thread_resume(listing.data[0].id, include_turns=True)
    print([turn.status.value for turn in first.read(include_turns=True).thread.turns])
    fork = codex.thread_fork(first.id, sandbox=Sandbox.workspace_write, ephemeral=False)
    print(fork.id != first.id, fork.run("and now?").final_response)
    print(codex.thread_archive(first.id).model_dump(), [t.name for t in codex.thread_list(archived=True).data])
    again = codex.thread_unarchive(first.id)
    print(again.id == first.id, again == type(again)(again._client, again.id))
    for bad in (lambda: codex.thread_resume("nonsense"), lambda: codex.thread_start(approval_mode="never"), lambda: thread.run(("a",))):
        try:
            bad()
        except JsonRpcError as error:
            print(type(error).__name__, error.code, is_retryable_error(error))
        except (ValueError, TypeError) as error:
            print(type(error).__name__)
try:
    codex.models()
except CodexError as error:
    print(type(error).__name__)
