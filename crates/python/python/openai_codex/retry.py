"""Retries when the server is overloaded."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from openai_codex.errors import is_retryable_error

T = TypeVar("T")


def retry_on_overload(
    op: Callable[[], T],
    *,
    max_attempts: int = 3,
    initial_delay_s: float = 0.25,
    max_delay_s: float = 2.0,
    jitter_ratio: float = 0.2,
) -> T:
    """Call ``op``, again while it fails because the server is overloaded.

    The pauses double from ``initial_delay_s`` up to ``max_delay_s``. Each is longer or shorter by up to ``jitter_ratio`` of it.
    """
    for pause in pauses(max_attempts, initial_delay_s, max_delay_s, jitter_ratio):
        try:
            return op()
        except Exception as error:
            if not is_retryable_error(error):
                raise
        time.sleep(pause)
    return op()


def pauses(max_attempts: int, initial_delay: float, max_delay: float, jitter_ratio: float) -> Iterator[float]:
    """The pauses between the attempts, in seconds."""
    if max_attempts < 1:
        raise ValueError("max_attempts must be at least 1")
    pause = initial_delay
    for _ in range(max_attempts - 1):
        jitter = pause * jitter_ratio
        yield max(0.0, pause + random.uniform(-jitter, jitter))
        pause = min(max_delay, pause * 2)
