"""Threads: conversations, in which turns run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, overload

from openai_codex import _native as native
from openai_codex._annotations import import_late
from openai_codex._handlers import HANDLERS, bind
from openai_codex._inputs import native_input, native_run_input
from openai_codex._iterators import entries, entries_async, observe, observe_async
from openai_codex._options import additional, attempts_of, given, output_of, sole_schema, wire
from openai_codex._turn_handle import AsyncTurnHandle, AsyncTypedTurnHandle, TurnHandle, TypedTurnHandle
from openai_codex._wait import running_loop, wait
from openai_codex.errors import TurnInterruptedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typing_extensions import Unpack

    from openai_codex._approval_mode import ApprovalMode
    from openai_codex._inputs import RunInput
    from openai_codex._run import TurnResult
    from openai_codex._sandbox import Sandbox
    from openai_codex.api import AsyncCodex
    from openai_codex.client import CodexClient
    from openai_codex.durable import Ensured
    from openai_codex.events import Event
    from openai_codex.generated.v2_all import ThreadItemEntry, ThreadUnsubscribeResponse, Turn, TurnItemsView
    from openai_codex.models import JsonObject
    from openai_codex.rollout import Rollout
    from openai_codex.typed_output import TypedResult
    from openai_codex.types import (
        Personality,
        ReasoningEffort,
        ReasoningSummary,
        SandboxPolicy,
        SortDirection,
        ThreadCompactStartResponse,
        ThreadReadResponse,
        ThreadSetNameResponse,
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


def _of(client: native.Client, thread: native.Thread | None) -> native.Thread | None:
    """The native thread, if it is one of the client."""
    return thread if thread is not None and thread.belongs_to(client) else None


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
        return entries(client.pages("thread/turns/list", params, "ThreadTurnsListResponse", _of(client, self._native)))

    def items(
        self, *, page_size: int | None = None, sort_direction: SortDirection | None = None, turn_id: str | None = None
    ) -> Iterator[ThreadItemEntry]:
        """Iterate over the stored items, of all turns or of one."""
        params = {"threadId": self.id, **wire(locals(), page_size="limit")}
        client = self._client._native
        return entries(client.pages("thread/items/list", params, "ThreadItemsListResponse", _of(client, self._native)))

    def events(self) -> Iterator[Event]:
        """Observe the thread from now on, including what belongs to no turn. As ``Codex.events``."""
        return observe(self._client._native.events(self.id))

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

        A running turn continues without them, and its handle raises `TurnLostError` at the end. This object can then still read the
        thread, and start no turn.
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
        return entries_async(
            client.pages("thread/turns/list", params, "ThreadTurnsListResponse", _of(client, self._native))
        )

    def items(
        self, *, page_size: int | None = None, sort_direction: SortDirection | None = None, turn_id: str | None = None
    ) -> AsyncIterator[ThreadItemEntry]:
        """Iterate over the stored items, of all turns or of one."""
        params = {"threadId": self.id, **wire(locals(), page_size="limit")}
        client = self._codex._native
        return entries_async(
            client.pages("thread/items/list", params, "ThreadItemsListResponse", _of(client, self._native))
        )

    def events(self) -> AsyncIterator[Event]:
        """Observe the thread from now on, including what belongs to no turn. As ``AsyncCodex.events``."""
        return observe_async(self._codex._native.events(self.id))

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

        A running turn continues without them, and its handle raises `TurnLostError` at the end. This object can then still read the
        thread, and start no turn.
        """
        return await wait((await self._opened()).unsubscribe())

    async def recover(self, turn_id: str) -> TurnResult:
        """Read the result of a turn from the runtime's records, if its end was lost."""
        return await wait(self._codex._native.recover(self.id, turn_id))


import_late(globals())
