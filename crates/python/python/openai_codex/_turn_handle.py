"""Handles of turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from openai_codex import _native as native
from openai_codex._annotations import import_late
from openai_codex._inputs import native_input
from openai_codex._options import additional
from openai_codex._wait import wait

if TYPE_CHECKING:
    from openai_codex._inputs import Input
    from openai_codex._run import TurnResult
    from openai_codex.api import AsyncCodex
    from openai_codex.client import CodexClient
    from openai_codex.models import Notification
    from openai_codex.typed_output import Output, TypedResult
    from openai_codex.types import TurnInterruptResponse, TurnSteerResponse

T = TypeVar("T")


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
