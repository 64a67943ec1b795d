"""Typed output: turns that return a value of a Python type instead of prose."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from openai_codex import _native as native
from openai_codex._run import TurnResult

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["TypedResult", "output_schema_of", "typed"]

T = TypeVar("T")


@dataclass(slots=True)
class TypedResult(TurnResult, Generic[T]):
    """The result of a turn whose final response was read as a value."""

    value: T
    """The value of the final response."""

    def _repr_html_(self) -> str:
        """How a notebook shows the result."""
        from openai_codex._html import result_html

        return result_html(self, self.value)


def output_schema_of(output_type: type[Any]) -> dict[str, Any]:
    """The JSON schema of a type, in the strict form that the service requires. For ``output_schema=`` of a streamed turn."""
    return Output(output_type).schema


def typed(result: TurnResult, output_type: type[T]) -> TypedResult[T]:
    """Read the final response of a turn that had the schema of a type."""
    return Output(output_type).read(result)


class Output(Generic[T]):
    """A type that a final response must have."""

    def __init__(self, output_type: type[T]) -> None:
        from pydantic import TypeAdapter, create_model
        from pydantic.errors import PydanticUserError

        self._name = getattr(output_type, "__name__", repr(output_type))
        self._adapter: TypeAdapter[Any]
        try:
            self._adapter = TypeAdapter(output_type)
            self.schema, self._is_wrapped = native.output_schema(self._adapter.json_schema())
        except (PydanticUserError, ValueError) as error:
            from openai_codex.errors import InvalidInputError

            raise InvalidInputError(f"{self._name} cannot be an output type: {error}") from error
        if self._is_wrapped:
            wrapper: Any = create_model("Wrapper", value=(output_type, ...))
            self._adapter = TypeAdapter(wrapper)

    def read(self, result: TurnResult) -> TypedResult[T]:
        """Read the value of a result."""
        from openai_codex.errors import NoOutputError, OutputMismatchError
        from pydantic import ValidationError

        text = result.final_response
        missing = None
        if result.status.value == "interrupted":
            missing = "the turn was interrupted before its final response"
        elif text is None:
            missing = "the turn ended without a final response"
        if missing is not None or text is None:
            nothing = NoOutputError(missing)
            nothing.kind = "NoOutput"
            nothing.turn = result
            raise nothing
        try:
            value = self._adapter.validate_json(_without_fence(text))
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(map(str, first["loc"]))
            place = f"at {path}: " if path else ""
            mismatch = OutputMismatchError(f"the final response is not a valid {self._name}: {place}{first['msg']}")
            mismatch.kind = "OutputMismatch"
            mismatch.path, mismatch.text, mismatch.turn = path, text, result
            raise mismatch from error
        if self._is_wrapped:
            value = value.value
        known = {field.name: getattr(result, field.name) for field in fields(TurnResult)}
        return TypedResult(**known, value=value)


def _without_fence(text: str) -> str:
    """The text inside of a Markdown fence that contains the whole text. Otherwise the text."""
    import re

    fenced = re.fullmatch(r"\s*```[ \t]*(?:json)?[ \t]*\n(.*)```\s*", text, re.DOTALL | re.IGNORECASE)
    return text if fenced is None else fenced[1]
