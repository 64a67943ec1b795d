"""The stored history of a thread, which another home can take."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Rollout"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """The stored history of a thread: prompts, files and the output of commands. ``dataclasses.asdict`` and ``pickle`` store it."""

    thread_id: str
    file_name: str
    """The name of the runtime's file."""
    data: str = field(repr=False)
    """The contents of the file, as Base64."""


def _make(text: str) -> Rollout:
    """Make a rollout from its JSON. The native client calls it."""
    from json import loads

    return Rollout(**loads(text))
