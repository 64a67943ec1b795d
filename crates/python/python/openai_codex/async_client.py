"""The async client below `AsyncCodex`."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from openai_codex import _native as native, _requests as requests
from openai_codex._annotations import import_late
from openai_codex._handlers import bind
from openai_codex._metadata import initialize_response
from openai_codex._options import additional
from openai_codex._registrations import Registrations
from openai_codex._steps import run_async
from openai_codex._wait import running_loop, wait
from openai_codex.client import CodexConfig, any_request, native_client, state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openai_codex._goal import GoalOperation
    from openai_codex.client import ApprovalHandler
    from openai_codex.generated.v2_all import (
        AccountLoginCompletedNotification,
        AgentMessageDeltaNotification,
        CancelLoginAccountResponse,
        GetAccountParams,
        GetAccountResponse,
        LoginAccountParams,
        LoginAccountResponse,
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
        TurnCompletedNotification,
        TurnInterruptResponse,
        TurnStartParams,
        TurnStartResponse,
        TurnSteerResponse,
    )
    from openai_codex.models import InitializeResponse, JsonObject, Notification


class AsyncCodexClient(Registrations):
    """The client below ``AsyncCodex``, for asyncio: one runtime, and any request of the protocol. After ``close`` it can start anew.

    ``approval_handler`` is a function as that of ``CodexClient``. Without it, the client declines approvals.
    """

    @additional("approval_handler", "_handlers")
    def __init__(
        self,
        config: CodexConfig | None = None,
        *,
        approval_handler: ApprovalHandler | None = None,
        _handlers: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.config = config if config is not None else CodexConfig()
        self._handlers = _handlers or {}
        self._approval_handler = approval_handler
        # `AsyncCodex` has its own observers.
        self._observes = _handlers is None
        self._current: native.Client | None = None
        self._making = Lock()

    async def __aenter__(self) -> AsyncCodexClient:
        await self.start()
        return self

    async def __aexit__(self, _exc_type, _exc, _tb) -> None:  # type: ignore[no-untyped-def]
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncCodexClient {state(self._current, self.config)}>"

    @property
    def _native(self) -> native.Client:
        """The native client. A new one after ``close``."""
        # Two event loops may make the first calls at once.
        with self._making:
            if self._current is None:
                handlers = bind(dict(self._handlers), running_loop()) if self._handlers else {}
                if self._approval_handler is not None:
                    handlers["on_any_request"] = any_request(self._approval_handler)
                self._forget()
                self._current = native_client(self.config, handlers)
            return self._current

    async def start(self) -> None:
        """Start the runtime and do the handshake. Does nothing if it runs."""
        client = self._native
        if self._observes:
            self._notifications()
        await wait(client.start())

    async def close(self) -> None:
        """End the runtime and wait for its end."""
        current, self._current = self._current, None
        if current is not None:
            await wait(current.close())

    async def initialize(self) -> InitializeResponse:
        """Start the runtime, and return what it said about itself. The handshake is part of the start."""
        client = self._native
        await wait(client.start())
        return initialize_response(client.metadata() or "")

    async def request(self, method: str, params: JsonObject | None, *, response_model: Any) -> Any:
        """Make any request of the protocol. The response is an instance of ``response_model``."""
        response = await wait(self._native.request(method, params))
        return response_model.model_validate_json(response)

    async def request_with_retry_on_overload(
        self,
        method: str,
        params: JsonObject | None,
        *,
        response_model: Any,
        max_attempts: int = 3,
        initial_delay_s: float = 0.25,
        max_delay_s: float = 2.0,
    ) -> Any:
        """Make a request, and make it again while the server is overloaded."""
        from asyncio import sleep

        from openai_codex.errors import is_retryable_error
        from openai_codex.retry import pauses

        for pause in pauses(max_attempts, initial_delay_s, max_delay_s, 0.2):
            try:
                return await self.request(method, params, response_model=response_model)
            except Exception as error:
                if not is_retryable_error(error):
                    raise
            await sleep(pause)
        return await self.request(method, params, response_model=response_model)

    async def next_notification(self) -> Notification:
        """Wait for the next notification that belongs to no turn and no login. The client has been started."""
        if self._current is None:
            from openai_codex.errors import TransportClosedError

            raise TransportClosedError("the client is closed, or was not started")
        return await self._notifications().next_async()

    async def next_login_notification(self, login_id: str) -> Notification:
        """Wait for the end of a login. A login has one notification, which a later call returns again."""
        return await wait(self._login(login_id).wait())

    async def wait_for_login_completed(self, login_id: str) -> AccountLoginCompletedNotification:
        """Wait for the end of a login, and forget the login."""
        try:
            payload: Any = (await self.next_login_notification(login_id)).payload
        finally:
            self.unregister_login_notifications(login_id)
        completed: AccountLoginCompletedNotification = payload
        return completed

    async def next_turn_notification(self, turn_id: str) -> Notification:
        """Wait for the next notification of a turn that ``turn_start`` has started."""
        from openai_codex.errors import TransportClosedError

        events = self._events(turn_id)
        while True:
            event = events.pop()
            if event is not None:
                return event
            if not await wait(events.more()):
                raise TransportClosedError("the turn has ended, and the program has read all its notifications")

    async def wait_for_turn_completed(self, turn_id: str) -> TurnCompletedNotification:
        """Wait for the end of a turn, and drop its other notifications."""
        try:
            while (event := await self.next_turn_notification(turn_id)).method != "turn/completed":
                pass
            payload: Any = event.payload
        finally:
            self.unregister_turn_notifications(turn_id)
        completed: TurnCompletedNotification = payload
        return completed

    async def stream_text(
        self, thread_id: str, text: str, params: TurnStartParams | JsonObject | None = None
    ) -> AsyncIterator[AgentMessageDeltaNotification]:
        """Start a turn, and yield the deltas of the agent's messages."""
        from openai_codex.generated.v2_all import AgentMessageDeltaNotification

        turn_id = (await self.turn_start(thread_id, text, params)).turn.id
        try:
            while (event := await self.next_turn_notification(turn_id)).method != "turn/completed":
                if isinstance(event.payload, AgentMessageDeltaNotification):
                    yield event.payload
        finally:
            self.unregister_turn_notifications(turn_id)

    async def account_login_start(self, params: LoginAccountParams | JsonObject) -> LoginAccountResponse:
        """Begin a login, and register it."""
        return await run_async(self._start_login(params))

    async def account_login_cancel(self, login_id: str) -> CancelLoginAccountResponse:
        """Cancel a login."""
        return await wait(requests.account_login_cancel(self._native, login_id))

    async def account_read(self, params: GetAccountParams | JsonObject | None = None) -> GetAccountResponse:
        """Read the account that is logged in."""
        return await wait(requests.account_read(self._native, params))

    async def account_logout(self) -> LogoutAccountResponse:
        """Log out."""
        return await wait(requests.account_logout(self._native))

    async def thread_start(self, params: ThreadStartParams | JsonObject | None = None) -> ThreadStartResponse:
        """Start a thread. Its folder stays untrusted, unless the parameters or the user's configuration trust it."""
        return await wait(requests.thread_start(self._native, params))

    async def thread_resume(
        self, thread_id: str, params: ThreadResumeParams | JsonObject | None = None
    ) -> ThreadResumeResponse:
        """Resume a stored thread."""
        return await wait(requests.thread_resume(self._native, thread_id, params))

    async def thread_fork(
        self, thread_id: str, params: ThreadForkParams | JsonObject | None = None
    ) -> ThreadForkResponse:
        """Make a new thread with the history of another."""
        return await wait(requests.thread_fork(self._native, thread_id, params))

    async def thread_list(self, params: ThreadListParams | JsonObject | None = None) -> ThreadListResponse:
        """List stored threads."""
        return await wait(requests.thread_list(self._native, params))

    async def thread_read(self, thread_id: str, include_turns: bool = False) -> ThreadReadResponse:
        """Read a stored thread."""
        return await wait(requests.thread_read(self._native, thread_id, include_turns))

    async def thread_archive(self, thread_id: str) -> ThreadArchiveResponse:
        """Archive a thread."""
        return await wait(requests.thread_archive(self._native, thread_id))

    async def thread_unarchive(self, thread_id: str) -> ThreadUnarchiveResponse:
        """Take a thread out of the archive."""
        return await wait(requests.thread_unarchive(self._native, thread_id))

    async def thread_set_name(self, thread_id: str, name: str) -> ThreadSetNameResponse:
        """Set a thread's name."""
        return await wait(requests.thread_set_name(self._native, thread_id, name))

    async def thread_compact(self, thread_id: str) -> ThreadCompactStartResponse:
        """Begin to compact a thread's history."""
        return await wait(requests.thread_compact(self._native, thread_id))

    async def thread_goal_clear(self, thread_id: str) -> ThreadGoalClearResponse:
        """Clear a thread's goal."""
        return await wait(requests.thread_goal_clear(self._native, thread_id))

    async def thread_goal_set(
        self, thread_id: str, *, objective: str | None = None, status: ThreadGoalStatus | None = None
    ) -> ThreadGoalSetResponse:
        """Set a thread's goal, or its status."""
        return await wait(requests.thread_goal_set(self._native, thread_id, objective, status))

    async def pause_goal(self, thread_id: str) -> ThreadGoalSetResponse:
        """Pause a thread's goal."""
        from openai_codex.generated.v2_all import ThreadGoalStatus

        return await self.thread_goal_set(thread_id, status=ThreadGoalStatus.paused)

    async def start_goal_operation(self, thread_id: str, objective: str) -> tuple[GoalOperation, str]:
        """Give an idle, stored thread a goal instead of its former one, and wait for the first turn. Returns it with that turn's id.

        The runtime starts further turns until the goal is over. Cancelling the task pauses the goal.
        """
        return await run_async(self._start_goal(thread_id, objective))

    async def next_goal_notification(self, state: GoalOperation) -> Notification:
        """Wait for the next notification of a goal, or of a turn of it."""
        from openai_codex._goal import next_notification

        return await run_async(next_notification(state))

    async def cancel_goal_operation(self, state: GoalOperation) -> None:
        """Pause a goal, and interrupt its turn, as far as the server lets it."""
        from openai_codex._goal import cancel

        await run_async(cancel(self._native, state.thread_id))

    async def turn_start(
        self,
        thread_id: str,
        input_items: list[JsonObject] | JsonObject | str,
        params: TurnStartParams | JsonObject | None = None,
    ) -> TurnStartResponse:
        """Start a turn, and register it. Its notifications are kept until they are read, or the turn is unregistered."""
        return await run_async(self._start_turn(thread_id, input_items, params))

    async def turn_interrupt(self, thread_id: str, turn_id: str) -> TurnInterruptResponse:
        """Interrupt a turn that runs."""
        return await wait(requests.turn_interrupt(self._native, thread_id, turn_id))

    async def turn_steer(
        self, thread_id: str, expected_turn_id: str, input_items: list[JsonObject] | JsonObject | str
    ) -> TurnSteerResponse:
        """Add input to a turn that runs."""
        return await wait(requests.turn_steer(self._native, thread_id, expected_turn_id, input_items))

    async def model_list(self, include_hidden: bool = False) -> ModelListResponse:
        """List the models."""
        return await wait(requests.model_list(self._native, include_hidden))


import_late(globals())
