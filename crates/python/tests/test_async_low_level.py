"""`AsyncCodexClient`, the async client below `AsyncCodex`."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conftest import alive
from openai_codex import AsyncCodex, async_client
from openai_codex.async_client import AsyncCodexClient
from openai_codex.errors import InvalidRequestError, ServerBusyError, TransportClosedError
from openai_codex.generated import v2_all
from openai_codex.testing import ModelReply, ScriptedModel

Program = Callable[[AsyncCodexClient], Coroutine[Any, Any, None]]


def run(model: ScriptedModel, program: Program, **options: Any) -> None:
    async def main() -> None:
        async with AsyncCodexClient(model.config(), **options) as client:
            await program(client)

    asyncio.run(main())


async def started(client: AsyncCodexClient, **params: Any) -> str:
    return (await client.thread_start(params)).thread.id


def test_a_turn_is_followed_by_its_id(model: ScriptedModel):
    async def program(client: AsyncCodexClient) -> None:
        assert ((await client.initialize()).userAgent or "").startswith("codex_python_sdk/")
        thread = await started(client, approvalPolicy="never")
        model.reply(ModelReply().delta("he").delta("llo"))
        turn = (await client.turn_start(thread, "x", v2_all.TurnStartParams(thread_id="", input=[]))).turn
        client.register_turn_notifications(turn.id)
        methods: list[str] = []
        while methods[-1:] != ["turn/completed"]:
            methods.append((await client.next_turn_notification(turn.id)).method)
        assert methods[0] == "turn/started" and methods.count("item/agentMessage/delta") == 2
        with pytest.raises(TransportClosedError, match="has ended"):
            await client.next_turn_notification(turn.id)
        client.unregister_turn_notifications(turn.id)
        with pytest.raises(RuntimeError, match="is not registered"):
            await client.next_turn_notification(turn.id)

    run(model, program)


def test_turns_of_many_threads_run_at_once(model: ScriptedModel):
    async def program(client: AsyncCodexClient) -> None:
        model.fallback(ModelReply().delta("he").delta("llo"))

        async def text() -> str:
            thread = await started(client, ephemeral=True)
            return "".join([delta.delta async for delta in client.stream_text(thread, "x")])

        assert await asyncio.gather(*(text() for _ in range(8))) == ["hello"] * 8

    run(model, program)


def test_a_turn_is_steered_and_interrupted(model: ScriptedModel):
    async def program(client: AsyncCodexClient) -> None:
        thread = await started(client)
        gate = model.gate()
        model.reply(ModelReply().delta("he").pause(gate))
        turn = (await client.turn_start(thread, "x")).turn
        await asyncio.to_thread(gate.wait_reached)
        assert (await client.turn_steer(thread, turn.id, "y")).turn_id == turn.id
        assert (await client.turn_interrupt(thread, turn.id)).model_dump() == {}
        completed = await client.wait_for_turn_completed(turn.id)
        assert completed.turn.status.value == "interrupted"
        gate.release()

    run(model, program)


def test_other_notifications_come_one_by_one(model: ScriptedModel):
    async def program(client: AsyncCodexClient) -> None:
        model.fallback("ok")
        thread = await started(client)
        assert [delta.delta async for delta in client.stream_text(thread, "x")] == ["ok"]
        await client.thread_set_name(thread, "n")
        seen: list[str] = []
        while seen[-1:] != ["thread/name/updated"]:
            seen.append((await client.next_notification()).method)
        assert "thread/started" in seen and not {"turn/started", "turn/completed"} & set(seen)
        # A call that is given up takes none away.
        with pytest.raises(asyncio.TimeoutError):
            while True:
                await asyncio.wait_for(client.next_notification(), 0.1)
        waiting = asyncio.ensure_future(client.next_notification())
        await client.thread_set_name(thread, "m")
        event: Any = await waiting
        assert (event.method, event.payload.thread_name) == ("thread/name/updated", "m")
        waiting = asyncio.ensure_future(client.next_notification())
        # It waits before the client is closed.
        await asyncio.sleep(0)
        await client.close()
        for _ in range(2):
            with pytest.raises(TransportClosedError):
                await waiting
            waiting = asyncio.ensure_future(client.next_notification())
        with pytest.raises(TransportClosedError, match="not started"):
            await waiting

    run(model, program)


def test_threads_and_models_are_managed(model: ScriptedModel):
    async def program(client: AsyncCodexClient) -> None:
        model.fallback("ok")
        thread = await started(client, model="mock-model")
        assert [delta.delta async for delta in client.stream_text(thread, "x")] == ["ok"]
        assert (await client.thread_read(thread, include_turns=True)).thread.turns
        await client.thread_set_name(thread, "n")
        assert [found.name for found in (await client.thread_list({"limit": 5})).data] == ["n"]
        assert (await client.thread_resume(thread)).thread.id == thread
        fork = await client.thread_fork(
            thread, v2_all.ThreadForkParams(thread_id="", ephemeral=True, exclude_turns=True)
        )
        assert fork.thread.id != thread
        await client.thread_archive(thread)
        assert (await client.thread_unarchive(thread)).thread.id == thread
        await client.thread_resume(thread)
        assert (await client.thread_compact(thread)).model_dump() == {}
        assert (await client.model_list(include_hidden=True)).data

    run(model, program)


def test_a_login_is_followed_by_its_id(model: ScriptedModel):
    model.add_config("model_providers.scripted.requires_openai_auth = true")

    async def program(client: AsyncCodexClient) -> None:
        response = await client.account_login_start({"type": "chatgpt"})
        login: Any = response.root
        client.register_login_notifications(login.login_id)
        waiting = asyncio.ensure_future(client.next_login_notification(login.login_id))
        assert (await client.account_login_cancel(login.login_id)).status.value == "canceled"
        assert (await waiting).method == "account/login/completed"
        assert not (await client.wait_for_login_completed(login.login_id)).success
        with pytest.raises(RuntimeError, match="is not registered"):
            client.register_login_notifications(login.login_id)
        client.unregister_login_notifications(login.login_id)
        await client.account_login_start({"type": "apiKey", "apiKey": "sk-test"})
        assert (await client.account_read({"refreshToken": False})).account is not None
        assert (await client.account_logout()).model_dump() == {}

    run(model, program)


def test_any_request_is_made_with_its_model(model: ScriptedModel):
    async def program(client: AsyncCodexClient) -> None:
        response = await client.request("model/list", {}, response_model=v2_all.ModelListResponse)
        assert response.data
        retried = await client.request_with_retry_on_overload("model/list", {}, response_model=v2_all.ModelListResponse)
        assert retried == response
        with pytest.raises(InvalidRequestError):
            await client.request("no/such/method", None, response_model=v2_all.ModelListResponse)

    run(model, program)


class Busy(AsyncCodexClient):
    """A client whose server is overloaded for some requests."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    async def request(self, *_: Any, **__: Any) -> Any:
        self.left -= 1
        if self.left >= 0:
            raise ServerBusyError(-32001, "busy")
        return "done"


def test_overloads_are_retried(monkeypatch):
    pauses: list[float] = []

    async def sleep(pause: float) -> None:
        pauses.append(pause)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def retried(times: int, attempts: int) -> Any:
        return await Busy(times).request_with_retry_on_overload("m", None, response_model=None, max_attempts=attempts)

    assert asyncio.run(retried(2, 3)) == "done"
    assert len(pauses) == 2 and 0.2 <= pauses[0] <= 0.3 and 0.4 <= pauses[1] <= 0.6
    with pytest.raises(ServerBusyError):
        asyncio.run(retried(2, 2))
    with pytest.raises(ValueError, match="max_attempts"):
        asyncio.run(retried(0, 0))


@pytest.mark.parametrize("decision", ["accept", "decline", None])
def test_approvals_are_declined_unless_a_handler_accepts(model: ScriptedModel, tmp_path, decision: str | None):
    model.reply(ModelReply().escalate(f"touch {tmp_path / 'marker'}", "the test wants it"))
    model.reply("done")
    options: dict[str, Any] = {}
    if decision is not None:
        options["approval_handler"] = lambda _method, _params: {"decision": decision}

    async def program(client: AsyncCodexClient) -> None:
        policy = {"approvalPolicy": "on-request", "approvalsReviewer": "user"}
        thread = await started(client, sandbox="read-only", **policy)
        assert [delta.delta async for delta in client.stream_text(thread, "x")] == ["done"]

    run(model, program, **options)
    assert (tmp_path / "marker").exists() == (decision == "accept")


def test_it_starts_anew_after_its_close(model: ScriptedModel):
    client = AsyncCodexClient(model.config())
    assert repr(client) == "<AsyncCodexClient not running>"

    async def use() -> str:
        model.reply("ok")
        thread = await started(client)
        text = "".join([delta.delta async for delta in client.stream_text(thread, "x")])
        await client.close()
        return text

    assert [asyncio.run(use()) for _ in range(2)] == ["ok", "ok"]


def test_the_client_below_an_async_client_shares_its_runtime(model: ScriptedModel):
    async def main() -> None:
        async with AsyncCodex(model.config()) as codex:
            model.fallback("ok")
            thread = await codex.thread_start()
            await thread.run("x")
            below = codex._client
            assert isinstance(below, async_client.AsyncCodexClient)
            read = await below.request("thread/read", {"threadId": thread.id}, response_model=v2_all.ThreadReadResponse)
            assert read.thread.id == thread.id
            assert [delta.delta async for delta in below.stream_text(thread.id, "y")] == ["ok"]

    asyncio.run(main())


def test_a_client_that_is_dropped_ends_its_runtime(model: ScriptedModel):
    async def main() -> int:
        client = AsyncCodexClient(model.config())
        await client.start()
        assert client._current is not None and client._current.runtime_pid is not None
        return client._current.runtime_pid

    pid = asyncio.run(main())
    gc.collect()
    while alive(pid):
        pass
