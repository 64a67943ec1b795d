"""Programs can read the annotations of the package's functions and classes."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import openai_codex
import pytest
from openai_codex import Codex, Thread, TurnResult, models
from openai_codex.events import Event
from openai_codex.generated import v2_all

# These hold no functions of this package, or are a program.
OTHERS = ("openai_codex.generated.v2_all", "openai_codex.types", "openai_codex.__main__")
MODULES = [
    "openai_codex",
    *(
        module.name
        for module in pkgutil.walk_packages(openai_codex.__path__, "openai_codex.")
        if module.name not in OTHERS and not module.name.rpartition(".")[2].startswith("_")
    ),
]


def value_module(value: object) -> str:
    return str(getattr(value, "__module__", ""))


def annotated(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public functions, classes, methods and properties of a module, by name."""
    for name, value in list(vars(module).items()):
        is_here = name in openai_codex.__all__ if module is openai_codex else value_module(value) == module.__name__
        if name.startswith("_") or not is_here:
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            yield name, value
        if inspect.isclass(value):
            for member_name, member in inspect.getmembers(value):
                function = member.fget if isinstance(member, property) else member
                is_function = inspect.isfunction(function) or inspect.ismethod(function)
                if (
                    is_function
                    and not member_name.startswith("_")
                    and value_module(function).startswith("openai_codex")
                ):
                    yield f"{name}.{member_name}", function


@pytest.mark.parametrize("name", MODULES)
def test_annotations_name_things_that_are_there(name: str):
    for _, value in annotated(importlib.import_module(name)):
        typing.get_type_hints(value)


def test_most_of_the_package_is_annotated():
    found = [name for module in MODULES for name, _ in annotated(importlib.import_module(module))]
    assert len(found) > 350 and {"Thread.run", "CodexClient.turn_start", "Notification", "TurnResult"} <= set(found)


def test_annotations_are_the_classes():
    assert typing.get_type_hints(Thread.run)["return"] is TurnResult
    assert typing.get_type_hints(Codex.thread_list)["return"] is v2_all.ThreadListResponse
    assert typing.get_type_hints(Codex.events)["return"].__args__ == (Event,)
    assert typing.get_type_hints(TurnResult)["status"] is v2_all.TurnStatus
    assert typing.get_type_hints(models.Notification)["payload"] == models.NotificationPayload
    assert typing.get_type_hints(Codex.threads)["return"].__args__ == (v2_all.Thread,)
    assert inspect.get_annotations(Codex.logout, eval_str=True) == {"return": None}


def test_annotations_stay_strings_until_a_program_evaluates_them():
    assert inspect.signature(Thread.run).return_annotation == "TurnResult"
    assert Thread.run.__annotations__["return"] == "TurnResult"
    assert Thread.__annotations__["_client"] == "CodexClient"


def test_annotations_can_be_read_first():
    program = "import typing, openai_codex; print(typing.get_type_hints(openai_codex.TurnResult)['usage'])"
    shown = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert "ThreadTokenUsage" in shown
