"""Functions of the program that answer requests of the server."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

from openai_codex import _native as native

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Callable

_APPROVALS = ("on_command_approval", "on_file_change_approval")


def bind(options: dict[str, Any], loop: AbstractEventLoop | None) -> dict[str, Any]:
    """Prepare the handlers among the options of a thread for the native client. ``loop``: where ``async`` functions run."""
    for name in _APPROVALS:
        handler = options.get(name)
        if handler is None:
            continue
        if not callable(handler):
            raise TypeError(f"{name} is a function, not {handler!r}")
        if loop is None and _is_async(handler):
            raise TypeError(f"{name} is an async function, which needs an AsyncCodex")
        options[name] = (handler, loop)
        # A model would decide, and the handler would get no request. The runtime asks the client instead.
        if options.get("approval_mode") == "auto_review":
            del options["approval_mode"]
    return options


def _is_async(function: object) -> bool:
    from inspect import iscoroutinefunction

    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))


def dispatch(
    handler: Callable[[Any], Any],
    loop: AbstractEventLoop | None,
    class_name: str,
    fields: str,
    responder: native.Responder,
) -> None:
    """Call a handler in its loop, or on a thread of its own. The native client calls this on its thread for handlers."""
    if loop is not None and _is_async(handler):
        from asyncio import run_coroutine_threadsafe

        run_coroutine_threadsafe(_answer_async(handler, class_name, fields, responder), loop)
    else:
        arguments = (handler, class_name, fields, responder)
        Thread(target=_answer, args=arguments, name="codex-handler", daemon=True).start()


def _request(class_name: str, fields: str) -> Any:
    import json

    from openai_codex import approvals

    return getattr(approvals, class_name)(**json.loads(fields))


def _answer(handler: Callable[[Any], Any], class_name: str, fields: str, responder: native.Responder) -> None:
    try:
        responder.respond(handler(_request(class_name, fields)))
    except BaseException as error:
        responder.error(f"{type(error).__name__}: {error}")
        raise


async def _answer_async(
    handler: Callable[[Any], Any], class_name: str, fields: str, responder: native.Responder
) -> None:
    try:
        responder.respond(await handler(_request(class_name, fields)))
    except BaseException as error:
        responder.error(f"{type(error).__name__}: {error}")
        raise
