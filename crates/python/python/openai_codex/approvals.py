"""Requests of the server for an approval, as handlers get them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

CommandDecision = str | dict[str, Any]
"""``accept``, ``acceptForSession``, ``decline`` or ``cancel``, or the protocol's object for an amendment."""
FileChangeDecision = str
"""``accept``, ``acceptForSession``, ``decline`` or ``cancel``."""


@dataclass(slots=True)
class CommandApproval:
    """The server asks whether a command may run that the sandbox does not allow."""

    thread_id: str
    turn_id: str
    item_id: str
    shell_command: str | None
    """The whole script of a shell command. Decide by it: a script that only contains an allowed command may do more."""
    command: str | None
    """The command line, with the shell."""
    cwd: str | None
    reason: str | None
    """Why the model wants it."""
    params: dict[str, Any]
    """The parameters of the request."""


@dataclass(slots=True)
class FileChangeApproval:
    """The server asks whether files may change that the sandbox protects. An item that has started before names the files."""

    thread_id: str
    turn_id: str
    item_id: str
    grant_root: str | None
    reason: str | None
    params: dict[str, Any]
    """The parameters of the request."""


OnCommandApproval = Callable[[CommandApproval], CommandDecision | Awaitable[CommandDecision]]
OnFileChangeApproval = Callable[[FileChangeApproval], FileChangeDecision | Awaitable[FileChangeDecision]]
