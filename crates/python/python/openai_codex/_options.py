"""Checks the options of calls, and leaves out those that were not given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from openai_codex._approval_mode import ApprovalMode
from openai_codex._sandbox import Sandbox

if TYPE_CHECKING:
    from openai_codex.typed_output import Attempts, Output

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def given(values: dict[str, Any], *leave_out: str) -> dict[str, Any]:
    """The options among a method's local variables that are not ``None``."""
    options = {name: value for name, value in values.items() if value is not None and name not in leave_out}
    options.pop("self", None)
    mode = options.get("approval_mode")
    if mode is not None and not isinstance(mode, ApprovalMode):
        raise ValueError(f"approval_mode is one of {_members(ApprovalMode)}, not {mode!r}")
    sandbox = options.get("sandbox")
    if sandbox is not None and not isinstance(sandbox, Sandbox) and not _is_protocol_value(sandbox):
        raise ValueError(f"sandbox is one of {_members(Sandbox)}, not {sandbox!r}")
    return options


def output_of(output_type: type[T] | None) -> Output[T] | None:
    """The output of a turn with this type."""
    if output_type is None:
        return None
    from openai_codex.typed_output import Output

    return Output(output_type)


def attempts_of(output_type: type[T] | None, retries: int, timeout: float | None) -> Attempts[T] | None:
    """The turns of a ``run`` with this type."""
    output = output_of(output_type)
    if output is None:
        if retries:
            raise TypeError("retry_on_mismatch needs an output_type")
        return None
    from openai_codex.typed_output import Attempts

    return Attempts(output, retries, timeout)


def sole_schema(options: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an output, unless the options have another."""
    if "output_schema" in options:
        raise TypeError("output_type brings its own output_schema; give one of them")
    return schema


def _members(enum: type[ApprovalMode] | type[Sandbox]) -> str:
    return ", ".join(f"{enum.__name__}.{member.name}" for member in enum)


def _is_protocol_value(value: object) -> bool:
    """Whether a value is of a generated class, such as ``SandboxMode``. Does not import the classes."""
    return type(value).__module__.startswith("openai_codex.generated")


def wire(values: dict[str, Any], **renamed: str) -> dict[str, Any]:
    """Parameters with the protocol's names, without those that are ``None``. ``renamed``: names that are not the protocol's."""
    given = {name: value for name, value in values.items() if value is not None and name != "self"}
    return {_camel(renamed.get(name, name)): value for name, value in given.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def additional(*names: str) -> Callable[[F], F]:
    """Leave parameters out of the signature that ``inspect`` reports.

    The published package does not have them, and programs compare signatures. Type checkers and calls see them.
    """

    def decorate(function: F) -> F:
        import inspect

        signature = inspect.signature(function)
        parameters = [parameter for name, parameter in signature.parameters.items() if name not in names]
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return decorate
