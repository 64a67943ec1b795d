"""What a client below `Codex` or `AsyncCodex` follows by ids: turns, logins and goals."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from openai_codex import _native as native, _requests as requests
from openai_codex._annotations import import_late

if TYPE_CHECKING:
    from openai_codex._goal import GoalOperation
    from openai_codex._steps import Steps
    from openai_codex._unrouted import Unrouted
    from openai_codex.generated.v2_all import (
        LoginAccountParams,
        LoginAccountResponse,
        TurnStartParams,
        TurnStartResponse,
    )
    from openai_codex.models import JsonObject


class Registrations:
    """What the program follows, and the calls that begin it."""

    def __init__(self) -> None:
        self._opening = Lock()
        self._forget()

    def _forget(self) -> None:
        """Begin anew, for another native client."""
        self._turns: dict[str, native.Events] = {}
        self._logins: dict[str, native.UnmanagedLogin] = {}
        self._goals: dict[str, GoalOperation] = {}
        self._unrouted: Unrouted | None = None

    @property
    def _native(self) -> native.Client:
        raise NotImplementedError

    def _notifications(self) -> Unrouted:
        from openai_codex._unrouted import Unrouted

        client = self._native
        with self._opening:
            if self._unrouted is None:
                self._unrouted = Unrouted(client.events(held=False), self._goals)
            return self._unrouted

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

    def _start_login(self, params: LoginAccountParams | JsonObject) -> Steps[LoginAccountResponse]:
        login: native.UnmanagedLogin = yield requests.account_login_start(self._native, params)
        response: LoginAccountResponse = native.build("LoginAccountResponse", login.response)
        login_id = getattr(response.root, "login_id", None)
        if login_id is not None:
            self._logins[login_id] = login
        return response

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

    def _start_turn(
        self,
        thread_id: str,
        input_items: list[JsonObject] | JsonObject | str,
        params: TurnStartParams | JsonObject | None,
    ) -> Steps[TurnStartResponse]:
        if self._follows_goal(thread_id):
            from openai_codex.errors import InvalidRequestError

            raise InvalidRequestError(-32600, f"the thread {thread_id} works on a goal; wait for its end, or cancel it")
        turn: native.UnmanagedTurn = yield requests.turn_start(self._native, thread_id, input_items, params)
        response: TurnStartResponse = native.build("TurnStartResponse", turn.response)
        # A second start on a busy thread joins the turn, which is registered already.
        self._turns.setdefault(response.turn.id, turn.stream())
        return response

    def register_goal_operation(self, thread_id: str) -> GoalOperation:
        """Follow the goal of a thread, and the turns that the runtime starts for it."""
        return self._follow(thread_id, takes_turns=True)

    def unregister_goal_operation(self, state: GoalOperation) -> None:
        """Stop following a goal. The runtime continues to work on it."""
        if self._goals.get(state.thread_id) is state:
            del self._goals[state.thread_id]
        state.finish()

    def _follows_goal(self, thread_id: str) -> bool:
        goal = self._goals.get(thread_id)
        if goal is None or not goal.is_finished():
            return goal is not None
        self._goals.pop(thread_id, None)
        return False

    def _follow(self, thread_id: str, *, takes_turns: bool) -> GoalOperation:
        from openai_codex._goal import GoalOperation

        if self._follows_goal(thread_id):
            raise RuntimeError(f"the client follows a goal of the thread {thread_id} already")
        observer = self._native.events(thread_id, held=False)
        goal = self._goals[thread_id] = GoalOperation(thread_id, observer, takes_turns=takes_turns)
        return goal

    def _start_goal(self, thread_id: str, objective: str) -> Steps[tuple[GoalOperation, str]]:
        from openai_codex._goal import check_thread, start

        client = self._native
        yield from check_thread(client, thread_id)
        goal = self._follow(thread_id, takes_turns=False)
        try:
            return goal, (yield from start(client, goal, objective))
        except BaseException:
            self.unregister_goal_operation(goal)
            raise


import_late(globals())
