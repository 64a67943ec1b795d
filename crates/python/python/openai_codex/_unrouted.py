"""The notifications that belong to no turn and no login."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from os import getpid
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any
from weakref import finalize

from openai_codex._wait import running_loop
from openai_codex.errors import StreamOverflowError, TransportClosedError
from openai_codex.events import Skipped
from openai_codex.models import Notification

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from openai_codex import _native as native
    from openai_codex._goal import GoalOperation

_MAX_UNREAD = 16_384
"""How many unread notifications a client keeps. It drops later ones, and says how many."""


class Inbox:
    """What one thread puts, for the calls of others. An exception in it is raised."""

    def __init__(self, limit: int) -> None:
        self._items: deque[Any] = deque()
        self._limit = limit
        self._end: BaseException | None = None
        self._changed = Condition()
        # They wake the event loops that wait.
        self._wakers: set[Callable[[], object]] = set()

    def put(self, item: Any) -> bool:
        """Keep an item, unless there are too many."""
        with self._changed:
            if len(self._items) >= self._limit:
                return False
            self._items.append(item)
            self._wake()
        return True

    def end(self, error: BaseException, *last: Any) -> None:
        """Keep the last items. Each call after them raises the error."""
        with self._changed:
            self._items.extend(last)
            self._end = error
            self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        for waker in self._wakers:
            # A loop that is closed waits for nothing.
            with suppress(RuntimeError):
                waker()

    def _next(self) -> Any:
        """The next item, or ``None``."""
        if not self._items:
            if self._end is not None:
                raise self._end
            return None
        item = self._items.popleft()
        if isinstance(item, BaseException):
            raise item
        return item

    def take(self) -> Any:
        """Wait for the next item."""
        with self._changed:
            while (item := self._next()) is None:
                self._changed.wait()
            return item

    async def take_async(self) -> Any:
        """Wait for the next item in the running loop."""
        from asyncio import Event

        loop, woken = running_loop(), Event()

        def waker() -> None:
            loop.call_soon_threadsafe(woken.set)

        try:
            while True:
                with self._changed:
                    if (item := self._next()) is not None:
                        return item
                    woken.clear()
                    self._wakers.add(waker)
                await woken.wait()
        finally:
            with self._changed:
                self._wakers.discard(waker)


class Unrouted:
    """Reads the notifications, and keeps them until the program takes them.

    ``goals``: the goals that the program follows, whose notifications are left out, by thread.
    """

    def __init__(self, observer: native.Observer, goals: Mapping[str, GoalOperation]) -> None:
        self._process = getpid()
        self._inbox = Inbox(_MAX_UNREAD)
        # The thread does not keep this object, which goes with its client. Then the observer ends, and lets the runtime end.
        finalize(self, observer.close)
        arguments = (observer, self._inbox, goals)
        Thread(target=read, args=arguments, name="codex-notifications", daemon=True).start()

    def _check_process(self) -> None:
        if getpid() != self._process:
            raise TransportClosedError(
                "this process is a fork of the client's, and gets no notifications; make a new client"
            )

    def next(self) -> Notification:
        """Wait for the next notification."""
        self._check_process()
        notification: Notification = self._inbox.take()
        return notification

    async def next_async(self) -> Notification:
        """Wait for the next notification in the running loop."""
        self._check_process()
        notification: Notification = await self._inbox.take_async()
        return notification


def read(observer: native.Observer, inbox: Inbox, goals: Mapping[str, GoalOperation]) -> None:
    """Move the notifications of an observer to an inbox, up to its end."""
    dropped = 0

    def overflow() -> list[StreamOverflowError]:
        text = f"the client dropped {dropped} events: the program gave it no time to read, or did not read them"
        return [StreamOverflowError(text)] if dropped else []

    try:
        while (event := observer.next_unrouted().wait()) is not None:
            if isinstance(event, Skipped):
                dropped += event.count
            if all(map(inbox.put, overflow())):
                dropped = 0
            if not isinstance(event, Notification) or _is_of_goal(event, goals):
                continue
            if dropped or not inbox.put(event):
                dropped += 1
        inbox.end(TransportClosedError("the client was closed"), *overflow())
    except BaseException as error:
        inbox.end(error, *overflow())


def _is_of_goal(notification: Notification, goals: Mapping[str, GoalOperation]) -> bool:
    if not notification.method.startswith("thread/goal/"):
        return False
    goal = goals.get(getattr(notification.payload, "thread_id", ""))
    return goal is not None and not goal._finished
