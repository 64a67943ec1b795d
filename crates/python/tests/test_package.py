"""The package as a whole: its names, and what its import costs."""

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import openai_codex
import pytest
import surface
from openai_codex import _native, api

# What this package has beyond the published one. `docs/python.md` lists it.
METHODS = {
    "Codex": ("all_models", "events", "rate_limits", "request", "start", "thread_import", "threads"),
    "Thread": ("ensure", "events", "export", "find_turn", "follow", "items", "recover", "turns", "unsubscribe"),
    "TurnHandle": ("client_message_id", "recover", "steer_or_start", "stream_text"),
}
ADDITIONS = (
    "ApprovalMode.ask = ",
    *(f"{prefix}{cls}.{name}: " for cls, names in METHODS.items() for name in names for prefix in ("", "Async")),
)


def test_the_surface_is_that_of_the_published_package_and_the_additions():
    published = Path(__file__).with_name("published_surface.txt").read_text().splitlines()
    facts = [*surface.facts(), *surface.low_level_facts()]
    assert [fact for fact in facts if not fact.startswith(ADDITIONS)] == published
    assert all(any(fact.startswith(addition) for fact in facts) for addition in ADDITIONS)


@pytest.mark.parametrize("name", api.__all__)
def test_a_class_of_the_api_and_its_methods_name_that_module(name: str):
    cls = getattr(api, name)
    assert pickle.loads(pickle.dumps(cls)) is cls
    methods = inspect.getmembers(cls, inspect.isfunction)
    # Data classes have a function of `dataclasses`.
    assert {cls.__module__, *(method.__module__ for _, method in methods)} - {"dataclasses"} == {"openai_codex.api"}


def test_the_version_is_that_of_the_native_module():
    assert openai_codex.__version__ == _native.__version__


def test_nothing_else_is_reachable_from_the_root():
    for name in ("CodexClient", "AsyncCodexClient", "TurnStatus", "Notification"):
        assert not hasattr(openai_codex, name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("AppServerConfig", "CodexConfig"),
        ("AppServerError", "CodexError"),
        ("AppServerRpcError", "CodexRpcError"),
        ("RunResult", "TurnResult"),
    ],
)
def test_old_names_are_the_new_ones_with_a_warning(old: str, new: str):
    with pytest.warns(DeprecationWarning, match=f"{old} is now openai_codex.{new}"):
        assert getattr(openai_codex, old) is getattr(openai_codex, new)
    assert old not in openai_codex.__all__


def test_the_client_below_has_its_old_name_too():
    with pytest.warns(DeprecationWarning, match="AppServerClient is now openai_codex.client.CodexClient"):
        from openai_codex.client import AppServerClient
    assert AppServerClient is openai_codex.client.CodexClient


def test_the_import_loads_neither_pydantic_nor_asyncio():
    program = (
        "import openai_codex, sys; print([n for n in ('pydantic', 'asyncio', 'typing_extensions') if n in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_a_mix_with_the_published_package_is_an_error_that_says_so(tmp_path):
    import shutil

    package = Path(openai_codex.__file__).parent
    shutil.copytree(package, tmp_path / "openai_codex")
    (tmp_path / "openai_codex" / "_message_router.py").touch()
    program = [sys.executable, "-c", "import openai_codex"]
    ended = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "has both openai-codex-rs and openai-codex" in ended.stderr
