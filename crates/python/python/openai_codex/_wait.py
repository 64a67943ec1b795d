"""Waits for native operations in event loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, ref

from openai_codex._native import LoopPort, Operation

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

T = TypeVar("T")
# The loop keeps its port, as the object of a reader's callback. A strong reference here would keep a loop with tasks in it forever.
_ports: WeakKeyDictionary[AbstractEventLoop, ReferenceType[LoopPort]] = WeakKeyDictionary()


def running_loop() -> AbstractEventLoop:
    """The event loop that runs the caller."""
    from asyncio import get_running_loop

    try:
        return get_running_loop()
    except RuntimeError:
        raise RuntimeError("the async client needs a running asyncio event loop; it does not work on trio") from None


async def wait(operation: Operation[T]) -> T:
    """Wait for an operation. Cancelling the task gives the operation up."""
    loop = running_loop()
    known = _ports.get(loop)
    port = known() if known is not None else None
    if port is None:
        port = LoopPort()
        loop.add_reader(port.fileno(), port.drain)
        _ports[loop] = ref(port)
    future: Future[T] = loop.create_future()
    number = operation.start(port, future)
    try:
        return await future
    except BaseException:
        port.cancel(number)
        raise
