"""The clients, and their threads and turns."""

from __future__ import annotations

import atexit
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, cast, overload

from openai_codex import _native as native
from openai_codex._annotations import import_late
from openai_codex._approval_mode import ApprovalMode
from openai_codex._handlers import HANDLERS, bind
from openai_codex._inputs import native_input, native_run_input
from openai_codex._login import (
    AsyncChatgptLoginHandle,
    AsyncDeviceCodeLoginHandle,
    ChatgptLoginHandle,
    DeviceCodeLoginHandle,
)
from openai_codex._metadata import initialize_response
from openai_codex._options import additional, attempts_of, given, output_of, sole_schema, wire
from openai_codex._wait import running_loop, wait
from openai_codex.client import CodexClient, state
from openai_codex.errors import TurnInterruptedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from typing_extensions import Unpack

    from openai_codex._inputs import Input, RunInput
    from openai_codex._run import TurnResult
    from openai_codex._sandbox import Sandbox
    from openai_codex.approvals import (
        OnCommandApproval,
        OnElicitation,
        OnFileChangeApproval,
        OnPermissionsApproval,
        OnUserInput,
    )
    from openai_codex.client import CodexConfig
    from openai_codex.durable import Ensured
    from openai_codex.events import Event
    from openai_codex.generated.v2_all import (
        GetAccountRateLimitsResponse,
        Model,
        Thread as StoredThread,
        ThreadItemEntry,
        ThreadUnsubscribeResponse,
        Turn,
        TurnItemsView,
    )
    from openai_codex.models import InitializeResponse, JsonObject, Notification
    from openai_codex.rollout import Rollout
    from openai_codex.tools import Tool
    from openai_codex.typed_output import Output, TypedResult
    from openai_codex.types import (
        GetAccountResponse,
        ModelListResponse,
        Personality,
        ReasoningEffort,
        ReasoningSummary,
        SandboxPolicy,
        SortDirection,
        ThreadArchiveResponse,
        ThreadCompactStartResponse,
        ThreadListCwdFilter,
        ThreadListResponse,
        ThreadReadResponse,
        ThreadSetNameResponse,
        ThreadSortKey,
        ThreadSource,
        ThreadSourceKind,
        ThreadStartSource,
        TurnInterruptResponse,
        TurnSteerResponse,
    )

    class RunOptions(TypedDict, total=False):
        """The options of ``run`` for type checkers, beside those of its output."""

        approval_mode: ApprovalMode | None
        cwd: str | None
        effort: ReasoningEffort | None
        model: str | None
        output_schema: JsonObject | None
        personality: Personality | None
        sandbox: Sandbox | None
        service_tier: str | None
        source: str | None
        summary: ReasoningSummary | None
        turn_service_tier: str | None
        sandbox_policy: SandboxPolicy | None
        timeout: float | None
        inactivity_timeout: float | None
        max_tokens: int | None
        max_model_requests: int | None
        end_commands_on_interrupt: bool | None

    class TurnOptions(RunOptions, total=False):
        """The options of ``turn`` for type checkers, beside ``output_type``."""

        interrupt_on_drop: bool


T = TypeVar("T")

# The options of turns that the published package does not have.
_OPTIONS_OF_TURNS = (
    "sandbox_policy",
    "timeout",
    "inactivity_timeout",
    "max_tokens",
    "max_model_requests",
    "end_commands_on_interrupt",
    "output_type",
    "retry_on_mismatch",
    "interrupt_on_drop",
)

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
        self.close()

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
        """End the runtime and wait for its end."""
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
        return _observe(self._client._native.events())

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
        return _entries(self._client._native.pages("thread/list", params, "ThreadListResponse"))

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
        return _entries(self._client._native.pages("model/list", params, "ModelListResponse"))


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
        await self.close()

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
        """End the runtime and wait for its end. A later call starts a new one."""
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
        return _observe_async(self._native.events())

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
        return _entries_async(self._native.pages("thread/list", params, "ThreadListResponse"))

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
        return _entries_async(self._native.pages("model/list", params, "ModelListResponse"))


def _entries(pages: native.Pages[Any]) -> Iterator[Any]:
    while (page := pages.next().wait()) is not None:
        yield from page.data


async def _entries_async(pages: native.Pages[Any]) -> AsyncIterator[Any]:
    while (page := await wait(pages.next())) is not None:
        for entry in page.data:
            yield entry


def _of(client: native.Client, thread: native.Thread | None) -> native.Thread | None:
    """The native thread, if it is one of the client."""
    return thread if thread is not None and thread.belongs_to(client) else None


def _observe(observer: native.Observer) -> Iterator[Event]:
    try:
        while (event := observer.next().wait()) is not None:
            yield event
    finally:
        observer.close()


async def _observe_async(observer: native.Observer) -> AsyncIterator[Event]:
    try:
        while (event := await wait(observer.next())) is not None:
            yield event
    finally:
        observer.close()


@dataclass(slots=True)
class Thread:
    """A thread: a conversation."""

    _client: CodexClient
    id: str
    _native: native.Thread | None = field(init=False, repr=False, compare=False, default=None)

    @classmethod
    def _of(cls, owner: CodexClient, native: native.Thread) -> Thread:
        thread = cls(owner, native.id)
        thread._native = native
        return thread

    def _opened(self, writer_timeout: float = 0) -> native.Thread:
        """The native thread. One that was made by hand, or before its client was closed, is resumed."""
        client = self._client._native
        if self._native is None or not self._native.belongs_to(client):
            self._native = client.thread_resume(self.id, {"writer_timeout": writer_timeout}).wait()
        return self._native

    @overload
    def run(
        self, input: RunInput, *, output_type: type[T], retry_on_mismatch: int = 0, **options: Unpack[RunOptions]
    ) -> TypedResult[T]: ...

    @overload
    def run(self, input: RunInput, *, output_type: None = None, **options: Unpack[RunOptions]) -> TurnResult: ...

    @additional(*_OPTIONS_OF_TURNS)
    def run(
        self,
        input: RunInput,
        *,
        approval_mode: ApprovalMode | None = None,
        cwd: str | None = None,
        effort: ReasoningEffort | None = None,
        model: str | None = None,
        output_schema: JsonObject | None = None,
        personality: Personality | None = None,
        sandbox: Sandbox | None = None,
        service_tier: str | None = None,
        source: str | None = None,
        summary: ReasoningSummary | None = None,
        turn_service_tier: str | None = None,
        sandbox_policy: SandboxPolicy | None = None,
        timeout: float | None = None,
        inactivity_timeout: float | None = None,
        max_tokens: int | None = None,
        max_model_requests: int | None = None,
        end_commands_on_interrupt: bool | None = None,
        output_type: type[Any] | None = None,
        retry_on_mismatch: int = 0,
    ) -> TurnResult:
        """Run one turn to its end and return its result.

        A KeyboardInterrupt interrupts the turn. ``sandbox_policy`` takes the protocol's policy instead of a ``Sandbox``.
        ``timeout`` and ``inactivity_timeout`` are seconds. A turn that exceeds one of them, ``max_tokens`` or ``max_model_requests`` is
        interrupted. With ``output_type``, a pydantic model, a dataclass or another type, the model has to follow its schema, and the
        result has its ``value``. If a response does not fit, ``retry_on_mismatch`` further turns may correct it.
        """
        attempts = attempts_of(output_type, retry_on_mismatch, timeout)
        options = given(locals(), "input", "output_type", "attempts", "retry_on_mismatch")
        if attempts is not None:
            options["output_schema"] = sole_schema(options, attempts.schema)
        items = native_run_input(input)
        result = self._opened().run(items, options).wait()
        while attempts is not None:
            typed = attempts.read(result)
            if typed is not None:
                return typed
            attempts.limit(options)
            result = self._opened().run(native_run_input(attempts.correction), options).wait()
        return result

    @overload
    def turn(self, input: RunInput, *, output_type: type[T], **options: Unpack[TurnOptions]) -> TypedTurnHandle[T]: ...

    @overload
    def turn(self, input: RunInput, *, output_type: None = None, **options: Unpack[TurnOptions]) -> TurnHandle: ...

    @additional(*_OPTIONS_OF_TURNS)
    def turn(
        self,
        input: RunInput,
        *,
        approval_mode: ApprovalMode | None = None,
        cwd: str | None = None,
        effort: ReasoningEffort | None = None,
        model: str | None = None,
        output_schema: JsonObject | None = None,
        personality: Personality | None = None,
        sandbox: Sandbox | None = None,
        service_tier: str | None = None,
        source: str | None = None,
        summary: ReasoningSummary | None = None,
        turn_service_tier: str | None = None,
        sandbox_policy: SandboxPolicy | None = None,
        timeout: float | None = None,
        inactivity_timeout: float | None = None,
        max_tokens: int | None = None,
        max_model_requests: int | None = None,
        end_commands_on_interrupt: bool | None = None,
        output_type: type[Any] | None = None,
        interrupt_on_drop: bool = False,
    ) -> TurnHandle:
        """Start a turn, or join the running turn of the thread.

        ``timeout`` and ``inactivity_timeout`` are seconds. A turn that exceeds one of them, ``max_tokens`` or ``max_model_requests`` is
        interrupted. With ``output_type``, the model has to follow the type's schema, and the result of the handle's ``run`` has the
        ``value``. With ``interrupt_on_drop``, the turn is interrupted when its handle and its streams are dropped.
        """
        output = output_of(output_type)
        options = given(locals(), "input", "output_type", "output")
        if output is not None:
            options["output_schema"] = sole_schema(options, output.schema)
        items = native_run_input(input)
        turn = self._opened().turn(items, options).wait()
        handle = (
            TurnHandle(self._client, self.id, turn.id, _subscription=turn)
            if output is None
            else TypedTurnHandle(self._client, self.id, turn.id, _subscription=turn, _output=output)
        )
        if not interrupt_on_drop:
            turn.keep()
        return handle

    def read(self, *, include_turns: bool = False) -> ThreadReadResponse:
        """Read the stored thread."""
        params = {"threadId": self.id, "includeTurns": include_turns}
        return self._client._native.request("thread/read", params, "ThreadReadResponse").wait()

    def turns(
        self,
        *,
        items_view: TurnItemsView | None = None,
        page_size: int | None = None,
        sort_direction: SortDirection | None = None,
    ) -> Iterator[Turn]:
        """Iterate over the stored turns."""
        params = {"threadId": self.id, **wire(locals(), page_size="limit")}
        client = self._client._native
        return _entries(client.pages("thread/turns/list", params, "ThreadTurnsListResponse", _of(client, self._native)))

    def items(
        self, *, page_size: int | None = None, sort_direction: SortDirection | None = None, turn_id: str | None = None
    ) -> Iterator[ThreadItemEntry]:
        """Iterate over the stored items, of all turns or of one."""
        params = {"threadId": self.id, **wire(locals(), page_size="limit")}
        client = self._client._native
        return _entries(client.pages("thread/items/list", params, "ThreadItemsListResponse", _of(client, self._native)))

    def events(self) -> Iterator[Event]:
        """Observe the thread from now on, including what belongs to no turn. As ``Codex.events``."""
        return _observe(self._client._native.events(self.id))

    def set_name(self, name: str) -> ThreadSetNameResponse:
        """Set the thread's name."""
        params = {"threadId": self.id, "name": name}
        return self._client._native.request("thread/name/set", params, "ThreadSetNameResponse").wait()

    def compact(self) -> ThreadCompactStartResponse:
        """Begin to compact the thread's history into a summary. It interrupts a running turn of the thread."""
        params = {"threadId": self.id}
        return self._client._native.request("thread/compact/start", params, "ThreadCompactStartResponse").wait()

    def ensure(
        self,
        key: str,
        input: RunInput,
        *,
        on_half_done: str | Callable[[TurnResult], str | None] | None = None,
        writer_timeout: float = 60,
        approval_mode: ApprovalMode | None = None,
        cwd: str | None = None,
        effort: ReasoningEffort | None = None,
        model: str | None = None,
        output_schema: JsonObject | None = None,
        personality: Personality | None = None,
        sandbox: Sandbox | None = None,
        service_tier: str | None = None,
        source: str | None = None,
        summary: ReasoningSummary | None = None,
        turn_service_tier: str | None = None,
        sandbox_policy: SandboxPolicy | None = None,
        timeout: float | None = None,
        inactivity_timeout: float | None = None,
        max_tokens: int | None = None,
        max_model_requests: int | None = None,
        end_commands_on_interrupt: bool | None = None,
    ) -> Ensured:
        """Run a turn once, however many callers ask for it, and however often.

        The key becomes the id of the turn's message, which the runtime stores. The call loads the thread, so that no other runtime
        writes to it, and looks for the key: a turn that is done is returned and not run again, and a running one is waited for.
        ``on_half_done`` decides about a turn that was interrupted, usually because its runtime was killed: a prompt continues it, a
        function gets the partial result and returns a prompt or ``None``, and without either the call raises
        ``TurnInterruptedError``. ``writer_timeout`` is how many seconds the call waits while another runtime has the thread loaded.
        A call that is given up leaves the turn running.
        """
        options = given(locals(), "key", "input", "on_half_done", "writer_timeout")
        items = native_run_input(input)
        prompt = native_input(on_half_done) if isinstance(on_half_done, str) else None
        thread = self._opened(writer_timeout)
        try:
            return thread.ensure(key, items, options, prompt, writer_timeout).wait()
        except TurnInterruptedError as error:
            if not callable(on_half_done) or error.turn is None:
                raise
            decided = on_half_done(error.turn)
            if decided is None:
                raise
        return thread.ensure(key, items, options, native_input(decided), writer_timeout).wait()

    def find_turn(self, client_message_id: str) -> TurnResult | None:
        """Find the latest turn that has a user message with this id of a client, such as the key of ``ensure``. It may be running."""
        return self._opened().find_turn(client_message_id).wait()

    def follow(self) -> TurnHandle | None:
        """Follow the running turn of the thread, whichever client has started it. ``None`` if the thread is idle."""
        turn = self._opened().follow().wait()
        return None if turn is None else TurnHandle(self._client, self.id, turn.id, _subscription=turn)

    def export(self) -> Rollout:
        """Read the thread's stored history, for ``thread_import`` of a client whose runtime has another home.

        Both homes have the thread after that, and know nothing of each other's turns.
        """
        return self._opened().export().wait()

    def unsubscribe(self) -> ThreadUnsubscribeResponse:
        """Stop the thread's events, and drop its functions and tools. For clients that open many threads.

        A running turn continues without them. This object can then still read the thread, and start no turn.
        """
        return self._opened().unsubscribe().wait()

    def recover(self, turn_id: str) -> TurnResult:
        """Read the result of a turn from the runtime's records, if its end was lost."""
        return self._client._native.recover(self.id, turn_id).wait()


@dataclass(slots=True)
class AsyncThread:
    """A thread: a conversation."""

    _codex: AsyncCodex
    id: str
    _native: native.Thread | None = field(init=False, repr=False, compare=False, default=None)
    _functions: dict[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    @classmethod
    def _of(cls, owner: AsyncCodex, native: native.Thread, options: dict[str, Any] | None = None) -> AsyncThread:
        thread = cls(owner, native.id)
        thread._native = native
        thread._functions = {name: value for name, value in (options or {}).items() if name in (*HANDLERS, "tools")}
        return thread

    async def _opened(self, writer_timeout: float = 0) -> native.Thread:
        """The native thread. One that was made by hand is resumed, and so is one whose client was closed and started again."""
        client = self._codex._native
        if self._native is None:
            self._native = await wait(client.thread_resume(self.id, {"writer_timeout": writer_timeout}))
        elif not self._native.belongs_to(client):
            # Its async functions run in this loop now.
            self._native = client.adopt(self._native, bind(dict(self._functions), running_loop()))
        return self._native

    @overload
    async def run(
        self, input: RunInput, *, output_type: type[T], retry_on_mismatch: int = 0, **options: Unpack[RunOptions]
    ) -> TypedResult[T]: ...

    @overload
    async def run(self, input: RunInput, *, output_type: None = None, **options: Unpack[RunOptions]) -> TurnResult: ...

    @additional(*_OPTIONS_OF_TURNS)
    async def run(
        self,
        input: RunInput,
        *,
        approval_mode: ApprovalMode | None = None,
        cwd: str | None = None,
        effort: ReasoningEffort | None = None,
        model: str | None = None,
        output_schema: JsonObject | None = None,
        personality: Personality | None = None,
        sandbox: Sandbox | None = None,
        service_tier: str | None = None,
        source: str | None = None,
        summary: ReasoningSummary | None = None,
        turn_service_tier: str | None = None,
        sandbox_policy: SandboxPolicy | None = None,
        timeout: float | None = None,
        inactivity_timeout: float | None = None,
        max_tokens: int | None = None,
        max_model_requests: int | None = None,
        end_commands_on_interrupt: bool | None = None,
        output_type: type[Any] | None = None,
        retry_on_mismatch: int = 0,
    ) -> TurnResult:
        """Run one turn to its end and return its result.

        Cancelling the task interrupts the turn. ``sandbox_policy`` takes the protocol's policy instead of a ``Sandbox``.
        ``timeout`` and ``inactivity_timeout`` are seconds. A turn that exceeds one of them, ``max_tokens`` or ``max_model_requests`` is
        interrupted. With ``output_type``, a pydantic model, a dataclass or another type, the model has to follow its schema, and the
        result has its ``value``. If a response does not fit, ``retry_on_mismatch`` further turns may correct it.
        """
        attempts = attempts_of(output_type, retry_on_mismatch, timeout)
        options = given(locals(), "input", "output_type", "attempts", "retry_on_mismatch")
        if attempts is not None:
            options["output_schema"] = sole_schema(options, attempts.schema)
        items = native_run_input(input)
        result = await wait((await self._opened()).run(items, options))
        while attempts is not None:
            typed = attempts.read(result)
            if typed is not None:
                return typed
            attempts.limit(options)
            correction = native_run_input(attempts.correction)
            result = await wait((await self._opened()).run(correction, options))
        return result

    @overload
    async def turn(
        self, input: RunInput, *, output_type: type[T], **options: Unpack[TurnOptions]
    ) -> AsyncTypedTurnHandle[T]: ...

    @overload
    async def turn(
        self, input: RunInput, *, output_type: None = None, **options: Unpack[TurnOptions]
    ) -> AsyncTurnHandle: ...

    @additional(*_OPTIONS_OF_TURNS)
    async def turn(
        self,
        input: RunInput,
        *,
        approval_mode: ApprovalMode | None = None,
        cwd: str | None = None,
        effort: ReasoningEffort | None = None,
        model: str | None = None,
        output_schema: JsonObject | None = None,
        personality: Personality | None = None,
        sandbox: Sandbox | None = None,
        service_tier: str | None = None,
        source: str | None = None,
        summary: ReasoningSummary | None = None,
        turn_service_tier: str | None = None,
        sandbox_policy: SandboxPolicy | None = None,
        timeout: float | None = None,
        inactivity_timeout: float | None = None,
        max_tokens: int | None = None,
        max_model_requests: int | None = None,
        end_commands_on_interrupt: bool | None = None,
        output_type: type[Any] | None = None,
        interrupt_on_drop: bool = False,
    ) -> AsyncTurnHandle:
        """Start a turn, or join the running turn of the thread.

        ``timeout`` and ``inactivity_timeout`` are seconds. A turn that exceeds one of them, ``max_tokens`` or ``max_model_requests`` is
        interrupted. With ``output_type``, the model has to follow the type's schema, and the result of the handle's ``run`` has the
        ``value``. With ``interrupt_on_drop``, the turn is interrupted when its handle and its streams are dropped.
        """
        output = output_of(output_type)
        options = given(locals(), "input", "output_type", "output")
        if output is not None:
            options["output_schema"] = sole_schema(options, output.schema)
        items = native_run_input(input)
        turn = await wait((await self._opened()).turn(items, options))
        handle = (
            AsyncTurnHandle(self._codex, self.id, turn.id, _subscription=turn)
            if output is None
            else AsyncTypedTurnHandle(self._codex, self.id, turn.id, _subscription=turn, _output=output)
        )
        if not interrupt_on_drop:
            turn.keep()
        return handle

    async def read(self, *, include_turns: bool = False) -> ThreadReadResponse:
        """Read the stored thread."""
        params = {"threadId": self.id, "includeTurns": include_turns}
        return await wait(self._codex._native.request("thread/read", params, "ThreadReadResponse"))

    def turns(
        self,
        *,
        items_view: TurnItemsView | None = None,
        page_size: int | None = None,
        sort_direction: SortDirection | None = None,
    ) -> AsyncIterator[Turn]:
        """Iterate over the stored turns."""
        params = {"threadId": self.id, **wire(locals(), page_size="limit")}
        client = self._codex._native
        return _entries_async(
            client.pages("thread/turns/list", params, "ThreadTurnsListResponse", _of(client, self._native))
        )

    def items(
        self, *, page_size: int | None = None, sort_direction: SortDirection | None = None, turn_id: str | None = None
    ) -> AsyncIterator[ThreadItemEntry]:
        """Iterate over the stored items, of all turns or of one."""
        params = {"threadId": self.id, **wire(locals(), page_size="limit")}
        client = self._codex._native
        return _entries_async(
            client.pages("thread/items/list", params, "ThreadItemsListResponse", _of(client, self._native))
        )

    def events(self) -> AsyncIterator[Event]:
        """Observe the thread from now on, including what belongs to no turn. As ``AsyncCodex.events``."""
        return _observe_async(self._codex._native.events(self.id))

    async def set_name(self, name: str) -> ThreadSetNameResponse:
        """Set the thread's name."""
        params = {"threadId": self.id, "name": name}
        return await wait(self._codex._native.request("thread/name/set", params, "ThreadSetNameResponse"))

    async def compact(self) -> ThreadCompactStartResponse:
        """Begin to compact the thread's history into a summary. It interrupts a running turn of the thread."""
        params = {"threadId": self.id}
        return await wait(self._codex._native.request("thread/compact/start", params, "ThreadCompactStartResponse"))

    async def ensure(
        self,
        key: str,
        input: RunInput,
        *,
        on_half_done: str | Callable[[TurnResult], str | Awaitable[str | None] | None] | None = None,
        writer_timeout: float = 60,
        approval_mode: ApprovalMode | None = None,
        cwd: str | None = None,
        effort: ReasoningEffort | None = None,
        model: str | None = None,
        output_schema: JsonObject | None = None,
        personality: Personality | None = None,
        sandbox: Sandbox | None = None,
        service_tier: str | None = None,
        source: str | None = None,
        summary: ReasoningSummary | None = None,
        turn_service_tier: str | None = None,
        sandbox_policy: SandboxPolicy | None = None,
        timeout: float | None = None,
        inactivity_timeout: float | None = None,
        max_tokens: int | None = None,
        max_model_requests: int | None = None,
        end_commands_on_interrupt: bool | None = None,
    ) -> Ensured:
        """Run a turn once, however many callers ask for it, and however often.

        The key becomes the id of the turn's message, which the runtime stores. The call loads the thread, so that no other runtime
        writes to it, and looks for the key: a turn that is done is returned and not run again, and a running one is waited for.
        ``on_half_done`` decides about a turn that was interrupted, usually because its runtime was killed: a prompt continues it, a
        function gets the partial result and returns a prompt or ``None``, and without either the call raises
        ``TurnInterruptedError``. ``writer_timeout`` is how many seconds the call waits while another runtime has the thread loaded.
        A call that is given up leaves the turn running.
        """
        options = given(locals(), "key", "input", "on_half_done", "writer_timeout")
        items = native_run_input(input)
        prompt = native_input(on_half_done) if isinstance(on_half_done, str) else None
        thread = await self._opened(writer_timeout)
        try:
            return await wait(thread.ensure(key, items, options, prompt, writer_timeout))
        except TurnInterruptedError as error:
            if not callable(on_half_done) or error.turn is None:
                raise
            decided = on_half_done(error.turn)
            if decided is not None and not isinstance(decided, str):
                decided = await decided
            if decided is None:
                raise
        return await wait(thread.ensure(key, items, options, native_input(decided), writer_timeout))

    async def find_turn(self, client_message_id: str) -> TurnResult | None:
        """Find the latest turn that has a user message with this id of a client, such as the key of ``ensure``. It may be running."""
        return await wait((await self._opened()).find_turn(client_message_id))

    async def follow(self) -> AsyncTurnHandle | None:
        """Follow the running turn of the thread, whichever client has started it. ``None`` if the thread is idle."""
        turn = await wait((await self._opened()).follow())
        return None if turn is None else AsyncTurnHandle(self._codex, self.id, turn.id, _subscription=turn)

    async def export(self) -> Rollout:
        """Read the thread's stored history, for ``thread_import`` of a client whose runtime has another home.

        Both homes have the thread after that, and know nothing of each other's turns.
        """
        return await wait((await self._opened()).export())

    async def unsubscribe(self) -> ThreadUnsubscribeResponse:
        """Stop the thread's events, and drop its functions and tools. For clients that open many threads.

        A running turn continues without them. This object can then still read the thread, and start no turn.
        """
        return await wait((await self._opened()).unsubscribe())

    async def recover(self, turn_id: str) -> TurnResult:
        """Read the result of a turn from the runtime's records, if its end was lost."""
        return await wait(self._codex._native.recover(self.id, turn_id))


def _held(turn: native.Turn | None) -> native.Turn:
    if turn is None:
        raise ValueError("this handle was made by hand; only `Thread.turn` makes handles that can follow a turn")
    return turn


@dataclass(slots=True)
class TurnHandle:
    """A turn. It continues when the handle is dropped."""

    _client: CodexClient
    thread_id: str
    id: str
    _subscription: native.Turn | None = field(init=False, repr=False, compare=False)

    def __init__(self, _client: CodexClient, thread_id: str, id: str, *, _subscription=None) -> None:  # type: ignore[no-untyped-def]
        self._client = _client
        self.thread_id = thread_id
        self.id = id
        self._subscription = _subscription

    def steer(self, input: Input | str) -> TurnSteerResponse:
        """Add input to the running turn."""
        return _held(self._subscription).steer(native_input(input)).wait()

    def steer_or_start(self, input: Input | str) -> TurnHandle:
        """Add input to the turn, or start a turn with it if this one is over. The returned handle is for the turn that has the input."""
        turn = _held(self._subscription).steer_or_start(native_input(input)).wait()
        return TurnHandle(self._client, self.thread_id, turn.id, _subscription=turn)

    @property
    def client_message_id(self) -> str | None:
        """The client's id of the message that this handle has started the turn with, or that has joined it."""
        return _held(self._subscription).client_message_id

    def interrupt(self) -> TurnInterruptResponse:
        """Interrupt the turn. It still ends, with the status ``interrupted``."""
        return _held(self._subscription).interrupt().wait()

    @additional("with_children")
    def stream(self, *, with_children: bool = False) -> Iterator[Notification]:
        """Stream the turn's events, up to its end. Leaving the stream leaves the turn alone.

        ``with_children`` includes the events of sub-agents' turns.
        """
        events = _held(self._subscription).stream(with_children)
        try:
            while True:
                event = events.pop()
                if event is not None:
                    yield event
                elif not events.more().wait():
                    return
        finally:
            events.close()

    def stream_text(self) -> Iterator[str]:
        """Stream the text of the turn's agent messages while the model writes it. Raises the error of a failed turn at the end."""
        turn = _held(self._subscription)
        events = turn.stream()
        try:
            while True:
                text = events.pop_text()
                if text is not None:
                    yield text
                elif not events.more().wait():
                    break
        finally:
            events.close()
        turn.run().wait()

    def run(self) -> TurnResult:
        """Wait for the turn's end and return its result. A KeyboardInterrupt leaves the turn alone."""
        return _held(self._subscription).run().wait()

    def recover(self) -> TurnResult:
        """Read the turn's result from the runtime's records, if its end was lost."""
        return _held(self._subscription).recover().wait()


class TypedTurnHandle(TurnHandle, Generic[T]):
    """A turn with an output type. Its ``run`` reads the final response."""

    __slots__ = ("_output",)

    def __init__(  # type: ignore[no-untyped-def]
        self, _client: CodexClient, thread_id: str, id: str, *, _subscription=None, _output: Output[T]
    ) -> None:
        super().__init__(_client, thread_id, id, _subscription=_subscription)
        self._output = _output

    def run(self) -> TypedResult[T]:
        """Wait for the turn's end and read its final response. A KeyboardInterrupt leaves the turn alone."""
        return self._output.read(super().run())


@dataclass(slots=True)
class AsyncTurnHandle:
    """A turn. It continues when the handle is dropped."""

    _codex: AsyncCodex
    thread_id: str
    id: str
    _subscription: native.Turn | None = field(init=False, repr=False, compare=False)

    def __init__(self, _codex: AsyncCodex, thread_id: str, id: str, *, _subscription=None) -> None:  # type: ignore[no-untyped-def]
        self._codex = _codex
        self.thread_id = thread_id
        self.id = id
        self._subscription = _subscription

    async def steer(self, input: Input | str) -> TurnSteerResponse:
        """Add input to the running turn."""
        return await wait(_held(self._subscription).steer(native_input(input)))

    async def steer_or_start(self, input: Input | str) -> AsyncTurnHandle:
        """Add input to the turn, or start a turn with it if this one is over. The returned handle is for the turn that has the input."""
        turn = await wait(_held(self._subscription).steer_or_start(native_input(input)))
        return AsyncTurnHandle(self._codex, self.thread_id, turn.id, _subscription=turn)

    @property
    def client_message_id(self) -> str | None:
        """The client's id of the message that this handle has started the turn with, or that has joined it."""
        return _held(self._subscription).client_message_id

    async def interrupt(self) -> TurnInterruptResponse:
        """Interrupt the turn. It still ends, with the status ``interrupted``."""
        return await wait(_held(self._subscription).interrupt())

    @additional("with_children")
    async def stream(self, *, with_children: bool = False) -> AsyncIterator[Notification]:
        """Stream the turn's events, up to its end. Leaving the stream leaves the turn alone.

        ``with_children`` includes the events of sub-agents' turns.
        """
        from asyncio import sleep

        events = _held(self._subscription).stream(with_children)
        try:
            while True:
                event = events.pop()
                if event is not None:
                    yield event
                elif not await wait(events.more()):
                    return
                else:
                    # Other tasks run between two batches, even if the next one is there already.
                    await sleep(0)
        finally:
            events.close()

    async def stream_text(self) -> AsyncIterator[str]:
        """Stream the text of the turn's agent messages while the model writes it. Raises the error of a failed turn at the end."""
        from asyncio import sleep

        turn = _held(self._subscription)
        events = turn.stream()
        try:
            while True:
                text = events.pop_text()
                if text is not None:
                    yield text
                elif not await wait(events.more()):
                    break
                else:
                    # Other tasks run between two batches, even if the next one is there already.
                    await sleep(0)
        finally:
            events.close()
        await wait(turn.run())

    async def run(self) -> TurnResult:
        """Wait for the turn's end and return its result. Cancelling the task leaves the turn alone."""
        return await wait(_held(self._subscription).run())

    async def recover(self) -> TurnResult:
        """Read the turn's result from the runtime's records, if its end was lost."""
        return await wait(_held(self._subscription).recover())


class AsyncTypedTurnHandle(AsyncTurnHandle, Generic[T]):
    """A turn with an output type. Its ``run`` reads the final response."""

    __slots__ = ("_output",)

    def __init__(  # type: ignore[no-untyped-def]
        self, _codex: AsyncCodex, thread_id: str, id: str, *, _subscription=None, _output: Output[T]
    ) -> None:
        super().__init__(_codex, thread_id, id, _subscription=_subscription)
        self._output = _output

    async def run(self) -> TypedResult[T]:
        """Wait for the turn's end and read its final response. Cancelling the task leaves the turn alone."""
        return self._output.read(await super().run())


import_late(globals())
