"""The exceptions of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_codex._annotations import import_late

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai_codex._run import TurnResult


class CodexError(Exception):
    """An error of this package.

    The class attributes are the values of an error that has none of its own.
    """

    kind: str | None = None
    """The kind of the native client's error, such as ``Timeout``."""
    method: str | None = None
    """The protocol method that failed, if the call got as far as one."""
    thread_id: str | None = None
    """The id of the failed call's thread, if any."""
    client_message_id: str | None = None
    """The id of the message of a turn whose start is uncertain (the ``kind`` ``Uncertain``): ``thread.find_turn`` takes it."""
    detail: str | None = None
    """What happened, to which method and thread, and what to do."""
    turn: TurnResult | None = None
    """What the failed turn produced: its items and usage."""

    _retryable = False

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors of some classes take other arguments than those that the exception keeps.
        return _restore, (type(self), self.args, self.__dict__.copy())


def _restore(cls: type[CodexError], args: tuple[Any, ...], attributes: dict[str, Any]) -> CodexError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class TransportClosedError(CodexError):
    """The connection to the runtime ended, the program closed the client, or this process is a fork of the client's."""


class TurnLostError(TransportClosedError):
    """The turn's end never arrived. The turn may have had effects."""


class RuntimeNotFoundError(CodexError, FileNotFoundError):
    """There is no Codex runtime, or the configured one is not a program."""


class StartError(CodexError, RuntimeError):
    """The program could not be started, or did not complete the handshake of a Codex runtime."""


class ConnectFailedError(CodexError, ConnectionError):
    """The client could not connect to the server of its endpoint."""


class AccessDeniedError(CodexError, PermissionError):
    """The server of the endpoint refused the client: its token is wrong, has expired or is missing."""


class InvalidInputError(CodexError, ValueError):
    """An argument or an option is unusable. The client sent nothing."""


class UnsupportedByRuntimeError(CodexError):
    """The runtime's version does not have the request or one of its parameters. The client sent nothing."""


class TurnInterruptedError(CodexError):
    """``ensure`` has found the turn interrupted, and does not continue it. ``turn`` holds what it produced."""


class OptionNotAppliedError(CodexError):
    """The runtime does not apply an option to the thread or the turn. No turn ran with the other options."""


class CodexTimeoutError(CodexError, TimeoutError):
    """Something did not happen within its timeout: a response, a start, or the end of a turn."""


class BudgetExceededError(CodexError):
    """The turn exceeded ``max_tokens`` or ``max_model_requests``, and was interrupted. ``turn`` holds what it produced."""


class StreamOverflowError(CodexError):
    """The program read a stream too slowly, and the client ended the stream. The turn continues."""


class TurnFailedError(CodexError, RuntimeError):
    """The turn ended with the status ``failed``. ``turn`` holds what it produced."""


class OutputMismatchError(CodexError, ValueError):
    """The final response is not a valid value of the output type. ``turn`` holds the result."""

    path: str = ""
    """Where the mismatch is. Empty for the whole value."""
    text: str = ""
    """The final response."""
    reason: str = ""
    """Why it does not fit."""
    failed_attempts: Sequence[OutputMismatchError] = ()
    """The errors of earlier turns, with ``retry_on_mismatch``."""


class NoOutputError(CodexError):
    """The turn was interrupted, or ended without a final response, so there is no value. ``turn`` holds the result."""


class JsonRpcError(CodexError):
    """An error response of the server."""

    def __init__(self, code: int, message: str, data: Any = None):
        super().__init__(f"JSON-RPC error {code}: {message}")
        self.code = code
        self.message = message
        self.data = data


class CodexRpcError(JsonRpcError):
    """An error response with one of the codes that JSON-RPC defines."""


class ParseError(CodexRpcError):
    """-32700: the server could not parse the request."""


class InvalidRequestError(CodexRpcError):
    """-32600: the server refuses the request."""


class ThreadInUseError(InvalidRequestError):
    """Another runtime has the thread loaded, and only one may write to it."""


class MethodNotFoundError(CodexRpcError):
    """-32601: the server does not know the method."""


class InvalidParamsError(CodexRpcError):
    """-32602: the server refuses the parameters."""


class InternalRpcError(CodexRpcError):
    """-32603: an internal error of the server."""


class ServerBusyError(CodexRpcError):
    """The server is overloaded. Try again later."""


class RetryLimitExceededError(ServerBusyError):
    """The server is overloaded, and its own retries have failed."""


_BY_CODE = {
    -32700: ParseError,
    -32600: InvalidRequestError,
    -32601: MethodNotFoundError,
    -32602: InvalidParamsError,
    -32603: InternalRpcError,
}
_OVERLOADED = -32001

_BY_KIND = {
    "RuntimeNotFound": RuntimeNotFoundError,
    "Spawn": StartError,
    "Handshake": StartError,
    "ConnectFailed": ConnectFailedError,
    "AccessDenied": AccessDeniedError,
    "InvalidConfig": InvalidInputError,
    "InvalidInput": InvalidInputError,
    "UnsupportedByRuntime": UnsupportedByRuntimeError,
    "OptionNotApplied": OptionNotAppliedError,
    "TransportClosed": TransportClosedError,
    "RestartsExhausted": TransportClosedError,
    "Closed": TransportClosedError,
    "Forked": TransportClosedError,
    "ThreadLost": TransportClosedError,
    "Uncertain": TransportClosedError,
    "TurnLost": TurnLostError,
    "Timeout": CodexTimeoutError,
    "BudgetExceeded": BudgetExceededError,
    "StreamOverflow": StreamOverflowError,
    "TurnFailed": TurnFailedError,
    "TurnInterrupted": TurnInterruptedError,
}


def map_jsonrpc_error(code: int, message: str, data: Any = None) -> JsonRpcError:
    """Make the exception of an error response."""
    if code in _BY_CODE:
        return _BY_CODE[code](code, message, data)
    if not -32099 <= code <= -32000:
        return JsonRpcError(code, message, data)
    text = message.lower()
    if "retry limit" in text or "too many failed attempts" in text:
        return RetryLimitExceededError(code, message, data)
    if code == _OVERLOADED or _is_overload(data):
        return ServerBusyError(code, message, data)
    return CodexRpcError(code, message, data)


def _is_overload(data: Any) -> bool:
    """Whether the data of an error contains the server's overload marker, at any place."""
    if isinstance(data, str):
        return data.lower() in ("server_overloaded", "serveroverloaded")
    if isinstance(data, dict):
        return any(map(_is_overload, data.values()))
    return isinstance(data, list) and any(map(_is_overload, data))


def is_retryable_error(exc: BaseException) -> bool:
    """Whether the same call may succeed later.

    False for a turn that failed because its model was overloaded: the turn had begun, and may have had effects.
    """
    if isinstance(exc, ServerBusyError):
        return True
    if isinstance(exc, JsonRpcError):
        return _is_overload(exc.data)
    return isinstance(exc, CodexError) and exc._retryable


def _from_native(
    kind: str,
    text: str,
    rpc: tuple[int, str, str | None] | None,
    method: str | None,
    thread_id: str | None,
    client_message_id: str | None,
    retryable: bool,
) -> CodexError:
    """Make the exception of a native error."""
    error: CodexError
    if rpc is not None:
        import json

        code, message, data = rpc
        parsed = None if data is None else json.loads(data)
        if kind == "ThreadInUse":
            error = ThreadInUseError(code, message, parsed)
        else:
            error = map_jsonrpc_error(code, message, parsed)
    else:
        error = _BY_KIND.get(kind, CodexError)(text)
        error._retryable = retryable
    error.kind = kind
    error.method = method
    error.thread_id = thread_id
    error.client_message_id = client_message_id
    error.detail = text
    return error


import_late(globals())
