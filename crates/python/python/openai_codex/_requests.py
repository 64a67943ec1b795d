"""The requests of the clients below `Codex` and `AsyncCodex`. Parameters are models of ``generated.v2_all``, or dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai_codex._native import Client, Operation, UnmanagedLogin, UnmanagedTurn
    from openai_codex.generated.v2_all import (
        CancelLoginAccountResponse,
        GetAccountParams,
        GetAccountResponse,
        LoginAccountParams,
        LogoutAccountResponse,
        ModelListResponse,
        ThreadArchiveResponse,
        ThreadCompactStartResponse,
        ThreadForkParams,
        ThreadForkResponse,
        ThreadGoalClearResponse,
        ThreadGoalSetResponse,
        ThreadGoalStatus,
        ThreadListParams,
        ThreadListResponse,
        ThreadReadResponse,
        ThreadResumeParams,
        ThreadResumeResponse,
        ThreadSetNameResponse,
        ThreadStartParams,
        ThreadStartResponse,
        ThreadUnarchiveResponse,
        TurnInterruptResponse,
        TurnStartParams,
        TurnSteerResponse,
    )
    from openai_codex.models import JsonObject


def fields(params: Any) -> dict[str, Any]:
    """Parameters as a dict with the protocol's names."""
    if params is None:
        return {}
    if isinstance(params, dict):
        return params
    dumped: dict[str, Any] = params.model_dump(by_alias=True, exclude_none=True, mode="json")
    return dumped


def _items(input_items: list[JsonObject] | JsonObject | str) -> list[Any]:
    if isinstance(input_items, str):
        return [{"type": "text", "text": input_items}]
    return [input_items] if isinstance(input_items, dict) else input_items


def account_login_start(client: Client, params: LoginAccountParams | JsonObject) -> Operation[UnmanagedLogin]:
    return client.unmanaged_login(fields(params))


def account_login_cancel(client: Client, login_id: str) -> Operation[CancelLoginAccountResponse]:
    return client.request("account/login/cancel", {"loginId": login_id}, "CancelLoginAccountResponse")


def account_read(client: Client, params: GetAccountParams | JsonObject | None) -> Operation[GetAccountResponse]:
    return client.request("account/read", fields(params), "GetAccountResponse")


def account_logout(client: Client) -> Operation[LogoutAccountResponse]:
    return client.request("account/logout", None, "LogoutAccountResponse")


def thread_start(client: Client, params: ThreadStartParams | JsonObject | None) -> Operation[ThreadStartResponse]:
    return client.unmanaged_thread(fields(params))


def thread_resume(
    client: Client, thread_id: str, params: ThreadResumeParams | JsonObject | None
) -> Operation[ThreadResumeResponse]:
    return client.request("thread/resume", {**fields(params), "threadId": thread_id}, "ThreadResumeResponse")


def thread_fork(
    client: Client, thread_id: str, params: ThreadForkParams | JsonObject | None
) -> Operation[ThreadForkResponse]:
    return client.request("thread/fork", {**fields(params), "threadId": thread_id}, "ThreadForkResponse")


def thread_list(client: Client, params: ThreadListParams | JsonObject | None) -> Operation[ThreadListResponse]:
    return client.request("thread/list", fields(params), "ThreadListResponse")


def thread_read(client: Client, thread_id: str, include_turns: bool = False) -> Operation[ThreadReadResponse]:
    return client.request("thread/read", {"threadId": thread_id, "includeTurns": include_turns}, "ThreadReadResponse")


def thread_archive(client: Client, thread_id: str) -> Operation[ThreadArchiveResponse]:
    return client.request("thread/archive", {"threadId": thread_id}, "ThreadArchiveResponse")


def thread_unarchive(client: Client, thread_id: str) -> Operation[ThreadUnarchiveResponse]:
    return client.request("thread/unarchive", {"threadId": thread_id}, "ThreadUnarchiveResponse")


def thread_set_name(client: Client, thread_id: str, name: str) -> Operation[ThreadSetNameResponse]:
    return client.request("thread/name/set", {"threadId": thread_id, "name": name}, "ThreadSetNameResponse")


def thread_compact(client: Client, thread_id: str) -> Operation[ThreadCompactStartResponse]:
    return client.request("thread/compact/start", {"threadId": thread_id}, "ThreadCompactStartResponse")


def thread_goal_clear(client: Client, thread_id: str) -> Operation[ThreadGoalClearResponse]:
    return client.request("thread/goal/clear", {"threadId": thread_id}, "ThreadGoalClearResponse")


def thread_goal_set(
    client: Client, thread_id: str, objective: str | None, status: ThreadGoalStatus | None
) -> Operation[ThreadGoalSetResponse]:
    params = {"threadId": thread_id, "objective": objective, "status": status}
    given = {name: value for name, value in params.items() if value is not None}
    return client.request("thread/goal/set", given, "ThreadGoalSetResponse")


def turn_start(
    client: Client,
    thread_id: str,
    input_items: list[JsonObject] | JsonObject | str,
    params: TurnStartParams | JsonObject | None,
) -> Operation[UnmanagedTurn]:
    return client.unmanaged_turn({**fields(params), "threadId": thread_id, "input": _items(input_items)})


def turn_interrupt(client: Client, thread_id: str, turn_id: str) -> Operation[TurnInterruptResponse]:
    return client.request("turn/interrupt", {"threadId": thread_id, "turnId": turn_id}, "TurnInterruptResponse")


def turn_steer(
    client: Client, thread_id: str, expected_turn_id: str, input_items: list[JsonObject] | JsonObject | str
) -> Operation[TurnSteerResponse]:
    params = {"threadId": thread_id, "expectedTurnId": expected_turn_id, "input": _items(input_items)}
    return client.request("turn/steer", params, "TurnSteerResponse")


def model_list(client: Client, include_hidden: bool) -> Operation[ModelListResponse]:
    return client.request("model/list", {"includeHidden": include_hidden}, "ModelListResponse")
