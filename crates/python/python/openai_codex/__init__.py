"""Drive the Codex agent: threads, turns and streamed items, sync and async."""

from __future__ import annotations

import os
from typing import Any

# Both distributions install this package, and the later install overwrites files of the earlier one.
if os.path.exists(os.path.join(os.path.dirname(__file__), "_message_router.py")):
    raise ImportError(
        "this environment has both openai-codex-rs and openai-codex, which install the same package; uninstall both, then "
        "install one: pip uninstall openai-codex openai-codex-rs"
    )

from openai_codex._approval_mode import ApprovalMode
from openai_codex._inputs import (
    ExternalMessage,
    ImageInput,
    Input,
    InputItem,
    LocalImageInput,
    MentionInput,
    RunInput,
    SkillInput,
    TextInput,
)
from openai_codex._login import (
    AsyncChatgptLoginHandle,
    AsyncDeviceCodeLoginHandle,
    ChatgptLoginHandle,
    DeviceCodeLoginHandle,
)
from openai_codex._native import __version__
from openai_codex._renamed import renamed
from openai_codex._run import TurnResult
from openai_codex._sandbox import Sandbox
from openai_codex.api import AsyncCodex, AsyncThread, AsyncTurnHandle, Codex, Thread, TurnHandle
from openai_codex.client import CodexConfig
from openai_codex.errors import (
    CodexError,
    CodexRpcError,
    InternalRpcError,
    InvalidParamsError,
    InvalidRequestError,
    JsonRpcError,
    MethodNotFoundError,
    ParseError,
    RetryLimitExceededError,
    ServerBusyError,
    TransportClosedError,
    is_retryable_error,
)
from openai_codex.retry import retry_on_overload

# In the order of the published package.
__all__ = [
    "__version__",
    "CodexConfig",
    "Codex",
    "AsyncCodex",
    "ApprovalMode",
    "Sandbox",
    "ChatgptLoginHandle",
    "DeviceCodeLoginHandle",
    "AsyncChatgptLoginHandle",
    "AsyncDeviceCodeLoginHandle",
    "Thread",
    "AsyncThread",
    "TurnHandle",
    "AsyncTurnHandle",
    "TurnResult",
    "Input",
    "InputItem",
    "RunInput",
    "ExternalMessage",
    "TextInput",
    "ImageInput",
    "LocalImageInput",
    "SkillInput",
    "MentionInput",
    "retry_on_overload",
    "CodexError",
    "TransportClosedError",
    "JsonRpcError",
    "CodexRpcError",
    "ParseError",
    "InvalidRequestError",
    "MethodNotFoundError",
    "InvalidParamsError",
    "InternalRpcError",
    "ServerBusyError",
    "RetryLimitExceededError",
    "is_retryable_error",
]

_OLD_NAMES = {
    "AppServerConfig": "CodexConfig",
    "AppServerError": "CodexError",
    "AppServerRpcError": "CodexRpcError",
    "RunResult": "TurnResult",
}


def __getattr__(name: str) -> Any:
    """The names of May 2026."""
    return renamed(globals(), _OLD_NAMES, name)
