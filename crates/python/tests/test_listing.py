"""Iterators over listings, page by page."""

import asyncio

import pytest
from openai_codex import AsyncCodex, Codex, Thread
from openai_codex.generated.v2_all import (
    Model,
    SortDirection,
    Thread as StoredThread,
    ThreadItemEntry,
    Turn,
    TurnItemsView,
)
from openai_codex.testing import ScriptedModel


def test_all_threads_are_listed_with_a_request_for_each_page(wire, model: ScriptedModel):
    model.fallback("ok")
    with Codex(wire.config) as codex:
        threads = [codex.thread_start() for _ in range(3)]
        for thread in threads:
            thread.run(f"of {thread.id}")
        listing = codex.threads(page_size=1, sort_direction=SortDirection.asc)
        assert wire.sent("thread/list") == []
        listed = list(listing)
        assert {entry.id for entry in listed} == {thread.id for thread in threads} and len(listed) == 3
        assert all(isinstance(entry, StoredThread) for entry in listed)
        requests = wire.sent("thread/list")
        assert len(requests) == 3 and all(request["limit"] == 1 for request in requests)
        assert "cursor" not in requests[0] and requests[2]["cursor"]
        # In the server's default order, pages skip threads.
        assert {request["sortKey"] for request in requests} == {"recency_at"}
        assert [entry.id for entry in codex.threads(search_term=threads[1].id)] == [threads[1].id]


def test_the_turns_and_items_of_a_thread_are_listed(codex: Codex, model: ScriptedModel):
    model.fallback("ok")
    thread = codex.thread_start()
    assert list(thread.turns()) == list(thread.items()) == []
    ids = [thread.run("x").id for _ in range(3)]
    # A thread that was made by hand is not resumed for it.
    for handle in (thread, Thread(codex._client, thread.id)):
        turns = list(handle.turns(page_size=1, sort_direction=SortDirection.asc, items_view=TurnItemsView.full))
        assert [turn.id for turn in turns] == ids and all(isinstance(turn, Turn) for turn in turns)
        assert [item.root.type for item in turns[0].items] == ["userMessage", "agentMessage"]
        items = list(handle.items(page_size=1, turn_id=ids[1], sort_direction=SortDirection.asc))
        assert [entry.item.root.type for entry in items] == ["userMessage", "agentMessage"]
        assert all(isinstance(entry, ThreadItemEntry) and entry.turn_id == ids[1] for entry in items)
    assert handle._native is None


def test_all_models_are_listed(codex: Codex):
    listed = list(codex.all_models(page_size=1))
    assert all(isinstance(entry, Model) for entry in listed)
    assert [entry.id for entry in listed] == [entry.id for entry in codex.models().data]
    assert len(list(codex.all_models(include_hidden=True))) >= len(listed)


def test_async_listings_have_all_entries(model: ScriptedModel):
    async def main():
        model.fallback("ok")
        async with AsyncCodex(model.config()) as codex:
            threads = [await codex.thread_start() for _ in range(2)]
            for thread in threads:
                await thread.run("x")
                await thread.run("y")
            assert {entry.id async for entry in codex.threads(page_size=1)} == {thread.id for thread in threads}
            assert len([turn async for turn in threads[0].turns(page_size=1)]) == 2
            assert len([entry async for entry in threads[0].items(page_size=1)]) == 4
            assert [entry.id async for entry in codex.all_models()]

    asyncio.run(main())


def test_a_listing_that_the_server_refuses_raises(codex: Codex):
    from openai_codex.errors import JsonRpcError

    with pytest.raises(JsonRpcError):
        list(Thread(codex._client, "no such thread").turns())
