"""The programs in the documentation run."""

import subprocess
import sys

import pytest
from documented import GUIDE, README, programs
from openai_codex.testing import ScriptedModel


@pytest.mark.parametrize("number", range(len(programs(README))))
def test_a_program_of_the_readme_runs(number: int, model: ScriptedModel, tmp_path, monkeypatch):
    for name, value in model.env():
        monkeypatch.setenv(name, value)
    model.fallback("Hello.")
    program = [sys.executable, "-c", programs(README)[number]]
    ended = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0 and ended.stdout.startswith("Hello."), ended.stderr


def is_run(program: str) -> bool:
    """Whether a program of the guide ends by itself, and needs no server."""
    return "with Codex(" in program and not any(part in program for part in ("codex.events()", "Endpoint", "def test_"))


RUN = [number for number, program in enumerate(programs(GUIDE)) if is_run(program)]


def test_most_programs_of_the_guide_run():
    assert len(RUN) >= 6


@pytest.mark.parametrize("number", RUN)
def test_a_program_of_the_guide_runs(number: int, model: ScriptedModel, tmp_path, monkeypatch):
    for name, value in model.env():
        monkeypatch.setenv(name, value)
    model.reply_to("What is the worst bug in here?", '{"reasoning": "It loops.", "line": 7}')
    model.fallback("Hello.")
    program = [sys.executable, "-c", programs(GUIDE)[number]]
    ended = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def test_the_test_in_the_guide_passes(model: ScriptedModel):
    (program,) = [program for program in programs(GUIDE) if "def test_" in program]
    namespace: dict = {}
    exec(program, namespace)
    namespace["test_it_runs_a_command"](model)


def test_the_guide_names_every_exception():
    from openai_codex import errors

    named = {name for name in vars(errors) if name.endswith("Error") and not name.startswith("_")}
    of_json_rpc = {name for name in named if issubclass(getattr(errors, name), errors.JsonRpcError)}
    text = GUIDE.read_text()
    assert {name for name in named - of_json_rpc if f"`{name}`" not in text} == set()
