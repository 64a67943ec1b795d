"""Programs that were written for the published package, and ran on it, run without a change."""

import os
import subprocess
import sys

import pytest
from conftest import HERE
from openai_codex import _native
from openai_codex.testing import Gate, ModelReply, ScriptedModel

REVIEW = """\
codex_python_sdk {'A': 'b'}
codex_python_sdk unix codex_python_sdk
login needed: False None
bad 2 True completed
234 9 True
asked ['Review this folder.', 'Only bugs.']
ran bug 0 completed bug
said 42
['content', 'id', 'type']
True True
review ['completed'] TurnItemsView.full
True None.
True True
['review', 'review'] None
[True]
True
True True
resume: -32600 True False
failed: the model failed
type: unsupported input item: <class 'type'>
"""
ORCHESTRATE = """\
not started
True
agent 0: a0b0 1 1 2
agent 1: a1b1 1 1 2
agent 2: a2b2 1 1 2
True
True
noted None
timed out
ThreadListResponse None
closed: InvalidRequestError
"""
LOWLEVEL = """\
linux
mock-model readOnly
completed ['item/commandExecution/requestApproval'] True
['x', 'y']
True
turn/started turn/completed True
1 completed
low
InvalidRequestError -32600
True
{}
"""


def review(model: ScriptedModel, _folder) -> None:
    model.reply(ModelReply.exec_command("echo bug").usage(100, 5))
    model.reply(ModelReply('{"findings": ["a", "b"], "verdict": "bad"}').usage(120, 9))
    model.reply_to("And tests?", "None.")
    model.reply_to("fail please", ModelReply.failed("the model failed"))


def orchestrate(model: ScriptedModel, _folder) -> list[Gate]:
    for number in range(3):
        model.reply_to(f"task {number}", ModelReply().delta(f"a{number}").delta(f"b{number}"))
    gates = [model.gate() for _ in range(3)]
    for gate in gates:
        model.reply_to("slow", ModelReply().delta("s").pause(gate))
    model.fallback("noted")
    return gates


def lowlevel(model: ScriptedModel, folder) -> None:
    model.reply_to("touch it", ModelReply().escalate(f"touch {folder}/allowed", "please"))
    model.fallback(ModelReply().delta("x").delta("y"))


@pytest.mark.parametrize(("script", "expected"), [(review, REVIEW), (orchestrate, ORCHESTRATE), (lowlevel, LOWLEVEL)])
def test_a_program_of_the_published_package_runs(model: ScriptedModel, tmp_path, script, expected: str):
    # The gates live as long as the program.
    kept = script(model, tmp_path)
    environment = {**os.environ, **dict(model.env()), "CODEX_PROGRAM": str(_native.locate_runtime())}
    program = [sys.executable, str(HERE / "programs" / f"{script.__name__}.py"), str(tmp_path)]
    ended = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, expected), ended.stderr
    del kept
