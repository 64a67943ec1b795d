"""Retries when the server is overloaded."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
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
    if max_attempts < 1:
        raise ValueError("max_attempts must be at least 1")
    pause = initial_delay_s
    for _ in range(max_attempts - 1):
        try:
            return op()
        except Exception as error:
            if not is_retryable_error(error):
                raise
        jitter = pause * jitter_ratio
        time.sleep(max(0.0, pause + random.uniform(-jitter, jitter)))
        pause = min(max_delay_s, pause * 2)
    return op()
