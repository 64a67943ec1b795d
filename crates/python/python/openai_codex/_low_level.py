"""The methods of `CodexClient`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_codex import _requests as requests
from openai_codex._annotations import import_late
from openai_codex._metadata import initialize_response
from openai_codex._registrations import Registrations
from openai_codex._steps import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_codex._goal import GoalOperation
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


class LowLevelMethods(Registrations):
    """What the published package's client has below ``Codex``. Parameters are models of ``generated.v2_all``, or dicts."""

    def initialize(self) -> InitializeResponse:
        """Start the runtime, and return what it said about itself. The handshake is part of the start."""
        self._native.start().wait()
        return initialize_response(self._native.metadata() or "")

    def request(self, method: str, params: JsonObject | None, *, response_model: Any) -> Any:
        """Make any request of the protocol. The response is an instance of ``response_model``."""
        response = self._native.request(method, params).wait()
        return response_model.model_validate_json(response)

    def request_with_retry_on_overload(
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
        from openai_codex.retry import retry_on_overload

        return retry_on_overload(
            lambda: self.request(method, params, response_model=response_model),
            max_attempts=max_attempts,
            initial_delay_s=initial_delay_s,
            max_delay_s=max_delay_s,
        )

    def notify(self, method: str, params: JsonObject | None = None) -> None:
        """Send a notification."""
        self._native.notify(method, params).wait()

    def next_notification(self) -> Notification:
        """Wait for the next notification that belongs to no turn and no login."""
        return self._notifications().next()

    def next_login_notification(self, login_id: str) -> Notification:
        """Wait for the end of a login. A login has one notification, which a later call returns again."""
        return self._login(login_id).wait().wait()

    def wait_for_login_completed(self, login_id: str) -> AccountLoginCompletedNotification:
        """Wait for the end of a login, and forget the login."""
        try:
            payload: Any = self.next_login_notification(login_id).payload
        finally:
            self.unregister_login_notifications(login_id)
        completed: AccountLoginCompletedNotification = payload
        return completed

    def next_turn_notification(self, turn_id: str) -> Notification:
        """Wait for the next notification of a turn that ``turn_start`` has started."""
        from openai_codex.errors import TransportClosedError

        events = self._events(turn_id)
        while True:
            event = events.pop()
            if event is not None:
                return event
            if not events.more().wait():
                raise TransportClosedError("the turn has ended, and the program has read all its notifications")

    def wait_for_turn_completed(self, turn_id: str) -> TurnCompletedNotification:
        """Wait for the end of a turn, and drop its other notifications."""
        try:
            while (event := self.next_turn_notification(turn_id)).method != "turn/completed":
                pass
            payload: Any = event.payload
        finally:
            self.unregister_turn_notifications(turn_id)
        completed: TurnCompletedNotification = payload
        return completed

    def stream_text(
        self, thread_id: str, text: str, params: TurnStartParams | JsonObject | None = None
    ) -> Iterator[AgentMessageDeltaNotification]:
        """Start a turn, and yield the deltas of the agent's messages."""
        from openai_codex.generated.v2_all import AgentMessageDeltaNotification

        turn_id = self.turn_start(thread_id, text, params).turn.id
        try:
            while (event := self.next_turn_notification(turn_id)).method != "turn/completed":
                if isinstance(event.payload, AgentMessageDeltaNotification):
                    yield event.payload
        finally:
            self.unregister_turn_notifications(turn_id)

    def account_login_start(self, params: LoginAccountParams | JsonObject) -> LoginAccountResponse:
        """Begin a login, and register it."""
        return run(self._start_login(params))

    def account_login_cancel(self, login_id: str) -> CancelLoginAccountResponse:
        """Cancel a login."""
        return requests.account_login_cancel(self._native, login_id).wait()

    def account_read(self, params: GetAccountParams | JsonObject | None = None) -> GetAccountResponse:
        """Read the account that is logged in."""
        return requests.account_read(self._native, params).wait()

    def account_logout(self) -> LogoutAccountResponse:
        """Log out."""
        return requests.account_logout(self._native).wait()

    def thread_start(self, params: ThreadStartParams | JsonObject | None = None) -> ThreadStartResponse:
        """Start a thread. Its folder stays untrusted, unless the parameters or the user's configuration trust it."""
        return requests.thread_start(self._native, params).wait()

    def thread_resume(
        self, thread_id: str, params: ThreadResumeParams | JsonObject | None = None
    ) -> ThreadResumeResponse:
        """Resume a stored thread."""
        return requests.thread_resume(self._native, thread_id, params).wait()

    def thread_fork(self, thread_id: str, params: ThreadForkParams | JsonObject | None = None) -> ThreadForkResponse:
        """Make a new thread with the history of another."""
        return requests.thread_fork(self._native, thread_id, params).wait()

    def thread_list(self, params: ThreadListParams | JsonObject | None = None) -> ThreadListResponse:
        """List stored threads."""
        return requests.thread_list(self._native, params).wait()

    def thread_read(self, thread_id: str, include_turns: bool = False) -> ThreadReadResponse:
        """Read a stored thread."""
        return requests.thread_read(self._native, thread_id, include_turns).wait()

    def thread_archive(self, thread_id: str) -> ThreadArchiveResponse:
        """Archive a thread."""
        return requests.thread_archive(self._native, thread_id).wait()

    def thread_unarchive(self, thread_id: str) -> ThreadUnarchiveResponse:
        """Take a thread out of the archive."""
        return requests.thread_unarchive(self._native, thread_id).wait()

    def thread_set_name(self, thread_id: str, name: str) -> ThreadSetNameResponse:
        """Set a thread's name."""
        return requests.thread_set_name(self._native, thread_id, name).wait()

    def thread_compact(self, thread_id: str) -> ThreadCompactStartResponse:
        """Begin to compact a thread's history."""
        return requests.thread_compact(self._native, thread_id).wait()

    def thread_goal_clear(self, thread_id: str) -> ThreadGoalClearResponse:
        """Clear a thread's goal."""
        return requests.thread_goal_clear(self._native, thread_id).wait()

    def thread_goal_set(
        self, thread_id: str, *, objective: str | None = None, status: ThreadGoalStatus | None = None
    ) -> ThreadGoalSetResponse:
        """Set a thread's goal, or its status."""
        return requests.thread_goal_set(self._native, thread_id, objective, status).wait()

    def pause_goal(self, thread_id: str) -> ThreadGoalSetResponse:
        """Pause a thread's goal."""
        from openai_codex.generated.v2_all import ThreadGoalStatus

        return self.thread_goal_set(thread_id, status=ThreadGoalStatus.paused)

    def start_goal_operation(self, thread_id: str, objective: str) -> tuple[GoalOperation, str]:
        """Give an idle, stored thread a goal instead of its former one, and wait for the first turn. Returns it with that turn's id.

        The runtime starts further turns until the goal is over.
        """
        return run(self._start_goal(thread_id, objective))

    def reserve_goal_operation(self, thread_id: str) -> GoalOperation:
        """Follow the goal of a thread, and no turns."""
        return self._follow(thread_id, takes_turns=False)

    def next_goal_notification(self, state: GoalOperation) -> Notification:
        """Wait for the next notification of a goal, or of a turn of it."""
        from openai_codex._goal import next_notification

        return run(next_notification(state))

    def cancel_goal_operation(self, state: GoalOperation) -> None:
        """Pause a goal, and interrupt its turn, as far as the server lets it."""
        from openai_codex._goal import cancel

        run(cancel(self._native, state.thread_id))

    def turn_start(
        self,
        thread_id: str,
        input_items: list[JsonObject] | JsonObject | str,
        params: TurnStartParams | JsonObject | None = None,
    ) -> TurnStartResponse:
        """Start a turn, and register it. Its notifications are kept until they are read, or the turn is unregistered."""
        return run(self._start_turn(thread_id, input_items, params))

    def turn_interrupt(self, thread_id: str, turn_id: str) -> TurnInterruptResponse:
        """Interrupt a turn that runs."""
        return requests.turn_interrupt(self._native, thread_id, turn_id).wait()

    def turn_steer(
        self, thread_id: str, expected_turn_id: str, input_items: list[JsonObject] | JsonObject | str
    ) -> TurnSteerResponse:
        """Add input to a turn that runs."""
        return requests.turn_steer(self._native, thread_id, expected_turn_id, input_items).wait()

    def model_list(self, include_hidden: bool = False) -> ModelListResponse:
        """List the models."""
        return requests.model_list(self._native, include_hidden).wait()


import_late(globals())
