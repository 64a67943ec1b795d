"""Turns that return a value of a Python type, and turns with deadlines."""

import asyncio
import pickle
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from openai_codex import AsyncCodex, Codex, TurnHandle, TurnResult
from openai_codex.errors import CodexTimeoutError, InvalidInputError, NoOutputError, OutputMismatchError
from openai_codex.testing import ModelReply, ScriptedModel
from openai_codex.typed_output import TypedResult, output_schema_of, typed
from pydantic import BaseModel, Field


class Severity(Enum):
    HIGH = "high"
    LOW = "low"


class Bug(BaseModel):
    """A bug that was found."""

    title: str = Field(description="In a few words.")
    severity: Severity
    line: int | None = None


@dataclass
class Point:
    x: int
    y: int


BUG = '{"title": "off by one", "severity": "high", "line": null}'


def sent_schema(model: ScriptedModel) -> Any:
    return model.requests[-1].body["text"]["format"]["schema"]


def test_a_turn_returns_an_instance(codex: Codex, model: ScriptedModel):
    model.reply(BUG)
    result = codex.thread_start().run("x", output_type=Bug)
    assert result.value == Bug(title="off by one", severity=Severity.HIGH)
    assert isinstance(result, TurnResult) and result.final_response == BUG and result.items
    schema = sent_schema(model)
    # The strict form: all fields are required, and there are no others.
    assert schema["required"] == ["title", "severity", "line"] and schema["additionalProperties"] is False
    assert schema["properties"]["title"]["description"] == "In a few words."
    assert schema == output_schema_of(Bug)


def test_an_async_turn_returns_an_instance(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            model.reply('{"x": 1, "y": 2}')
            result = await (await codex.thread_start()).run("x", output_type=Point)
            assert result.value == Point(1, 2)

    asyncio.run(main())


def test_a_list_is_wrapped_and_a_fence_is_taken_off(codex: Codex, model: ScriptedModel):
    model.reply('```json\n{"value": [{"x": 1, "y": 2}]}\n```')
    assert codex.thread_start().run("x", output_type=list[Point]).value == [Point(1, 2)]
    assert list(sent_schema(model)["properties"]) == ["value"]


def test_a_streamed_turn_is_read_afterwards(codex: Codex, model: ScriptedModel):
    model.reply(BUG)
    turn = codex.thread_start().turn("x", output_schema=output_schema_of(Bug))
    assert "".join(turn.stream_text()) == BUG
    assert typed(turn.run(), Bug).value.severity is Severity.HIGH


def test_a_handle_with_an_output_type_streams_and_returns_an_instance(codex: Codex, model: ScriptedModel):
    thread = codex.thread_start()
    model.reply(BUG)
    turn = thread.turn("x", output_type=Bug)
    assert isinstance(turn, TurnHandle) and "".join(turn.stream_text()) == BUG
    assert sent_schema(model) == output_schema_of(Bug)
    assert turn.run().value == turn.run().value == Bug(title="off by one", severity=Severity.HIGH)
    model.reply("no JSON")
    with pytest.raises(OutputMismatchError):
        thread.turn("x", output_type=Bug).run()
    with pytest.raises(TypeError, match="give one of them"):
        thread.turn("x", output_type=Point, output_schema={})


def test_an_async_handle_with_an_output_type_returns_an_instance(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            model.reply('{"x": 1, "y": 2}')
            turn = await (await codex.thread_start()).turn("x", output_type=Point)
            assert "".join([piece async for piece in turn.stream_text()]) == '{"x": 1, "y": 2}'
            assert (await turn.run()).value == Point(1, 2)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ('{"x": 1, "y": "two"}', "y", "valid integer"),
        ('{"x": 1}', "y", "required"),
        ('Here it is: {"x": 1, "y": 2}', "", "Invalid JSON"),
    ],
)
def test_a_response_that_does_not_fit_is_an_error_with_its_place(
    codex: Codex, model: ScriptedModel, text: str, path: str, reason: str
):
    model.reply(text)
    with pytest.raises(OutputMismatchError, match=reason) as caught:
        codex.thread_start().run("x", output_type=Point)
    error = caught.value
    assert (error.path, error.text, error.kind) == (path, text, "OutputMismatch")
    assert error.turn is not None and error.turn.final_response == text
    assert pickle.loads(pickle.dumps(error)).path == path


def test_further_turns_correct_a_response_that_does_not_fit(codex: Codex, model: ScriptedModel):
    thread = codex.thread_start()
    for reply in ('{"x": 1}', "no JSON", '{"x": 1, "y": 2}'):
        model.reply(reply)
    result = thread.run("x", output_type=Point, retry_on_mismatch=2, timeout=60)
    assert result.value == Point(1, 2)
    assert [attempt.path for attempt in result.failed_attempts] == ["y", ""]
    assert all(attempt.turn is not None for attempt in result.failed_attempts)
    corrections = [request.last_user_text or "" for request in model.requests[1:]]
    assert "at `y`: Field required" in corrections[0] and "Invalid JSON" in corrections[1]
    assert all(request.body["text"]["format"]["schema"] == sent_schema(model) for request in model.requests)
    for reply in ("bad", "worse"):
        model.reply(reply)
    with pytest.raises(OutputMismatchError) as caught:
        thread.run("x", output_type=Point, retry_on_mismatch=1)
    assert caught.value.text == "worse" and [error.text for error in caught.value.failed_attempts] == ["bad"]
    with pytest.raises(TypeError, match="needs an output_type"):
        thread.run("x", retry_on_mismatch=1)  # pyright: ignore[reportCallIssue]


def test_a_further_async_turn_corrects_a_response_that_does_not_fit(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            for reply in ("bad", '{"x": 1, "y": 2}'):
                model.reply(reply)
            thread = await codex.thread_start()
            assert (await thread.run("x", output_type=Point, retry_on_mismatch=1)).value == Point(1, 2)

    asyncio.run(main())


def test_the_timeout_covers_all_attempts(codex: Codex, model: ScriptedModel):
    model.reply("bad")
    gate = model.gate()
    model.reply(ModelReply().pause(gate).delta("late"))
    with pytest.raises(CodexTimeoutError):
        codex.thread_start().run("x", output_type=Point, retry_on_mismatch=1, timeout=3)


def test_a_turn_without_a_response_has_no_value(codex: Codex, model: ScriptedModel):
    model.reply(ModelReply().message("thinking", "commentary"))
    with pytest.raises(NoOutputError, match="without a final response") as caught:
        codex.thread_start().run("x", output_type=Point)
    assert caught.value.turn is not None


def test_a_type_without_a_strict_schema_is_refused_before_anything_is_sent(codex: Codex, model: ScriptedModel):
    class Counts(BaseModel):
        lines: dict[str, int]

    class Unknown:
        """Not a class that pydantic knows."""

    thread = codex.thread_start()
    with pytest.raises(InvalidInputError, match=r"Counts cannot be an output type.*use a list of entries"):
        thread.run("x", output_type=Counts)
    with pytest.raises(InvalidInputError, match="cannot be an output type"):
        thread.run("x", output_type=Unknown)
    with pytest.raises(TypeError, match="give one of them"):
        thread.run("x", output_type=Point, output_schema={})
    assert not model.requests


def test_a_typed_result_is_a_dataclass(codex: Codex, model: ScriptedModel):
    model.reply('{"x": 1, "y": 2}')
    result = codex.thread_start().run("x", output_type=Point)
    assert isinstance(result, TypedResult) and "value=Point(x=1, y=2)" in repr(result)
    assert pickle.loads(pickle.dumps(result)).value == Point(1, 2)


@pytest.mark.parametrize("limit", ["timeout", "inactivity_timeout"])
def test_a_turn_that_exceeds_its_time_is_interrupted(codex: Codex, model: ScriptedModel, limit: str):
    thread = codex.thread_start()
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    options: dict[str, Any] = {limit: 0.5}
    with pytest.raises(CodexTimeoutError) as caught:
        thread.turn("x", **options).run()
    assert caught.value.turn is not None
    # On a busy machine the turn is interrupted before its model request. Then the next one gets its reply.
    gate.release()
    model.reply("next")
    options[limit] = 60
    assert thread.run("y", **options).final_response in ("he", "next")
    statuses = [turn.status.value for turn in thread.read(include_turns=True).thread.turns]
    assert statuses == ["interrupted", "completed"]


def test_an_async_turn_that_exceeds_its_time_is_interrupted(model: ScriptedModel):
    async def main():
        async with AsyncCodex(model.config()) as codex:
            thread = await codex.thread_start()
            gate = model.gate()
            model.reply(ModelReply().delta("he").pause(gate))
            with pytest.raises(CodexTimeoutError):
                await thread.run("x", timeout=0.5)

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [-1, float("nan"), 1e300])
def test_an_unusable_time_is_refused(codex: Codex, model: ScriptedModel, seconds: float):
    with pytest.raises(ValueError, match="not a usable time"):
        codex.thread_start().run("x", timeout=seconds)
    assert not model.requests
