"""The threads on which blocking functions of the program answer requests of the server."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = 32
"""How many functions run at once. The others wait, in the order of their requests."""
AT_MOST = 256
"""How many threads there are if functions wait for functions that have no thread yet."""
PATIENCE = 1.0
"""After how many seconds in which no function returned the pool takes them for such functions."""


class Pool:
    """Threads that run calls in order. They are daemons, and end when nothing is left to run.

    A function may wait for another one, as one that runs a turn on the same client does. If such functions had all threads, none
    would ever return. So the number of threads grows, one at a time, while no function returns.
    """

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._returned = 0
        # Whether a thread waits for a function to return, or else becomes one more that runs calls.
        self._has_reserve = False

    def submit(self, call: Callable[[], None]) -> None:
        """Run a call when there is a thread for it. Raises if the system gives the pool no thread at all."""
        with self._changed:
            self._calls.append(call)
            try:
                self._grow()
            except RuntimeError:
                # The threads that there are run it.
                if self._threads == 0:
                    self._calls.remove(call)
                    raise

    def _grow(self) -> None:
        """Starts a thread for the calls that wait, if there may be one."""
        if self._threads < AT_ONCE:
            _start(self._run)
            self._threads += 1
        elif not self._has_reserve and self._threads < AT_MOST:
            _start(self._run_if_stuck)
            self._has_reserve = True

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._calls:
                    self._threads -= 1
                    return
                call = self._calls.popleft()
            try:
                call()
            except BaseException:
                # As at the end of a thread. This one goes on.
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            # It may hold what the program wants to be collected.
            del call
            with self._changed:
                self._returned += 1
                self._changed.notify_all()

    def _run_if_stuck(self) -> None:
        with self._changed:
            while self._calls and self._wait_returned():
                pass
            self._has_reserve = False
            if not self._calls:
                return
            self._threads += 1
            if len(self._calls) > 1 and self._threads < AT_MOST:
                # The call that this thread takes may wait too.
                with suppress(RuntimeError):
                    self._grow()
        self._run()

    def _wait_returned(self) -> bool:
        """Whether a function returns, or no call waits any more, before the patience ends."""
        returned = self._returned
        return self._changed.wait_for(lambda: self._returned != returned or not self._calls, PATIENCE)


def _start(target: Callable[[], None]) -> None:
    threading.Thread(target=target, name="codex-handler", daemon=True).start()


_pool = Pool()


def submit(call: Callable[[], None]) -> None:
    """Run a call in the pool of this process."""
    _pool.submit(call)


def _forked() -> None:
    """A fork has none of the threads, and its copy of the lock may be held."""
    global _pool
    _pool = Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
