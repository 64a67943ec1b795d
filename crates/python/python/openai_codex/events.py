"""What an observer sees beside the notifications of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from openai_codex.models import Notification

__all__ = [
    "AnsweredByDefault",
    "ConnectionLost",
    "Event",
    "HandlerFailed",
    "InterruptFailed",
    "LeftUnanswered",
    "Malformed",
    "OtherEvent",
    "Reconnected",
    "Reconnecting",
    "Restarted",
    "Restarting",
    "RuntimeLost",
    "Skipped",
]


@dataclass(slots=True)
class Skipped:
    """The program read too slowly: the client dropped this many events before the next one."""

    count: int


@dataclass(slots=True)
class Malformed:
    """The server wrote a line that is not a message."""

    line: str
    reason: str


@dataclass(slots=True)
class AnsweredByDefault:
    """No function of the program took a request of the server. The client sent the default response."""

    method: str
    thread_id: str | None
    turn_id: str | None
    declined: bool


@dataclass(slots=True)
class LeftUnanswered:
    """No function of the program took a request about a turn of another client of the server. The client sent no response."""

    method: str
    thread_id: str | None
    turn_id: str | None


@dataclass(slots=True)
class HandlerFailed:
    """A function of the program raised, returned an unusable value, or did not answer in time. The client sent an error."""

    method: str
    thread_id: str | None
    turn_id: str | None
    message: str


@dataclass(slots=True)
class InterruptFailed:
    """The client could not interrupt a turn, or could not end its commands."""

    thread_id: str
    turn_id: str
    reason: str


@dataclass(slots=True)
class RuntimeLost:
    """The runtime was lost. Only with ``CodexConfig.restart``: the next use of the client starts a new one, and the observer continues."""

    reason: str


@dataclass(slots=True)
class Restarting:
    """The client is about to start a new runtime."""

    attempt: int
    """Its number within the policy's window, from 1."""
    pause: float
    """The pause before it, in seconds."""
    reason: str
    """Why the last attempt failed, or why the runtime was lost."""


@dataclass(slots=True)
class Restarted:
    """The client has a new runtime. It resumes each thread at its next use."""

    attempt: int


@dataclass(slots=True)
class ConnectionLost:
    """The connection to the server of ``CodexConfig.connect`` was lost. The client connects again, and the observer continues."""

    reason: str


@dataclass(slots=True)
class Reconnecting:
    """The client is about to connect to the server again."""

    attempt: int
    """Its number within the policy's window, from 1."""
    pause: float
    """The pause before it, in seconds."""
    reason: str
    """Why the last attempt failed, or why the connection was lost."""


@dataclass(slots=True)
class Reconnected:
    """The client is connected again. The streams of running turns go on. The observer gets no event that the server sent meanwhile."""

    attempt: int


@dataclass(slots=True)
class OtherEvent:
    """An event that this package has no class for."""

    description: str


Event: TypeAlias = (
    Notification
    | Skipped
    | Malformed
    | AnsweredByDefault
    | LeftUnanswered
    | HandlerFailed
    | InterruptFailed
    | RuntimeLost
    | Restarting
    | Restarted
    | ConnectionLost
    | Reconnecting
    | Reconnected
    | OtherEvent
)


def _make(class_name: str, fields: str) -> object:
    """Make an event. The native client calls it."""
    from json import loads

    return globals()[class_name](**loads(fields))
