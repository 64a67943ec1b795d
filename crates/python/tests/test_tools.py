"""Functions that the model calls."""

import asyncio
import logging
import threading
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import pytest
from openai_codex import AsyncCodex, Codex
from openai_codex.errors import InvalidInputError
from openai_codex.testing import ModelReply, ScriptedModel
from openai_codex.tools import Tool, tool
from openai_codex.types import ThreadItem
from pydantic import Field


class Shelf(Enum):
    A = "a"
    B = "b"


@dataclass
class Stock:
    pieces: int
    shelf: Shelf


@tool
def lookup(part_number: str, shelf: Shelf = Shelf.A) -> str:
    """How many pieces of a part are in stock.

    Asks the program.

    Args:
        part_number: As it is on the label,
            such as `AB-12`.
        shelf (Shelf): Where it is.

    Returns:
        part_number: not a parameter.
    """
    if part_number != "AB-12":
        raise ValueError(f"there is no part {part_number}")
    return f"7 pieces on {shelf.name}"


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, model: ScriptedModel):
    """Runs one turn with tools, whose model calls one of them, and returns what the model got."""

    def run_tool(function: Tool[..., Any], arguments: dict[str, Any]) -> str | None:
        model.reply(ModelReply.tool_call(function.name, arguments))
        model.reply("done")
        if request.param == "sync":
            with Codex(model.config()) as codex:
                result = codex.thread_start(tools=[function]).run("x")
        else:

            async def main():
                async with AsyncCodex(model.config()) as codex:
                    return await (await codex.thread_start(tools=[function])).run("x")

            result = asyncio.run(main())
        assert result.final_response == "done"
        assert all(isinstance(item, ThreadItem) for item in result.items)
        return model.requests[-1].last_output

    return run_tool


def sent_tool(model: ScriptedModel, name: str) -> Any:
    (found,) = [tool for tool in model.requests[0].body["tools"] if tool.get("name") == name]
    return found


def test_the_answer_of_a_function_reaches_the_model(run, model: ScriptedModel):
    assert "7 pieces on B" in run(lookup, {"part_number": "AB-12", "shelf": "b"})
    sent = sent_tool(model, "lookup")
    assert sent["description"] == "How many pieces of a part are in stock.\n\nAsks the program."
    parameters = sent["parameters"]
    assert parameters["required"] == ["part_number"]
    assert parameters["properties"]["part_number"]["description"] == "As it is on the label, such as `AB-12`."
    assert list(parameters["properties"]) == ["part_number", "shelf"]


def test_a_parameter_with_a_default_may_be_missing(run):
    assert "7 pieces on A" in run(lookup, {"part_number": "AB-12"})


def test_an_exception_is_a_failed_call(run, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "openai_codex.tools")
    assert "ValueError: there is no part CD-34" in run(lookup, {"part_number": "CD-34"})
    assert "there is no part CD-34" in caplog.text


def test_arguments_that_do_not_fit_are_a_failed_call_that_says_where(run):
    output = run(lookup, {"part_number": "AB-12", "shelf": "z"})
    assert "the arguments do not fit the tool's schema, at `shelf`" in output


def test_other_values_are_json(run):
    @tool(name="stock", description="The stock", timeout=60)
    def function() -> Stock:
        return Stock(7, Shelf.B)

    assert '{"pieces":7,"shelf":"b"}' in run(function, {})


def test_no_value_is_still_a_result(run):
    calls: list[Stock] = []

    @tool
    def note(stock: Stock, schema: Annotated[str, Field(description="Its own.")]) -> None:
        calls.append(stock)

    assert "done" in run(note, {"stock": {"pieces": 1, "shelf": "a"}, "schema": "x"})
    assert calls == [Stock(1, Shelf.A)]


def test_content_items_are_sent_as_they_are(run, model: ScriptedModel):
    from openai_codex.generated import v2_all

    @tool
    def look() -> Any:
        item = v2_all.InputTextDynamicToolCallOutputContentItem(text="seen", type="inputText")
        return [item, item]

    run(look, {})
    (output,) = [item["output"] for item in model.requests[-1].body["input"] if item["type"] == "function_call_output"]
    assert [item["text"] for item in output] == ["seen", "seen"]


def test_an_async_function_runs_in_the_loop(model: ScriptedModel):
    async def main():
        here = asyncio.get_running_loop()
        seen = []

        @tool
        async def later(count: int) -> str:
            await asyncio.sleep(0)
            seen.append((asyncio.get_running_loop() is here, threading.current_thread() is threading.main_thread()))
            if count > 1:
                raise RuntimeError("too many")
            return "seen"

        async with AsyncCodex(model.config()) as codex:
            thread = await codex.thread_start(tools=[later])
            for count, output in ((1, "seen"), (2, "RuntimeError: too many")):
                model.reply(ModelReply.tool_call("later", {"count": count}))
                model.reply("done")
                await thread.run("x")
                assert output in str(model.requests[-1].last_output)
        assert seen == [(True, True)] * 2

    asyncio.run(main())


def test_a_resumed_thread_gets_its_functions_again(codex: Codex, model: ScriptedModel):
    model.fallback("ok")
    thread = codex.thread_start(tools=[lookup])
    thread.run("x")
    codex.close()
    with Codex(model.config()) as again:
        resumed = again.thread_resume(thread.id, tools=[lookup])
        model.reply(ModelReply.tool_call("lookup", {"part_number": "AB-12"}))
        resumed.run("y")
    assert "7 pieces on A" in str(model.requests[-1].last_output)


def test_a_tool_is_still_a_function():
    assert lookup("AB-12") == "7 pieces on A"
    assert lookup.__name__ == "lookup" and repr(lookup) == "<Tool lookup>"


def test_what_cannot_be_a_tool_is_refused(codex: Codex):
    with pytest.raises(TypeError, match="by name, so not to \\*args"):
        tool(lambda *args: None)
    with pytest.raises(TypeError, match="x has no annotation"):
        tool(lambda x: None)
    with pytest.raises(TypeError, match="not 1"):
        codex.thread_start(tools=[1])  # type: ignore[list-item]

    @tool
    async def later() -> None: ...

    with pytest.raises(TypeError, match="needs an AsyncCodex"):
        codex.thread_start(tools=[later])


def test_a_tool_that_the_model_searches_for_is_sent_as_such(wire):
    @tool(namespace="parts", defer_loading=True)
    def lookup() -> str:
        """Looks it up."""
        return "seven"

    with Codex(wire.config) as codex:
        codex.thread_start(tools=[lookup])
        with pytest.raises(InvalidInputError, match="namespace"):
            codex.thread_start(tools=[tool(defer_loading=True)(lookup.function)])
    (namespace,) = wire.last("thread/start")["dynamicTools"]
    assert namespace["name"] == "parts" and namespace["tools"][0]["deferLoading"] is True
