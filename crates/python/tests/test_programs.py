"""Programs that were written for the published package, and ran on it, run without a change.

The expected output is that of the published package, except for `clientId`: this client gives each message an id.
"""

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
['clientId', 'content', 'id', 'type']
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
TRIAGE = """\
triage triage unix
ModelListResponse True None
None False
{} True ['userMessage', 'agentMessage'] severity=1 labels=['x']
15 5 True None
{} True ['userMessage', 'agentMessage'] severity=2 labels=['x']
15 5 True None
True ['items', 'status', 'usage', 'verdict']
['issue-1', 'issue-2']
['completed']
True forked
{} ['issue-1']
True True
InvalidRequestError -32600 False
ValueError
TypeError
TransportClosedError
"""
LIVE = """\
hello
ran it ['UserMessageThreadItem', 'CommandExecutionThreadItem', 'AgentMessageThreadItem']
{}
'sl'
failed: the model is broken
told True
['answer 0', 'answer 1', 'answer 2', 'answer 3']
{} True
start userMessage
user one
start agentMessage
agent hello
end completed
start userMessage
user slow
start agentMessage
end interrupted
"""
WORKERS = """\
['result 0', 'result 1', 'result 2', 'result 3', 'result 4', 'result 5', 'result 6', 'result 7']
True
done by hand True True
completed ['item/commandExecution/requestApproval'] True
True thread/goal/updated ThreadGoalStatus.complete
TurnItemsView.summary
['l', 'ow']
ModelListResponse True
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


def triage(model: ScriptedModel, folder) -> None:
    (folder / "a.py").touch()
    for number in (1, 2):
        reply = ModelReply(f'{{"severity": {number}, "labels": ["x"]}}')
        model.reply_to(f"issue {number}", reply.usage(10, 5))
    model.reply_to("and now?", "forked")


def live(model: ScriptedModel, _folder) -> Gate:
    model.reply_to("one", ModelReply().delta("he").delta("llo"))
    model.reply_to("command", ModelReply.exec_command("echo hi"))
    model.reply_to("command", "ran it")
    gate = model.gate()
    model.reply_to("slow", ModelReply().delta("sl").pause(gate))
    model.reply_to("fail", ModelReply.failed("the model is broken"))
    for number in range(4):
        model.reply_to(f"many {number}", f"answer {number}")
    model.fallback("told")
    return gate


def workers(model: ScriptedModel, folder) -> None:
    model.add_config("features.goals = true\n")
    for number in range(8):
        model.reply_to(f"job {number}", ModelReply().delta("re").delta(f"sult {number}"))
    model.reply_to("by hand", "done by hand")
    model.reply_to("approve", ModelReply().escalate(f"touch {folder}/marker", "needed"))
    model.reply_to("approve", "approved")
    model.reply_to("low", ModelReply().delta("l").delta("ow"))
    model.reply_to("after", "afterwards")
    # The turns of the goal.
    model.reply(ModelReply.tool_call("update_goal", {"status": "complete"}))
    model.reply("shipped")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (review, REVIEW),
        (orchestrate, ORCHESTRATE),
        (lowlevel, LOWLEVEL),
        (triage, TRIAGE),
        (live, LIVE),
        (workers, WORKERS),
    ],
)
def test_a_program_of_the_published_package_runs(model: ScriptedModel, tmp_path, script, expected: str):
    # The gates live as long as the program.
    kept = script(model, tmp_path)
    environment = {**os.environ, **dict(model.env()), "CODEX_PROGRAM": str(_native.locate_runtime())}
    program = [sys.executable, str(HERE / "programs" / f"{script.__name__}.py"), str(tmp_path)]
    ended = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, expected), ended.stderr
    del kept
