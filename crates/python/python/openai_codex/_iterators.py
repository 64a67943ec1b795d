"""Iterators over what the native module gives one by one: the entries of pages, and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_codex._wait import wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from openai_codex import _native as native
    from openai_codex.events import Event


def entries(pages: native.Pages[Any]) -> Iterator[Any]:
    while (page := pages.next().wait()) is not None:
        yield from page.data


async def entries_async(pages: native.Pages[Any]) -> AsyncIterator[Any]:
    while (page := await wait(pages.next())) is not None:
        for entry in page.data:
            yield entry


def observe(observer: native.Observer) -> Iterator[Event]:
    try:
        while (event := observer.next().wait()) is not None:
            yield event
    finally:
        observer.close()


async def observe_async(observer: native.Observer) -> AsyncIterator[Event]:
    try:
        while (event := await wait(observer.next())) is not None:
            yield event
    finally:
        observer.close()
