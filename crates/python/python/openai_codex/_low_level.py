"""The methods of `CodexClient`: a request of the protocol each, and the notifications of turns and logins by their ids."""

from __future__ import annotations

from contextlib import suppress
from os import getpid
from queue import Empty, Full, Queue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any
from weakref import finalize

from openai_codex import _native as native
from openai_codex._metadata import initialize_response

if TYPE_CHECKING:
    from collections.abc import Iterator

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


_MAX_UNREAD = 16_384
"""How many unread notifications a client keeps. It drops later ones, and says how many."""


def _fields(params: Any) -> dict[str, Any]:
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


class _Unrouted:
    """Reads the notifications that belong to no turn and no login, and keeps them until they are read."""

    def __init__(self, observer: native.Observer) -> None:
        self._process = getpid()
        self._queue: Queue[Any] = Queue(_MAX_UNREAD)
        # The thread does not keep this object, which goes with its client. Then the observer ends, and lets the runtime end.
        finalize(self, observer.close)
        arguments = (observer, self._queue)
        Thread(target=_read, args=arguments, name="codex-notifications", daemon=True).start()

    def next(self) -> Notification:
        from openai_codex.errors import StreamOverflowError, TransportClosedError

        if getpid() != self._process:
            raise TransportClosedError(
                "this process is a fork of the client's, and gets no notifications; make a new client"
            )
        item = self._queue.get()
        if isinstance(item, StreamOverflowError):
            raise item
        if isinstance(item, BaseException):
            # The last item, for the next call and for calls that wait on other threads.
            self._queue.put_nowait(item)
            raise item
        notification: Notification = item
        return notification


def _read(observer: native.Observer, queue: Queue[Any]) -> None:
    from openai_codex.errors import StreamOverflowError, TransportClosedError
    from openai_codex.events import Skipped
    from openai_codex.models import Notification

    dropped = 0

    def keep(item: Any) -> bool:
        try:
            queue.put_nowait(item)
        except Full:
            return False
        return True

    def report_dropped() -> bool:
        text = f"the client dropped {dropped} events: the program gave it no time to read, or did not read them"
        return not dropped or keep(StreamOverflowError(text))

    try:
        while (event := observer.next_unrouted().wait()) is not None:
            if isinstance(event, Skipped):
                dropped += event.count
            if report_dropped():
                dropped = 0
            if isinstance(event, Notification) and (dropped or not keep(event)):
                dropped += 1
        raise TransportClosedError("the client was closed")
    except BaseException as error:
        # The end has a place even if nothing reads: it replaces the oldest.
        while not keep(error):
            with suppress(Empty):
                queue.get_nowait()


class LowLevelMethods:
    """What the published package's client has below ``Codex``. Parameters are models of ``generated.v2_all``, or dicts."""

    _native: native.Client

    def __init__(self) -> None:
        self._turns: dict[str, native.Events] = {}
        self._logins: dict[str, native.UnmanagedLogin] = {}
        self._unrouted: _Unrouted | None = None
        self._opening = Lock()

    def _notifications(self) -> _Unrouted:
        with self._opening:
            if self._unrouted is None:
                self._unrouted = _Unrouted(self._native.events(held=False))
            return self._unrouted

    def _call(self, method: str, class_name: str, params: Any = None) -> Any:
        return self._native.request(method, params, class_name).wait()

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

    def register_login_notifications(self, login_id: str) -> None:
        """Do nothing: ``account_login_start`` has registered the login."""
        self._login(login_id)

    def unregister_login_notifications(self, login_id: str) -> None:
        """Forget a login."""
        self._logins.pop(login_id, None)

    def _login(self, login_id: str) -> native.UnmanagedLogin:
        login = self._logins.get(login_id)
        if login is None:
            raise RuntimeError(f"the login {login_id!r} is not registered; `account_login_start` registers each login")
        return login

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

    def register_turn_notifications(self, turn_id: str) -> None:
        """Do nothing: ``turn_start`` has registered the turn, before its first notification."""
        self._events(turn_id)

    def unregister_turn_notifications(self, turn_id: str) -> None:
        """Drop the notifications of a turn. The turn continues."""
        events = self._turns.pop(turn_id, None)
        if events is not None:
            events.close()

    def _events(self, turn_id: str) -> native.Events:
        events = self._turns.get(turn_id)
        if events is None:
            raise RuntimeError(
                f"the turn {turn_id!r} is not registered; `turn_start` registers the turns that it starts"
            )
        return events

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
        login = self._native.unmanaged_login(_fields(params)).wait()
        response: LoginAccountResponse = native.build("LoginAccountResponse", login.response)
        login_id = getattr(response.root, "login_id", None)
        if login_id is not None:
            self._logins[login_id] = login
        return response

    def account_login_cancel(self, login_id: str) -> CancelLoginAccountResponse:
        """Cancel a login."""
        response: CancelLoginAccountResponse = self._call(
            "account/login/cancel", "CancelLoginAccountResponse", {"loginId": login_id}
        )
        return response

    def account_read(self, params: GetAccountParams | JsonObject | None = None) -> GetAccountResponse:
        """Read the account that is logged in."""
        response: GetAccountResponse = self._call("account/read", "GetAccountResponse", _fields(params))
        return response

    def account_logout(self) -> LogoutAccountResponse:
        """Log out."""
        response: LogoutAccountResponse = self._call("account/logout", "LogoutAccountResponse")
        return response

    def thread_start(self, params: ThreadStartParams | JsonObject | None = None) -> ThreadStartResponse:
        """Start a thread. Its folder stays untrusted, unless the parameters or the user's configuration trust it."""
        response: ThreadStartResponse = native.build(
            "ThreadStartResponse", self._native.unmanaged_thread(_fields(params)).wait()
        )
        return response

    def thread_resume(
        self, thread_id: str, params: ThreadResumeParams | JsonObject | None = None
    ) -> ThreadResumeResponse:
        """Resume a stored thread."""
        response: ThreadResumeResponse = self._call(
            "thread/resume", "ThreadResumeResponse", {**_fields(params), "threadId": thread_id}
        )
        return response

    def thread_fork(self, thread_id: str, params: ThreadForkParams | JsonObject | None = None) -> ThreadForkResponse:
        """Make a new thread with the history of another."""
        response: ThreadForkResponse = self._call(
            "thread/fork", "ThreadForkResponse", {**_fields(params), "threadId": thread_id}
        )
        return response

    def thread_list(self, params: ThreadListParams | JsonObject | None = None) -> ThreadListResponse:
        """List stored threads."""
        response: ThreadListResponse = self._call("thread/list", "ThreadListResponse", _fields(params))
        return response

    def thread_read(self, thread_id: str, include_turns: bool = False) -> ThreadReadResponse:
        """Read a stored thread."""
        response: ThreadReadResponse = self._call(
            "thread/read", "ThreadReadResponse", {"threadId": thread_id, "includeTurns": include_turns}
        )
        return response

    def thread_archive(self, thread_id: str) -> ThreadArchiveResponse:
        """Archive a thread."""
        response: ThreadArchiveResponse = self._call("thread/archive", "ThreadArchiveResponse", {"threadId": thread_id})
        return response

    def thread_unarchive(self, thread_id: str) -> ThreadUnarchiveResponse:
        """Take a thread out of the archive."""
        response: ThreadUnarchiveResponse = self._call(
            "thread/unarchive", "ThreadUnarchiveResponse", {"threadId": thread_id}
        )
        return response

    def thread_set_name(self, thread_id: str, name: str) -> ThreadSetNameResponse:
        """Set a thread's name."""
        response: ThreadSetNameResponse = self._call(
            "thread/name/set", "ThreadSetNameResponse", {"threadId": thread_id, "name": name}
        )
        return response

    def thread_compact(self, thread_id: str) -> ThreadCompactStartResponse:
        """Begin to compact a thread's history."""
        response: ThreadCompactStartResponse = self._call(
            "thread/compact/start", "ThreadCompactStartResponse", {"threadId": thread_id}
        )
        return response

    def thread_goal_clear(self, thread_id: str) -> ThreadGoalClearResponse:
        """Clear a thread's goal."""
        response: ThreadGoalClearResponse = self._call(
            "thread/goal/clear", "ThreadGoalClearResponse", {"threadId": thread_id}
        )
        return response

    def thread_goal_set(
        self, thread_id: str, *, objective: str | None = None, status: ThreadGoalStatus | None = None
    ) -> ThreadGoalSetResponse:
        """Set a thread's goal, or its status."""
        params = {"threadId": thread_id, "objective": objective, "status": status}
        given = {name: value for name, value in params.items() if value is not None}
        response: ThreadGoalSetResponse = self._call("thread/goal/set", "ThreadGoalSetResponse", given)
        return response

    def pause_goal(self, thread_id: str) -> ThreadGoalSetResponse:
        """Pause a thread's goal."""
        from openai_codex.generated.v2_all import ThreadGoalStatus

        return self.thread_goal_set(thread_id, status=ThreadGoalStatus.paused)

    def turn_start(
        self,
        thread_id: str,
        input_items: list[JsonObject] | JsonObject | str,
        params: TurnStartParams | JsonObject | None = None,
    ) -> TurnStartResponse:
        """Start a turn, and register it. Its notifications are kept until they are read, or the turn is unregistered."""
        fields = {**_fields(params), "threadId": thread_id, "input": _items(input_items)}
        turn = self._native.unmanaged_turn(fields).wait()
        response: TurnStartResponse = native.build("TurnStartResponse", turn.response)
        # A second start on a busy thread joins the turn, which is registered already.
        self._turns.setdefault(response.turn.id, turn.stream())
        return response

    def turn_interrupt(self, thread_id: str, turn_id: str) -> TurnInterruptResponse:
        """Interrupt a turn that runs."""
        response: TurnInterruptResponse = self._call(
            "turn/interrupt", "TurnInterruptResponse", {"threadId": thread_id, "turnId": turn_id}
        )
        return response

    def turn_steer(
        self, thread_id: str, expected_turn_id: str, input_items: list[JsonObject] | JsonObject | str
    ) -> TurnSteerResponse:
        """Add input to a turn that runs."""
        params = {"threadId": thread_id, "expectedTurnId": expected_turn_id, "input": _items(input_items)}
        response: TurnSteerResponse = self._call("turn/steer", "TurnSteerResponse", params)
        return response

    def model_list(self, include_hidden: bool = False) -> ModelListResponse:
        """List the models."""
        response: ModelListResponse = self._call("model/list", "ModelListResponse", {"includeHidden": include_hidden})
        return response
