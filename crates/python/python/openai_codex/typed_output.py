"""Typed output: turns that return a value of a Python type instead of prose."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from openai_codex import _native as native
from openai_codex._annotations import import_late
from openai_codex._run import TurnResult

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from openai_codex.errors import OutputMismatchError

__all__ = ["TypedResult", "output_schema_of", "typed"]

T = TypeVar("T")


@dataclass(slots=True)
class TypedResult(TurnResult, Generic[T]):
    """The result of a turn whose final response was read as a value."""

    value: T
    """The value of the final response."""
    failed_attempts: list[OutputMismatchError] = field(default_factory=list, kw_only=True)
    """The errors of earlier turns whose responses did not fit, with ``retry_on_mismatch``."""

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
        from pydantic import ValidationError

        from openai_codex.errors import NoOutputError, OutputMismatchError

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
            mismatch.reason = first["msg"]
            raise mismatch from error
        if self._is_wrapped:
            value = value.value
        known = {field.name: getattr(result, field.name) for field in fields(TurnResult)}
        return TypedResult(**known, value=value)


class Attempts(Generic[T]):
    """The turns of a call that reads a value, and makes further turns if a response does not fit."""

    def __init__(self, output: Output[T], retries: int, timeout: float | None) -> None:
        self._output = output
        self.schema = output.schema
        self._retries = retries
        self._failed: list[OutputMismatchError] = []
        self._ends_at = None if timeout is None else monotonic() + timeout
        self.correction = ""
        """The input of the next turn."""

    def read(self, result: TurnResult) -> TypedResult[T] | None:
        """Read the value of a result. ``None`` if another turn has to correct it."""
        from openai_codex.errors import OutputMismatchError

        try:
            typed = self._output.read(result)
        except OutputMismatchError as error:
            error.failed_attempts = list(self._failed)
            if len(self._failed) >= self._retries:
                raise
            self._failed.append(error)
            place = f" at `{error.path}`" if error.path else ""
            self.correction = (
                f"Your last answer does not follow the requested JSON schema{place}: {error.reason}. Answer again with the "
                "whole corrected JSON value and nothing else."
            )
            return None
        typed.failed_attempts = self._failed
        return typed

    def limit(self, options: dict[str, Any]) -> None:
        """Give the next turn the time that is left: the timeout covers all turns together."""
        if self._ends_at is not None:
            options["timeout"] = max(self._ends_at - monotonic(), 0.0)


def _without_fence(text: str) -> str:
    """The text inside of a Markdown fence that contains the whole text. Otherwise the text."""
    import re

    fenced = re.fullmatch(r"\s*```[ \t]*(?:json)?[ \t]*\n(.*)```\s*", text, re.DOTALL | re.IGNORECASE)
    return text if fenced is None else fenced[1]


import_late(globals())
