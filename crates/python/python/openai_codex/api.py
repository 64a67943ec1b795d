"""The clients. The classes of threads and of turn handles are also here, as in the published package."""

from __future__ import annotations

import atexit
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, cast

from openai_codex import _native as native
from openai_codex._annotations import import_late
from openai_codex._approval_mode import ApprovalMode
from openai_codex._handlers import HANDLERS, bind
from openai_codex._iterators import entries, entries_async, observe, observe_async
from openai_codex._login import (
    AsyncChatgptLoginHandle,
    AsyncDeviceCodeLoginHandle,
    ChatgptLoginHandle,
    DeviceCodeLoginHandle,
)
from openai_codex._metadata import initialize_response
from openai_codex._options import additional, given, wire
from openai_codex._thread import AsyncThread, Thread
from openai_codex._turn_handle import AsyncTurnHandle, AsyncTypedTurnHandle, TurnHandle, TypedTurnHandle
from openai_codex._wait import running_loop, wait
from openai_codex.client import CodexClient, state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai_codex._sandbox import Sandbox
    from openai_codex.approvals import (
        OnCommandApproval,
        OnElicitation,
        OnFileChangeApproval,
        OnPermissionsApproval,
        OnUserInput,
    )
    from openai_codex.client import CodexConfig
    from openai_codex.events import Event
    from openai_codex.generated.v2_all import GetAccountRateLimitsResponse, Model, Thread as StoredThread
    from openai_codex.models import InitializeResponse, JsonObject
    from openai_codex.rollout import Rollout
    from openai_codex.tools import Tool
    from openai_codex.types import (
        GetAccountResponse,
        ModelListResponse,
        Personality,
        SortDirection,
        ThreadArchiveResponse,
        ThreadListCwdFilter,
        ThreadListResponse,
        ThreadSortKey,
        ThreadSource,
        ThreadSourceKind,
        ThreadStartSource,
    )

__all__ = [
    "AsyncCodex",
    "AsyncThread",
    "AsyncTurnHandle",
    "AsyncTypedTurnHandle",
    "Codex",
    "Thread",
    "TurnHandle",
    "TypedTurnHandle",
]

# The interpreter does not drop every object when it exits, and the runtime must not outlive it.
atexit.register(lambda: native.close_all().wait())


class Codex:
    """A client of one Codex runtime. It starts the runtime when it is made.

    Use it in a ``with`` statement, or call ``close``. Otherwise the runtime ends with the last object that uses it.
    """

    @additional(*HANDLERS)
    def __init__(
        self,
        config: CodexConfig | None = None,
        *,
        on_command_approval: OnCommandApproval | None = None,
        on_file_change_approval: OnFileChangeApproval | None = None,
        on_permissions_approval: OnPermissionsApproval | None = None,
        on_user_input: OnUserInput | None = None,
        on_elicitation: OnElicitation | None = None,
    ) -> None:
        handlers = bind(given(locals(), "config"), None)
        self._client = CodexClient(config, _handlers=handlers)
        self._client.start()

    def __enter__(self) -> "Codex":
        return self

    def __exit__(self, _exc_type, _exc, _tb) -> None:  # type: ignore[no-untyped-def]
        try:
            self.close()
        except Exception:
            # The exception of the block comes first.
            if _exc is None:
                raise

    def __repr__(self) -> str:
        return f"<Codex {state(self._client._native, self._client.config)}>"

    @property
    def metadata(self) -> InitializeResponse:
        """What the runtime said about itself."""
        text = self._client._native.metadata()
        if text is None:
            raise RuntimeError("this client has not been started")
        return initialize_response(text)

    def start(self) -> None:
        """With ``CodexConfig.restart``, start a new runtime in place of a lost one. Otherwise this does nothing."""
        self._client.start()

    def close(self) -> None:
        """End the runtime and wait for its end.

        With ``CodexConfig.connect``, end the connection. Raises ``CodexTimeoutError`` if the server has not confirmed within five
        seconds that it has interrupted a turn.
        """
        self._client.close()

    def login_api_key(self, api_key: str) -> None:
        """Log in with an API key. The server stores the key without a check."""
        self._client._native.login_api_key(api_key).wait()

    def login_chatgpt(self) -> ChatgptLoginHandle:
        """Begin a login with a ChatGPT account in a browser on this machine. It replaces a pending login."""
        login = self._client._native.login_chatgpt().wait()
        handle = ChatgptLoginHandle(self._client, login.id, login.url)
        handle._login = login
        return handle

    def login_chatgpt_device_code(self) -> DeviceCodeLoginHandle:
        """Begin a login with a ChatGPT account on any device, with a code. It replaces a pending login."""
        login = self._client._native.login_device_code().wait()
        handle = DeviceCodeLoginHandle(self._client, login.id, login.url, login.user_code or "")
        handle._login = login
        return handle

    def account(self, *, refresh_token: bool = False) -> GetAccountResponse:
        """Read the account that is logged in."""
        params = {"refreshToken": refresh_token}
        return self._client._native.request("account/read", params, "GetAccountResponse").wait()

    def rate_limits(self) -> GetAccountRateLimitsResponse:
        """Read the account's rate limits. Only of a ChatGPT account."""
        return self._client._native.request("account/rateLimits/read", None, "GetAccountRateLimitsResponse").wait()

    def logout(self) -> None:
        """Log out. The server deletes its stored credentials."""
        self._client._native.request("account/logout", None).wait()

    def request(self, method: str, params: dict[str, Any] | None = None) -> JsonObject:
        """Make any request of the protocol. The result is the response as JSON."""
        from json import loads

        return cast("JsonObject", loads(self._client._native.request(method, params).wait()))

    def events(self) -> Iterator[Event]:
        """Observe the connection from now on: the notifications of all threads, and what happens on the client.

        A program that reads too slowly loses the oldest events. It ends when the client is closed.
        """
        return observe(self._client._native.events())

    @additional("trust_folder", "tools", *HANDLERS)
    def thread_start(
        self,
        *,
        approval_mode: ApprovalMode = ApprovalMode.auto_review,
        base_instructions: str | None = None,
        config: JsonObject | None = None,
        cwd: str | None = None,
        developer_instructions: str | None = None,
        ephemeral: bool | None = None,
        model: str | None = None,
        model_provider: str | None = None,
        personality: Personality | None = None,
        sandbox: Sandbox | None = None,
        service_name: str | None = None,
        service_tier: str | None = None,
        session_start_source: ThreadStartSource | None = None,
        thread_source: ThreadSource | None = None,
        trust_folder: bool = False,
        on_command_approval: OnCommandApproval | None = None,
        on_file_change_approval: OnFileChangeApproval | None = None,
        on_permissions_approval: OnPermissionsApproval | None = None,
        on_user_input: OnUserInput | None = None,
        on_elicitation: OnElicitation | None = None,
        tools: Sequence[Tool[..., Any]] | None = None,
    ) -> Thread:
        """Start a thread. Its folder stays untrusted unless ``trust_folder`` is set."""
        options = bind(given(locals()), None, self._client._handlers)
        return Thread._of(self._client, self._client._native.thread_start(options).wait())

    def thread_list(
        self,
        *,
        archived: bool | None = None,
        cursor: str | None = None,
        cwd: ThreadListCwdFilter | None = None,
        limit: int | None = None,
        model_providers: list[str] | None = None,
        search_term: str | None = None,
        section_id: str | None = None,
        sort_direction: SortDirection | None = None,
        sort_key: ThreadSortKey | None = None,
        source_kinds: list[ThreadSourceKind] | None = None,
        use_state_db_only: bool | None = None,
    ) -> ThreadListResponse:
        """List stored threads."""
        params = wire(locals())
        return self._client._native.request("thread/list", params, "ThreadListResponse").wait()

    def threads(
        self,
        *,
        archived: bool | None = None,
        cwd: ThreadListCwdFilter | None = None,
        model_providers: list[str] | None = None,
        page_size: int | None = None,
        search_term: str | None = None,
        section_id: str | None = None,
        sort_direction: SortDirection | None = None,
        sort_key: ThreadSortKey | None = None,
        source_kinds: list[ThreadSourceKind] | None = None,
        use_state_db_only: bool | None = None,
    ) -> Iterator[StoredThread]:
        """Iterate over the stored threads of all pages of ``thread_list``, the most recent first unless ``sort_key`` is set."""
        params = wire(locals(), page_size="limit")
        return entries(self._client._native.pages("thread/list", params, "ThreadListResponse"))

    @additional("writer_timeout", "trust_folder", "tools", *HANDLERS)
    def thread_resume(
        self,
        thread_id: str,
        *,
        approval_mode: ApprovalMode | None = None,
        base_instructions: str | None = None,
        config: JsonObject | None = None,
        cwd: str | None = None,
        developer_instructions: str | None = None,
        include_turns: bool | None = None,
        model: str | None = None,
        model_provider: str | None = None,
        personality: Personality | None = None,
        sandbox: Sandbox | None = None,
        service_tier: str | None = None,
        writer_timeout: float | None = None,
        trust_folder: bool = False,
        on_command_approval: OnCommandApproval | None = None,
        on_file_change_approval: OnFileChangeApproval | None = None,
        on_permissions_approval: OnPermissionsApproval | None = None,
        on_user_input: OnUserInput | None = None,
        on_elicitation: OnElicitation | None = None,
        tools: Sequence[Tool[..., Any]] | None = None,
    ) -> Thread:
        """Resume a stored thread. The handle has the same id."""
        options = bind(given(locals(), "thread_id"), None, self._client._handlers)
        return Thread._of(self._client, self._client._native.thread_resume(thread_id, options).wait())

    @additional("last_turn_id", "trust_folder", "tools", *HANDLERS)
    def thread_fork(
        self,
        thread_id: str,
        *,
        approval_mode: ApprovalMode | None = None,
        base_instructions: str | None = None,
        config: JsonObject | None = None,
        cwd: str | None = None,
        developer_instructions: str | None = None,
        ephemeral: bool | None = None,
        include_turns: bool | None = None,
        model: str | None = None,
        model_provider: str | None = None,
        sandbox: Sandbox | None = None,
        service_tier: str | None = None,
        thread_source: ThreadSource | None = None,
        last_turn_id: str | None = None,
        trust_folder: bool = False,
        on_command_approval: OnCommandApproval | None = None,
        on_file_change_approval: OnFileChangeApproval | None = None,
        on_permissions_approval: OnPermissionsApproval | None = None,
        on_user_input: OnUserInput | None = None,
        on_elicitation: OnElicitation | None = None,
        tools: Sequence[Tool[..., Any]] | None = None,
    ) -> Thread:
        """Make a new thread with the history of another, up to ``last_turn_id`` if it is set."""
        options = bind(given(locals(), "thread_id"), None, self._client._handlers)
        return Thread._of(self._client, self._client._native.thread_fork(thread_id, options).wait())

    def thread_archive(self, thread_id: str) -> ThreadArchiveResponse:
        """Archive a thread."""
        params = {"threadId": thread_id}
        return self._client._native.request("thread/archive", params, "ThreadArchiveResponse").wait()

    def thread_import(self, rollout: Rollout) -> Thread:
        """Store the history of a thread of another home. The first use of the returned thread resumes it."""
        fields = {"thread_id": rollout.thread_id, "file_name": rollout.file_name, "data": rollout.data}
        return Thread._of(self._client, self._client._native.thread_import(fields).wait())

    def thread_unarchive(self, thread_id: str) -> Thread:
        """Take a thread out of the archive. The handle has the same id."""
        return Thread._of(self._client, self._client._native.thread_unarchive(thread_id).wait())

    def models(self, *, include_hidden: bool = False) -> ModelListResponse:
        """List the models."""
        params = {"includeHidden": include_hidden}
        return self._client._native.request("model/list", params, "ModelListResponse").wait()

    def all_models(self, *, include_hidden: bool = False, page_size: int | None = None) -> Iterator[Model]:
        """Iterate over the models of all pages of ``models``."""
        params = wire({"include_hidden": include_hidden, "limit": page_size})
        return entries(self._client._native.pages("model/list", params, "ModelListResponse"))


class AsyncCodex:
    """An async client of one Codex runtime, for asyncio. It starts the runtime at the first call.

    Prefer ``async with AsyncCodex() as codex``, which also ends the runtime.
    """

    @additional(*HANDLERS)
    def __init__(
        self,
        config: CodexConfig | None = None,
        *,
        on_command_approval: OnCommandApproval | None = None,
        on_file_change_approval: OnFileChangeApproval | None = None,
        on_permissions_approval: OnPermissionsApproval | None = None,
        on_user_input: OnUserInput | None = None,
        on_elicitation: OnElicitation | None = None,
    ) -> None:
        handlers = given(locals(), "config")
        from openai_codex.async_client import AsyncCodexClient

        self._client = AsyncCodexClient(config, _handlers=handlers)

    async def __aenter__(self) -> "AsyncCodex":
        await self.start()
        return self

    async def __aexit__(self, _exc_type, _exc, _tb) -> None:  # type: ignore[no-untyped-def]
        try:
            await self.close()
        except Exception:
            # The exception of the block comes first.
            if _exc is None:
                raise

    def __repr__(self) -> str:
        return f"<AsyncCodex {state(self._client._current, self._client.config)}>"

    @property
    def _native(self) -> native.Client:
        """The native client. A new one after ``close``."""
        return self._client._native

    @property
    def metadata(self) -> InitializeResponse:
        """What the runtime said about itself. Only after the start."""
        current = self._client._current
        text = current.metadata() if current is not None else None
        if text is None:
            raise RuntimeError("this client has not been started; use `async with`, or call a method first")
        return initialize_response(text)

    async def start(self) -> None:
        """Start the runtime, or a new one in place of a lost one, with ``CodexConfig.restart``. Does nothing if the runtime runs."""
        await wait(self._native.start())

    async def close(self) -> None:
        """End the runtime and wait for its end. A later call starts a new one.

        With ``CodexConfig.connect``, end the connection. Raises ``CodexTimeoutError`` if the server has not confirmed within five
        seconds that it has interrupted a turn.
        """
        await self._client.close()

    async def login_api_key(self, api_key: str) -> None:
        """Log in with an API key. The server stores the key without a check."""
        await wait(self._native.login_api_key(api_key))

    async def login_chatgpt(self) -> AsyncChatgptLoginHandle:
        """Begin a login with a ChatGPT account in a browser on this machine. It replaces a pending login."""
        login = await wait(self._native.login_chatgpt())
        handle = AsyncChatgptLoginHandle(self, login.id, login.url)
        handle._login = login
        return handle

    async def login_chatgpt_device_code(self) -> AsyncDeviceCodeLoginHandle:
        """Begin a login with a ChatGPT account on any device, with a code. It replaces a pending login."""
        login = await wait(self._native.login_device_code())
        handle = AsyncDeviceCodeLoginHandle(self, login.id, login.url, login.user_code or "")
        handle._login = login
        return handle

    async def account(self, *, refresh_token: bool = False) -> GetAccountResponse:
        """Read the account that is logged in."""
        params = {"refreshToken": refresh_token}
        return await wait(self._native.request("account/read", params, "GetAccountResponse"))

    async def rate_limits(self) -> GetAccountRateLimitsResponse:
        """Read the account's rate limits. Only of a ChatGPT account."""
        return await wait(self._native.request("account/rateLimits/read", None, "GetAccountRateLimitsResponse"))

    async def logout(self) -> None:
        """Log out. The server deletes its stored credentials."""
        await wait(self._native.request("account/logout", None))

    async def request(self, method: str, params: dict[str, Any] | None = None) -> JsonObject:
        """Make any request of the protocol. The result is the response as JSON."""
        from json import loads

        response = await wait(self._native.request(method, params))
        return cast("JsonObject", loads(response))

    def events(self) -> AsyncIterator[Event]:
        """Observe the connection from now on: the notifications of all threads, and what happens on the client.

        A program that reads too slowly loses the oldest events. It ends when the client is closed.
        """
        return observe_async(self._native.events())

    @additional("trust_folder", "tools", *HANDLERS)
    async def thread_start(
        self,
        *,
        approval_mode: ApprovalMode = ApprovalMode.auto_review,
        base_instructions: str | None = None,
        config: JsonObject | None = None,
        cwd: str | None = None,
        developer_instructions: str | None = None,
        ephemeral: bool | None = None,
        model: str | None = None,
        model_provider: str | None = None,
        personality: Personality | None = None,
        sandbox: Sandbox | None = None,
        service_name: str | None = None,
        service_tier: str | None = None,
        session_start_source: ThreadStartSource | None = None,
        thread_source: ThreadSource | None = None,
        trust_folder: bool = False,
        on_command_approval: OnCommandApproval | None = None,
        on_file_change_approval: OnFileChangeApproval | None = None,
        on_permissions_approval: OnPermissionsApproval | None = None,
        on_user_input: OnUserInput | None = None,
        on_elicitation: OnElicitation | None = None,
        tools: Sequence[Tool[..., Any]] | None = None,
    ) -> AsyncThread:
        """Start a thread. Its folder stays untrusted unless ``trust_folder`` is set."""
        options = given(locals())
        bound = bind(dict(options), running_loop(), self._client._handlers)
        return AsyncThread._of(self, await wait(self._native.thread_start(bound)), options)

    async def thread_list(
        self,
        *,
        archived: bool | None = None,
        cursor: str | None = None,
        cwd: ThreadListCwdFilter | None = None,
        limit: int | None = None,
        model_providers: list[str] | None = None,
        search_term: str | None = None,
        section_id: str | None = None,
        sort_direction: SortDirection | None = None,
        sort_key: ThreadSortKey | None = None,
        source_kinds: list[ThreadSourceKind] | None = None,
        use_state_db_only: bool | None = None,
    ) -> ThreadListResponse:
        """List stored threads."""
        params = wire(locals())
        return await wait(self._native.request("thread/list", params, "ThreadListResponse"))

    def threads(
        self,
        *,
        archived: bool | None = None,
        cwd: ThreadListCwdFilter | None = None,
        model_providers: list[str] | None = None,
        page_size: int | None = None,
        search_term: str | None = None,
        section_id: str | None = None,
        sort_direction: SortDirection | None = None,
        sort_key: ThreadSortKey | None = None,
        source_kinds: list[ThreadSourceKind] | None = None,
        use_state_db_only: bool | None = None,
    ) -> AsyncIterator[StoredThread]:
        """Iterate over the stored threads of all pages of ``thread_list``, the most recent first unless ``sort_key`` is set."""
        params = wire(locals(), page_size="limit")
        return entries_async(self._native.pages("thread/list", params, "ThreadListResponse"))

    @additional("writer_timeout", "trust_folder", "tools", *HANDLERS)
    async def thread_resume(
        self,
        thread_id: str,
        *,
        approval_mode: ApprovalMode | None = None,
        base_instructions: str | None = None,
        config: JsonObject | None = None,
        cwd: str | None = None,
        developer_instructions: str | None = None,
        include_turns: bool | None = None,
        model: str | None = None,
        model_provider: str | None = None,
        personality: Personality | None = None,
        sandbox: Sandbox | None = None,
        service_tier: str | None = None,
        writer_timeout: float | None = None,
        trust_folder: bool = False,
        on_command_approval: OnCommandApproval | None = None,
        on_file_change_approval: OnFileChangeApproval | None = None,
        on_permissions_approval: OnPermissionsApproval | None = None,
        on_user_input: OnUserInput | None = None,
        on_elicitation: OnElicitation | None = None,
        tools: Sequence[Tool[..., Any]] | None = None,
    ) -> AsyncThread:
        """Resume a stored thread. The handle has the same id."""
        options = given(locals(), "thread_id")
        bound = bind(dict(options), running_loop(), self._client._handlers)
        return AsyncThread._of(self, await wait(self._native.thread_resume(thread_id, bound)), options)

    @additional("last_turn_id", "trust_folder", "tools", *HANDLERS)
    async def thread_fork(
        self,
        thread_id: str,
        *,
        approval_mode: ApprovalMode | None = None,
        base_instructions: str | None = None,
        config: JsonObject | None = None,
        cwd: str | None = None,
        developer_instructions: str | None = None,
        ephemeral: bool | None = None,
        include_turns: bool | None = None,
        model: str | None = None,
        model_provider: str | None = None,
        sandbox: Sandbox | None = None,
        service_tier: str | None = None,
        thread_source: ThreadSource | None = None,
        last_turn_id: str | None = None,
        trust_folder: bool = False,
        on_command_approval: OnCommandApproval | None = None,
        on_file_change_approval: OnFileChangeApproval | None = None,
        on_permissions_approval: OnPermissionsApproval | None = None,
        on_user_input: OnUserInput | None = None,
        on_elicitation: OnElicitation | None = None,
        tools: Sequence[Tool[..., Any]] | None = None,
    ) -> AsyncThread:
        """Make a new thread with the history of another, up to ``last_turn_id`` if it is set."""
        options = given(locals(), "thread_id")
        bound = bind(dict(options), running_loop(), self._client._handlers)
        return AsyncThread._of(self, await wait(self._native.thread_fork(thread_id, bound)), options)

    async def thread_archive(self, thread_id: str) -> ThreadArchiveResponse:
        """Archive a thread."""
        params = {"threadId": thread_id}
        return await wait(self._native.request("thread/archive", params, "ThreadArchiveResponse"))

    async def thread_import(self, rollout: Rollout) -> AsyncThread:
        """Store the history of a thread of another home. The first use of the returned thread resumes it."""
        fields = {"thread_id": rollout.thread_id, "file_name": rollout.file_name, "data": rollout.data}
        return AsyncThread._of(self, await wait(self._native.thread_import(fields)))

    async def thread_unarchive(self, thread_id: str) -> AsyncThread:
        """Take a thread out of the archive. The handle has the same id."""
        return AsyncThread._of(self, await wait(self._native.thread_unarchive(thread_id)))

    async def models(self, *, include_hidden: bool = False) -> ModelListResponse:
        """List the models."""
        params = {"includeHidden": include_hidden}
        return await wait(self._native.request("model/list", params, "ModelListResponse"))

    def all_models(self, *, include_hidden: bool = False, page_size: int | None = None) -> AsyncIterator[Model]:
        """Iterate over the models of all pages of ``models``."""
        params = wire({"include_hidden": include_hidden, "limit": page_size})
        return entries_async(self._native.pages("model/list", params, "ModelListResponse"))


def _name_this_module(cls: type) -> None:
    """Have a class and its methods name this module as theirs. Pickles and ``help`` use the name."""
    defined_in = cls.__module__
    cls.__module__ = __name__
    for member in vars(cls).values():
        if getattr(member, "__module__", None) == defined_in:
            member.__module__ = __name__


import_late(globals())

# Only now, because the modules of these classes have called `import_late` for them. `typing.get_type_hints` looks up the types of
# their fields in this module.
for _cls in (Thread, AsyncThread, TurnHandle, TypedTurnHandle, AsyncTurnHandle, AsyncTypedTurnHandle):
    _name_this_module(_cls)
