"""Servers of other versions, and what programs of the published package rely on at the client."""

import subprocess
import sys
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import HERE
from openai_codex import Codex, CodexError, ExternalMessage, TurnResult, _native, retry_on_overload
from openai_codex.errors import TurnFailedError, UnsupportedByRuntimeError
from openai_codex.generated import v2_all
from openai_codex.models import UnknownNotification, UnknownVariant
from openai_codex.testing import ModelReply, ScriptedModel
from pydantic import BaseModel


@pytest.fixture
def rewritten(model: ScriptedModel):
    """Makes the configuration of a runtime in whose output a text is replaced."""

    def config(old: str, new: str) -> Any:
        command = (sys.executable, str(HERE / "rewriter.py"), old, new, str(_native.locate_runtime()), "app-server")
        return model.config(launch_args_override=command)

    return config


OLD_RUNTIME = {
    "source": lambda thread, _: thread.run("x", source="test"),
    "turn_service_tier": lambda thread, _: thread.turn("x", turn_service_tier="flex"),
    "ExternalMessage": lambda thread, _: thread.run(ExternalMessage("ci", "red")),
    "include_turns": lambda thread, codex: codex.thread_resume(thread.id, include_turns=False),
}


@pytest.mark.parametrize("option", OLD_RUNTIME)
def test_an_option_that_the_runtime_is_too_old_for_is_an_error_before_the_request(
    rewritten, model: ScriptedModel, option: str
):
    model.fallback("ok")
    with Codex(rewritten(f"/{_native.RUNTIME_VERSION} ", "/0.150.0 ")) as codex:
        assert codex.metadata.serverInfo is not None and str(codex.metadata.serverInfo.version).startswith("0.150.0 ")
        thread = codex.thread_start()
        thread.run("first")
        requests = len(model.requests)
        with pytest.raises(UnsupportedByRuntimeError, match=r"0\.150\.0") as caught:
            OLD_RUNTIME[option](thread, codex)
        assert isinstance(caught.value, CodexError)
        assert len(model.requests) == requests
        # The client works as before.
        assert thread.run("x").final_response == "ok"


def test_an_unknown_item_is_an_unknown_notification_in_the_stream_and_stays_in_the_result(
    rewritten, model: ScriptedModel
):
    with Codex(rewritten('"type":"agentMessage"', '"type":"hologram"')) as codex:
        model.reply("hello")
        turn = codex.thread_start().turn("x")
        payloads = [event.payload for event in turn.stream() if event.method == "item/completed"]
        known, unknown = payloads
        assert isinstance(known, v2_all.ItemCompletedNotification)
        assert isinstance(unknown, UnknownNotification)
        assert typing.cast(Any, unknown.params)["item"]["text"] == "hello"
        item: Any = turn.run().items[1].root
        assert isinstance(item, UnknownVariant) and (item.type, item.text) == ("hologram", "hello")


def test_unknown_fields_and_values_break_no_turn(rewritten, model: ScriptedModel):
    with Codex(rewritten('"delta":"hello"', '"delta":"hello","later":[1]')) as codex:
        model.reply(ModelReply().delta("hello"))
        turn = codex.thread_start().turn("x")
        (delta,) = [e for e in turn.stream() if e.method == "item/agentMessage/delta"]
        assert isinstance(delta.payload, v2_all.AgentMessageDeltaNotification)
        assert "later" not in delta.payload.model_dump() and b'"later":[1]' in (delta.raw_params or b"")


def test_a_status_of_a_later_runtime_is_kept(rewritten, model: ScriptedModel):
    with Codex(rewritten('"status":"completed","error":null', '"status":"paused","error":null')) as codex:
        model.reply("hello")
        status: Any = codex.thread_start().run("x").status
        assert status.value == "paused" and status not in list(v2_all.TurnStatus)


def test_items_are_root_models(codex: Codex, model: ScriptedModel):
    model.reply("hello")
    item: Any = codex.thread_start().run("x").items[-1]
    assert item.root.text == "hello"
    with pytest.raises(AttributeError):
        _ = item.text


def test_the_usage_is_the_last_of_the_turn(codex: Codex, model: ScriptedModel):
    thread = codex.thread_start()
    model.reply(ModelReply.exec_command("true").usage(10, 5))
    model.reply(ModelReply().delta("done").usage(20, 7))
    usage = thread.run("x").usage
    assert usage is not None
    assert (usage.last.total_tokens, usage.total.total_tokens) == (27, 42)


def test_a_turn_without_a_reported_usage_has_none(codex: Codex, model: ScriptedModel):
    model.reply(ModelReply.failed("boom"))
    with pytest.raises(TurnFailedError) as caught:
        codex.thread_start().run("x")
    assert caught.value.turn is not None and caught.value.turn.usage is None


def test_a_stream_begins_at_its_first_next(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate).delta("llo"))
    turn = codex.thread_start().turn("x")
    stream: Any = turn.stream()
    # Events before the stream are not lost.
    gate.wait_reached()
    assert next(stream).method == "turn/started"
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)
    gate.release()
    assert turn.run().final_response == "hello"


def test_an_async_stream_has_the_methods_of_a_generator(model: ScriptedModel):
    import asyncio

    from openai_codex import AsyncCodex

    async def main() -> None:
        async with AsyncCodex(model.config()) as codex:
            model.reply("hello")
            turn = await (await codex.thread_start()).turn("x")
            stream: Any = turn.stream()
            assert (await stream.asend(None)).method == "turn/started"
            await stream.aclose()
            with pytest.raises(StopAsyncIteration):
                await stream.__anext__()
            assert (await turn.run()).final_response == "hello"

    asyncio.run(main())


def test_two_handles_of_a_turn_both_stream_its_end(codex: Codex, model: ScriptedModel):
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    model.fallback("done")
    thread = codex.thread_start()
    first = thread.turn("x")
    gate.wait_reached()
    second = thread.turn("y")
    gate.release()
    assert second.id == first.id
    streams: list[Iterator[Any]] = [first.stream(), second.stream()]
    whole, rest = ([event.method for event in stream] for stream in streams)
    # The second handle has what came after it joined.
    assert whole[0] == "turn/started" and whole[-len(rest) :] == rest and rest[-1] == "turn/completed"


def test_a_keyboard_interrupt_is_not_retried():
    calls = []

    def op() -> None:
        calls.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retry_on_overload(op)
    assert calls == [1]


def test_a_result_is_a_field_of_a_programs_model(codex: Codex, model: ScriptedModel):
    class Report(BaseModel):
        result: TurnResult

    model.reply("hello")
    result = codex.thread_start().run("x")
    assert Report.model_validate_json(Report(result=result).model_dump_json()).result == result
    # In a fresh process.
    program = """
import openai_codex, pydantic
print(pydantic.create_model("Report", result=openai_codex.TurnResult).model_json_schema()["required"])
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "['result']\n"
