"""Turns that run once, however many callers ask for them: the results of ``Thread.ensure``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from openai_codex._annotations import import_late

if TYPE_CHECKING:
    from openai_codex._run import TurnResult

__all__ = ["Ensured"]


@dataclass(frozen=True, slots=True)
class Ensured:
    """The result of a turn that ``ensure`` has run or found."""

    outcome: Literal["ran", "found_done", "attached", "continued"]
    """What the call has done. ``found_done``: the turn was done. ``attached``: the turn was running, and the call has waited for it."""
    continued: int
    """The number of the turn that has continued an interrupted one. 0 if this call has continued none."""
    result: TurnResult
    """The turn's result. After a continuation, that of the last turn."""
    half_done: list[TurnResult]
    """The turns of the key that were interrupted before, the oldest first."""


import_late(globals())
