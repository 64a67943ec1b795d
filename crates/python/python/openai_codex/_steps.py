"""Calls of several operations, written once for the blocking and the async client."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from openai_codex._wait import wait

if TYPE_CHECKING:
    from openai_codex._native import Operation

T = TypeVar("T")
Steps = Generator["Operation[Any]", Any, T]
"""Yields each operation, and gets its result, or its error."""


def run(steps: Steps[T]) -> T:
    """Wait for each operation on this thread."""
    try:
        operation = next(steps)
        while True:
            try:
                result = operation.wait()
            except BaseException as error:  # noqa: PERF203
                operation = steps.throw(error)
            else:
                operation = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value


async def run_async(steps: Steps[T]) -> T:
    """Wait for each operation in the running loop. Steps that a cancelled task still makes are waited for too."""
    try:
        operation = next(steps)
        while True:
            try:
                result = await wait(operation)
            except BaseException as error:  # noqa: PERF203
                operation = steps.throw(error)
            else:
                operation = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
