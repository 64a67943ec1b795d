"""Waits for native operations in event loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from openai_codex._native import LoopPort, Operation

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

T = TypeVar("T")
_ports: WeakKeyDictionary[AbstractEventLoop, LoopPort] = WeakKeyDictionary()


async def wait(operation: Operation[T]) -> T:
    """Wait for an operation. Cancelling the task gives the operation up."""
    from asyncio import get_running_loop

    try:
        loop = get_running_loop()
    except RuntimeError:
        raise RuntimeError("the async client needs a running asyncio event loop; it does not work on trio") from None
    port = _ports.get(loop)
    if port is None:
        port = LoopPort()
        loop.add_reader(port.fileno(), port.drain)
        _ports[loop] = port
    future: Future[T] = loop.create_future()
    number = operation.start(port, future)
    try:
        return await future
    except BaseException:
        port.cancel(number)
        raise
