"""Prints the public surface of `openai_codex`, one fact a line.

`published_surface.txt` is its output in an environment with the published package 0.163.0.
"""

import dataclasses
import enum
import inspect
from typing import Any

import openai_codex


def signature(function: Any) -> str:
    return str(inspect.signature(function)).replace(openai_codex.__version__, "VERSION")


def kind(function: object) -> str:
    for name, test in (
        ("async generator", inspect.isasyncgenfunction),
        ("async", inspect.iscoroutinefunction),
        ("generator", inspect.isgeneratorfunction),
    ):
        if test(function):
            return name
    return "function"


def class_facts(name: str, cls: type):
    bases = " ".join(base.__name__ for base in cls.__mro__[1:-1])
    yield f"{name}: class of {cls.__module__}, bases: {bases}"
    if issubclass(cls, enum.Enum):
        for member in cls:
            yield f"{name}.{member.name} = {member.value!r}"
        return
    if issubclass(cls, BaseException):
        if "__init__" in vars(cls):
            yield f"{name}{signature(cls.__init__)}"
        return
    yield f"{name}{signature(cls)}"
    if dataclasses.is_dataclass(cls):
        yield f"{name}.__match_args__ = {cls.__match_args__}"
        yield f"{name}: hashable: {cls.__hash__ is not None}, slots: {'__slots__' in vars(cls)}"
    for member, value in vars(cls).items():
        if member.startswith("_") and member not in ENTRIES:
            continue
        if isinstance(value, property):
            yield f"{name}.{member}: property, {signature(value.fget)}"
        elif inspect.isfunction(value):
            yield f"{name}.{member}: {kind(value)}, {signature(value)}"


ENTRIES = ("__enter__", "__exit__", "__aenter__", "__aexit__")


def facts():
    yield f"__all__ = {openai_codex.__all__}"
    for name in openai_codex.__all__:
        value = getattr(openai_codex, name)
        if inspect.isclass(value):
            yield from class_facts(name, value)
        elif inspect.isfunction(value):
            yield f"{name}: function of {value.__module__}, {signature(value)}"
        elif name != "__version__":
            yield f"{name} = {value}"


def low_level_facts():
    """The public methods of the clients below, without their annotations."""
    from openai_codex.async_client import AsyncCodexClient
    from openai_codex.client import CodexClient

    for cls in (CodexClient, AsyncCodexClient):
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            if name.startswith("_") and name not in ("__init__", *ENTRIES):
                continue
            parameters = inspect.signature(method).parameters.values()
            shown = [str(parameter.replace(annotation=parameter.empty)) for parameter in parameters]
            yield f"{cls.__name__}.{name}: {kind(method)}, {', '.join(shown)}"


if __name__ == "__main__":
    print("\n".join([*facts(), *low_level_facts()]))
