"""Goals that a thread works on by itself, one turn after another."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from threading import Event, Timer
from typing import TYPE_CHECKING, Any

from openai_codex import _requests as requests
from openai_codex._annotations import import_late

if TYPE_CHECKING:
    from openai_codex import _native as native
    from openai_codex._steps import Steps
    from openai_codex.errors import CodexError
    from openai_codex.generated.v2_all import ThreadGoalStatus, Turn
    from openai_codex.models import Notification

_START_TIMEOUT = 30.0
"""How long the runtime may take to start the first turn of a goal, in seconds."""


class GoalOperation:
    """A goal of a thread, and the turns that the runtime starts for it.

    The attributes are as of the events that the client has received. ``current_turn_id`` is the turn that runs, and
    ``logical_turn_id`` the first one.
    """

    def __init__(self, thread_id: str, observer: native.Observer, *, takes_turns: bool) -> None:
        self.thread_id = thread_id
        self._observer = observer
        self._pending: deque[Notification] = deque()
        # Not while the thread's former goal is cleared.
        self._takes_turns = takes_turns
        self._cleared = False
        self._finished = False
        # Why the client does not follow the goal to its end.
        self._failure: CodexError | None = None
        self._status: ThreadGoalStatus | None = None
        self._current_turn_id: str | None = None
        self._started_turn: Turn | None = None
        self._completed_turn: Turn | None = None

    def __repr__(self) -> str:
        return f"<GoalOperation thread_id={self.thread_id!r} status={getattr(self.status, 'value', None)!r}>"

    @property
    def status(self) -> ThreadGoalStatus | None:
        """The goal's status, once the runtime has reported it."""
        self._receive()
        return self._status

    @property
    def cleared(self) -> bool:
        """Whether the thread has the goal no more."""
        self._receive()
        return self._cleared

    @property
    def logical_turn_id(self) -> str | None:
        """The id of the goal's first turn."""
        return self.started_turn.id if self.started_turn is not None else None

    @property
    def current_turn_id(self) -> str | None:
        """The id of the turn that runs, if any."""
        self._receive()
        return self._current_turn_id

    @property
    def started_turn(self) -> Turn | None:
        """The goal's first turn, as it started."""
        self._receive()
        return self._started_turn

    @property
    def completed_turn(self) -> Turn | None:
        """The goal's last turn that has ended."""
        self._receive()
        return self._completed_turn

    def is_finished(self) -> bool:
        """Whether the goal is over and none of its turns runs."""
        self._receive()
        return self._finished

    def finish(self) -> None:
        """Stop following the goal. The program can still read the notifications that have arrived."""
        self._receive()
        self._finished = True
        self._current_turn_id = None
        self._observer.close()

    def _receive(self) -> None:
        """Take the events that are there."""
        from openai_codex.errors import CodexError

        try:
            while not self._finished and (event := self._observer.pop()) is not None:
                self._take(event)
        except CodexError as error:
            self._failure = error

    def _take(self, event: Any) -> None:
        from openai_codex.errors import StreamOverflowError
        from openai_codex.events import Skipped
        from openai_codex.models import Notification

        if isinstance(event, Skipped):
            self._finished = True
            self._observer.close()
            self._failure = StreamOverflowError(
                f"the client dropped {event.count} events of the goal of the thread {self.thread_id}, because the program "
                "did not read them; the goal continues"
            )
        if isinstance(event, Notification) and self._observe(event):
            self._pending.append(event)

    def _observe(self, notification: Notification) -> bool:
        """Take over what a notification says. False if it is not of the goal."""
        from openai_codex.generated.notification_registry import notification_turn_id
        from openai_codex.generated.v2_all import (
            ThreadGoalClearedNotification,
            ThreadGoalStatus,
            ThreadGoalUpdatedNotification,
            TurnCompletedNotification,
            TurnStartedNotification,
        )

        payload: Any = notification.payload
        if isinstance(payload, ThreadGoalUpdatedNotification):
            self._status = payload.goal.status
            self._cleared = self._cleared and self._status != ThreadGoalStatus.active
        elif isinstance(payload, ThreadGoalClearedNotification):
            self._cleared = True
        elif not self._takes_turns or notification_turn_id(payload) is None:
            return False
        elif isinstance(payload, TurnStartedNotification):
            self._current_turn_id = payload.turn.id
            self._started_turn = self._started_turn or payload.turn
        elif isinstance(payload, TurnCompletedNotification):
            self._completed_turn = payload.turn
            if self._current_turn_id == payload.turn.id:
                self._current_turn_id = None
        is_over = self._cleared or self._status not in (None, ThreadGoalStatus.active)
        if is_over and self._current_turn_id is None and self._completed_turn is not None:
            self._finished = True
            self._observer.close()
        return True


def next_notification(goal: GoalOperation) -> Steps[Notification]:
    """Wait for the next notification of a goal."""
    from openai_codex.errors import TransportClosedError

    while True:
        goal._receive()
        if goal._pending:
            return goal._pending.popleft()
        if goal._failure is not None:
            raise goal._failure
        if goal._finished:
            raise TransportClosedError("the goal is over, and the program has read all its notifications")
        event = yield goal._observer.next()
        if event is None:
            raise TransportClosedError("the client was closed, or does not follow the goal any more")
        goal._take(event)


def check_thread(client: native.Client, thread_id: str) -> Steps[None]:
    """Raise if the runtime does not work on goals of the thread now."""
    from openai_codex.errors import InvalidRequestError
    from openai_codex.generated.v2_all import IdleThreadStatus

    thread = (yield requests.thread_read(client, thread_id)).thread
    if not isinstance(thread.status.root, IdleThreadStatus):
        raise InvalidRequestError(-32600, f"the thread {thread_id} is not idle; a goal starts when no turn runs")
    if thread.ephemeral or thread.path is None:
        raise InvalidRequestError(-32600, f"the thread {thread_id} is not stored; a goal needs a stored thread")


def start(client: native.Client, goal: GoalOperation, objective: str) -> Steps[str]:
    """Replace the goal of a thread, and wait for the first turn. Returns the turn's id. If it fails, the goal is paused."""
    from openai_codex.errors import CodexTimeoutError, InvalidRequestError, TransportClosedError
    from openai_codex.generated.v2_all import ThreadGoalStatus

    is_set, is_late = False, Event()

    def give_up() -> None:
        is_late.set()
        goal._observer.close()

    timer = Timer(_START_TIMEOUT, give_up)
    timer.daemon = True
    try:
        yield requests.thread_goal_clear(client, goal.thread_id)
        goal._receive()
        goal._takes_turns = True
        yield requests.thread_goal_set(client, goal.thread_id, objective, ThreadGoalStatus.active)
        is_set = True
        timer.start()
        while (turn_id := goal.logical_turn_id) is None:
            if goal._failure is not None:
                raise goal._failure
            event = yield goal._observer.next()
            if event is not None:
                goal._take(event)
            elif is_late.is_set():
                raise CodexTimeoutError(
                    f"the runtime did not start a turn of the goal within {_START_TIMEOUT:g} seconds"
                )
            else:
                raise TransportClosedError("the client was closed")
        return turn_id
    except GeneratorExit:
        goal.finish()
        raise
    except BaseException as error:
        # Also of a request whose response the program did not wait for.
        if is_set or not isinstance(error, InvalidRequestError):
            yield from cancel(client, goal.thread_id)
        goal.finish()
        raise
    finally:
        timer.cancel()


def cancel(client: native.Client, thread_id: str) -> Steps[None]:
    """Pause the goal of a thread, and interrupt the turn that runs. As far as the server lets it."""
    from openai_codex.errors import CodexError
    from openai_codex.generated.v2_all import ThreadGoalStatus, TurnStatus

    with suppress(CodexError):
        yield requests.thread_goal_set(client, thread_id, None, ThreadGoalStatus.paused)
    with suppress(CodexError):
        # The server knows better than the events that have arrived.
        thread = (yield requests.thread_read(client, thread_id, True)).thread
        for turn in thread.turns:
            if turn.status == TurnStatus.in_progress:
                yield requests.turn_interrupt(client, thread_id, turn.id)


import_late(globals())
