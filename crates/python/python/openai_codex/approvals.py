"""Requests of the server for an approval or an answer, as handlers get them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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
    argv: list[str] | None
    """The program and its arguments, with the shell. ``None`` if the request is not about the start of a command."""
    available_decisions: list[CommandDecision]
    """The decisions that the server offers. It always accepts ``decline`` and ``cancel`` too."""
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


class _Request:
    """What the requests have that handlers get as their parameters."""

    params: dict[str, Any]

    @property
    def thread_id(self) -> str:
        return str(self.params["threadId"])

    @property
    def turn_id(self) -> str:
        return str(self.params["turnId"])

    @property
    def item_id(self) -> str:
        return str(self.params["itemId"])


@dataclass
class PermissionsApproval(_Request):
    """The agent requests permissions beyond the sandbox."""

    params: dict[str, Any]
    """The parameters of the request."""

    @property
    def permissions(self) -> dict[str, Any]:
        """What the agent requests, as the protocol says it."""
        return dict(self.params["permissions"])

    @property
    def reason(self) -> str | None:
        """Why the model wants them."""
        return self.params.get("reason")

    def grant(self, permissions: dict[str, Any] | None = None) -> dict[str, Any]:
        """Grant these permissions, or all that were requested, for the turn."""
        return {"permissions": self.permissions if permissions is None else permissions}

    def grant_file_system(self) -> dict[str, Any]:
        """Grant the requested access to files, if any, and no network."""
        return self._grant("fileSystem")

    def grant_network(self) -> dict[str, Any]:
        """Grant the requested access to the network, if any, and no files."""
        return self._grant("network")

    def _grant(self, kind: str) -> dict[str, Any]:
        return {"permissions": {name: value for name, value in self.permissions.items() if name == kind}}

    def decline(self) -> dict[str, Any]:
        """Grant nothing."""
        return {"permissions": {}}


@dataclass
class UserInputRequest(_Request):
    """The agent asks the user."""

    params: dict[str, Any]
    """The parameters of the request."""

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The questions, each with its ``id``, ``question`` and ``options``."""
        return list(self.params["questions"])

    def answer(self, answers: Mapping[str, str | list[str]]) -> dict[str, Any]:
        """Answer questions, by their ids. A question that is left out stays open."""
        lists = {name: [answer] if isinstance(answer, str) else answer for name, answer in answers.items()}
        return {"answers": {name: {"answers": answers} for name, answers in lists.items()}}


@dataclass
class ElicitationRequest:
    """An MCP server asks the user. The runtime also asks so before it calls a tool of an MCP server that may write."""

    params: dict[str, Any]
    """The parameters of the request."""

    @property
    def thread_id(self) -> str:
        return str(self.params["threadId"])

    @property
    def turn_id(self) -> str | None:
        """The turn, if the request belongs to one."""
        return self.params.get("turnId")

    @property
    def server_name(self) -> str:
        """The MCP server, by its name in the configuration."""
        return str(self.params["serverName"])

    @property
    def message(self) -> str | None:
        """The question."""
        return self.params.get("message")

    @property
    def requested_schema(self) -> dict[str, Any] | None:
        """The JSON schema of the content, if the request is a form."""
        return self.params.get("requestedSchema")

    def accept(self, content: Any = None) -> dict[str, Any]:
        """Accept, with the content that the form requires."""
        return {"action": "accept", "content": content}

    def decline(self) -> dict[str, Any]:
        """Decline."""
        return {"action": "decline", "content": None}

    def cancel(self) -> dict[str, Any]:
        """Dismiss the request without a choice."""
        return {"action": "cancel", "content": None}


@dataclass
class AnyRequest:
    """A request of any kind, for ``CodexClient(approval_handler=…)``."""

    method: str
    params: dict[str, Any] | None


OnCommandApproval = Callable[[CommandApproval], CommandDecision | Awaitable[CommandDecision]]
OnFileChangeApproval = Callable[[FileChangeApproval], FileChangeDecision | Awaitable[FileChangeDecision]]
OnPermissionsApproval = Callable[[PermissionsApproval], dict[str, Any] | Awaitable[dict[str, Any]]]
OnUserInput = Callable[[UserInputRequest], dict[str, Any] | Awaitable[dict[str, Any]]]
OnElicitation = Callable[[ElicitationRequest], dict[str, Any] | Awaitable[dict[str, Any]]]
