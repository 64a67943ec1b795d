"""Which runtime a client starts, and the commands of `python -m openai_codex`."""

import os
import subprocess
import sys

import pytest
from openai_codex import Codex, CodexConfig, _native
from openai_codex.__main__ import main
from openai_codex.testing import ScriptedModel

BUNDLE = """
from pathlib import Path

def bundled_codex_path():
    return Path({program!r})

def bundled_path_dir():
    return Path({tools!r})
"""


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """A package like `openai-codex-cli-bin`, whose program records how it is started."""
    log, tools = tmp_path / "log", tmp_path / "codex-path"
    tools.mkdir()
    program = tmp_path / "codex"
    runtime = _native.locate_runtime()
    program.write_text(f'#!/bin/sh\necho "$PATH" > {log}\nexec {runtime} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "codex_cli_bin.py").write_text(BUNDLE.format(program=str(program), tools=str(tools)))
    monkeypatch.syspath_prepend(tmp_path)
    yield log, str(tools)
    sys.modules.pop("codex_cli_bin", None)


def test_the_runtime_of_the_package_is_used_with_its_tools_first(bundle, model: ScriptedModel):
    log, tools = bundle
    Codex(model.config()).close()
    assert log.read_text().strip().split(os.pathsep) == [tools, *os.environ["PATH"].split(os.pathsep)]
    Codex(model.config(env={"PATH": f"/usr/bin:{tools}:/bin"})).close()
    assert log.read_text().strip() == f"{tools}:/usr/bin:/bin"


def test_a_named_program_wins_and_keeps_its_path(bundle, model: ScriptedModel):
    log, _ = bundle
    Codex(model.config(codex_bin=str(_native.locate_runtime()))).close()
    assert not log.exists()


def test_the_configuration_is_not_changed(model: ScriptedModel):
    config = model.config()
    assert config.env is not None
    before = CodexConfig(env=dict(config.env))
    Codex(config).close()
    assert config == before


def test_the_first_turn_needs_no_account(capfd):
    assert main(["quickstart", "--offline", "hello"]) == 0
    out, err = capfd.readouterr()
    assert "hello.txt" in out and "completed" in err


def test_the_doctor_says_what_a_client_starts(model: ScriptedModel, monkeypatch, capfd):
    for name, value in model.env():
        monkeypatch.setenv(name, value)
    assert main(["doctor"]) == 0
    out, _ = capfd.readouterr()
    assert str(_native.locate_runtime()) in out and f"codex_python_sdk/{_native.RUNTIME_VERSION}" in out
    assert f"home: {model.home}" in out


def test_a_failure_of_a_command_is_one_line(monkeypatch):
    environment = {**os.environ, "CODEX_BIN": "/no/such/codex"}
    ended = subprocess.run(
        [sys.executable, "-m", "openai_codex", "doctor"], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
