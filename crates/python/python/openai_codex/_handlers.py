"""Functions of the program that answer requests of the server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from openai_codex import _native as native
from openai_codex._pool import submit

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable

# The entries of `config` that say who decides.
_APPROVAL_ENTRIES = ("approval_policy", "approvals_reviewer")
_APPROVALS = ("on_command_approval", "on_file_change_approval", "on_permissions_approval")
HANDLERS = (*_APPROVALS, "on_user_input", "on_elicitation")


def bind(options: dict[str, Any], loop: AbstractEventLoop | None, client: Iterable[str] = ()) -> dict[str, Any]:
    """Prepare the handlers among the options of a client or a thread for the native client.

    ``loop``: where ``async`` functions run. ``client``: the names of the client's handlers.
    """
    if options.get("approval_mode") == "auto_review" and (
        # A model would decide, and the handlers would get no request. The runtime asks the client instead.
        any(name in _APPROVALS for name in (*options, *client))
        # The entry replaces the default mode.
        or any(name in _APPROVAL_ENTRIES for name in options.get("config") or ())
    ):
        del options["approval_mode"]
    for name in HANDLERS:
        handler = options.get(name)
        if handler is None:
            continue
        if not callable(handler):
            raise TypeError(f"{name} is a function, not {handler!r}")
        if loop is None and _is_async(handler):
            raise TypeError(f"{name} is an async function, which needs an AsyncCodex")
        options[name] = (handler, loop)
    if "tools" in options:
        options["tools"] = [_native_tool(tool, loop) for tool in options["tools"]]
    return options


def _native_tool(tool: Any, loop: AbstractEventLoop | None) -> tuple[Any, ...]:
    from openai_codex.tools import Tool

    if not isinstance(tool, Tool):
        raise TypeError(f"tools are functions with the decorator `openai_codex.tools.tool`, not {tool!r}")
    if not _is_async(tool.function):
        function: Callable[[str], Any] = tool._call
    elif loop is None:
        raise TypeError(f"the tool {tool.name} is an async function, which needs an AsyncCodex")
    else:
        function = tool._call_async
    return (
        tool.name,
        tool.description,
        tool.input_schema,
        tool.namespace,
        tool.timeout,
        tool.defer_loading,
        (function, loop),
    )


def _is_async(function: Callable[..., object]) -> bool:
    from inspect import iscoroutinefunction

    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


def dispatch(
    handler: Callable[[Any], Any],
    loop: AbstractEventLoop | None,
    class_name: str,
    fields: str,
    responder: native.Responder,
) -> None:
    """Call a handler or a tool in its loop, or on a thread of the pool. The native client calls this on its thread for handlers."""
    if loop is not None and _is_async(handler):
        from asyncio import run_coroutine_threadsafe

        run_coroutine_threadsafe(_answer_async(handler, class_name, fields, responder), loop)
    else:
        submit(partial(_answer, handler, class_name, fields, responder))


def _request(class_name: str, fields: str) -> Any:
    if not class_name:
        # The arguments of a tool, which reads them itself.
        return fields
    import json

    from openai_codex import approvals

    return getattr(approvals, class_name)(**json.loads(fields))


def _refuse(class_name: str, responder: native.Responder, error: BaseException) -> bool:
    """Report an error to the server. True if the program has to see it too."""
    from openai_codex.tools import _Misfit

    responder.error(str(error) if isinstance(error, _Misfit) else f"{type(error).__name__}: {error}")
    if class_name or not isinstance(error, Exception):
        return True
    # A failed call is a result that the model reads.
    from logging import getLogger

    getLogger("openai_codex.tools").info("a call of a tool failed", exc_info=error)
    return False


def _answer(handler: Callable[[Any], Any], class_name: str, fields: str, responder: native.Responder) -> None:
    if not responder.is_wanted:
        # The request ended while the call waited for its thread.
        return
    try:
        responder.respond(handler(_request(class_name, fields)))
    except BaseException as error:
        if _refuse(class_name, responder, error):
            raise


async def _answer_async(
    handler: Callable[[Any], Any], class_name: str, fields: str, responder: native.Responder
) -> None:
    if not responder.is_wanted:
        return
    try:
        responder.respond(await handler(_request(class_name, fields)))
    except BaseException as error:
        if _refuse(class_name, responder, error):
            raise
