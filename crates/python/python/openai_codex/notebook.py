"""Progress of turns in notebooks.

    from openai_codex.notebook import progress

    turn = thread.turn("Fix the tests.")
    for event in progress(turn):
        pass
    turn.run()  # a notebook shows the result

For an ``AsyncTurnHandle``, with ``async for``.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any, overload

from openai_codex._annotations import import_late
from openai_codex._html import describe, progress_html
from openai_codex.api import AsyncTurnHandle, TurnHandle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from openai_codex.models import Notification

__all__ = ["progress"]

# A page that changes more often is not easier to read, in seconds.
_PAUSE = 0.1
# How many of the last characters of the text are shown.
_SHOWN = 2_000


@overload
def progress(turn: TurnHandle) -> Iterator[Notification]: ...


@overload
def progress(turn: AsyncTurnHandle) -> AsyncIterator[Notification]: ...


def progress(turn: TurnHandle | AsyncTurnHandle) -> Iterator[Notification] | AsyncIterator[Notification]:
    """Stream a turn's events as ``turn.stream()`` does. In a notebook, show meanwhile what the turn does.

    Anywhere else it is the stream alone. It needs no IPython.
    """
    if not _in_notebook():
        return turn.stream()
    return _stream_async(turn) if isinstance(turn, AsyncTurnHandle) else _stream(turn)


def _in_notebook() -> bool:
    """Whether IPython runs with a front end that can replace what it has shown. A terminal cannot."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ != "TerminalInteractiveShell"


def _stream(turn: TurnHandle) -> Iterator[Notification]:
    shown = _Shown()
    stream: Any = turn.stream()
    try:
        for event in stream:
            shown.see(event)
            yield event
    finally:
        stream.close()
        shown.end()


async def _stream_async(turn: AsyncTurnHandle) -> AsyncIterator[Notification]:
    shown = _Shown()
    stream: Any = turn.stream()
    try:
        async for event in stream:
            shown.see(event)
            yield event
    finally:
        await stream.aclose()
        shown.end()


class _Shown:
    """What a notebook shows of a turn."""

    def __init__(self) -> None:
        from IPython import display

        self._text = ""
        self._doing = "the turn starts"
        self._done = 0
        self._ended = False
        show: Any = display.display
        self._handle = show(self, display_id=True)
        self._updated = monotonic()

    def __repr__(self) -> str:
        return f"{self._text}\n{self._doing}{self._count()}".lstrip()

    def _repr_html_(self) -> str:
        return progress_html(self._text, self._doing, self._count())

    def _count(self) -> str:
        return f" ({self._done} done)" if self._done else ""

    def see(self, event: Notification) -> None:
        """Show an event, unless another was just shown."""
        payload: Any = event.payload
        match event.method:
            case "item/agentMessage/delta":
                self._text = (self._text + str(getattr(payload, "delta", "")))[-_SHOWN:]
                self._doing = "the model writes"
            case "item/started" | "item/completed":
                item = getattr(getattr(payload, "item", None), "root", None)
                line = describe(item)
                if event.method == "item/started":
                    self._doing = line or "the model thinks"
                elif line is not None:
                    self._done += 1
                    self._doing = "the model thinks"
                if getattr(item, "type", None) == "agentMessage":
                    # The text of this message replaces that of the last one.
                    self._text = str(getattr(item, "text", ""))[-_SHOWN:]
            case "turn/completed":
                status = getattr(getattr(payload, "turn", None), "status", None)
                self._doing, self._ended = str(getattr(status, "value", "ended")), True
        if monotonic() - self._updated >= _PAUSE:
            self._update()

    def end(self) -> None:
        """Show the last state."""
        if not self._ended:
            self._doing = "the stream was left"
        self._update()

    def _update(self) -> None:
        self._handle.update(self)
        self._updated = monotonic()


import_late(globals())
