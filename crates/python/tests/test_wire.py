"""What the calls send."""

import sys

import pytest
from openai_codex import (
    ApprovalMode,
    Codex,
    CodexConfig,
    ExternalMessage,
    ImageInput,
    MentionInput,
    Sandbox,
    SkillInput,
    TextInput,
)
from openai_codex.errors import StartError


@pytest.fixture
def codex(wire):
    with Codex(wire.config) as codex:
        yield codex


def without(params: dict, *names: str) -> dict:
    return {name: value for name, value in params.items() if name not in names}


def test_the_client_says_who_it_is(codex, wire):
    info = wire.last("initialize")
    from openai_codex import __version__

    assert info["clientInfo"] == {"name": "codex_python_sdk", "title": "Codex Python SDK", "version": __version__}
    assert info["capabilities"]["experimentalApi"] is True


def test_a_start_sends_auto_review_and_leaves_the_folder_untrusted(codex, wire, tmp_path):
    codex.thread_start()
    assert wire.last("thread/start") == {"approvalPolicy": "on-request", "approvalsReviewer": "auto_review"}
    # A writing sandbox makes the runtime record the folder as trusted, unless the request says otherwise.
    codex.thread_start(cwd=str(tmp_path), sandbox=Sandbox.workspace_write)
    projects = wire.last("thread/start")["config"]["projects"]
    assert projects[str(tmp_path)] == {"trust_level": "untrusted"}


def test_a_folder_is_trusted_on_request(codex, wire, tmp_path):
    codex.thread_start(cwd=str(tmp_path), trust_folder=True, sandbox=Sandbox.read_only)
    projects = wire.last("thread/start")["config"]["projects"]
    assert projects[str(tmp_path)] == {"trust_level": "trusted"}


def test_every_option_of_a_start_has_its_key(codex, wire):
    codex.thread_start(
        approval_mode=ApprovalMode.deny_all,
        base_instructions="b",
        config={"model_reasoning_effort": "high", "nested": {"a": [1, 2.5, None, True]}},
        developer_instructions="d",
        ephemeral=True,
        model="mock-model",
        model_provider="scripted",
        sandbox=Sandbox.workspace_write,
        service_name="s",
        service_tier="flex",
    )
    params = wire.last("thread/start")
    assert params["approvalPolicy"] == "never" and "approvalsReviewer" not in params
    assert (params["baseInstructions"], params["developerInstructions"]) == ("b", "d")
    assert params["config"]["model_reasoning_effort"] == "high"
    assert params["config"]["nested"] == {"a": [1, 2.5, None, True]}
    assert (params["ephemeral"], params["model"], params["modelProvider"]) == (True, "mock-model", "scripted")
    assert (params["sandbox"], params["serviceName"], params["serviceTier"]) == ("workspace-write", "s", "flex")


def test_resume_and_fork_send_only_what_was_given(codex, wire, model):
    model.fallback("ok")
    thread = codex.thread_start()
    thread.run("x")
    assert codex.thread_resume(thread.id).id == thread.id
    assert wire.last("thread/resume") == {"threadId": thread.id}
    codex.thread_resume(thread.id, include_turns=True)
    assert wire.last("thread/resume") == {"threadId": thread.id, "excludeTurns": False}
    assert codex.thread_fork(thread.id).id != thread.id
    assert wire.last("thread/fork") == {"threadId": thread.id}
    codex.thread_fork(thread.id, include_turns=False)
    assert wire.last("thread/fork") == {"threadId": thread.id, "excludeTurns": True}


def test_a_turn_sends_a_whole_sandbox_policy(codex, wire, model):
    model.fallback("ok")
    thread = codex.thread_start()
    thread.run("x")
    params = wire.last("turn/start")
    assert len(params["clientUserMessageId"]) == 32
    assert without(params, "clientUserMessageId") == {"threadId": thread.id, "input": [{"type": "text", "text": "x"}]}
    for sandbox, policy in (
        (Sandbox.read_only, {"type": "readOnly", "networkAccess": False}),
        (
            Sandbox.workspace_write,
            {
                "type": "workspaceWrite",
                "networkAccess": False,
                "writableRoots": [],
                "excludeSlashTmp": False,
                "excludeTmpdirEnvVar": False,
            },
        ),
        (Sandbox.full_access, {"type": "dangerFullAccess"}),
    ):
        thread.run("x", sandbox=sandbox)
        assert wire.last("turn/start")["sandboxPolicy"] == policy


def test_the_protocols_policy_and_mode_are_taken_too(codex, wire, model):
    from openai_codex.generated.v2_all import ReadOnlySandboxPolicy
    from openai_codex.types import SandboxMode, SandboxPolicy

    model.fallback("ok")
    thread = codex.thread_start(sandbox=SandboxMode.danger_full_access)
    assert wire.last("thread/start")["sandbox"] == "danger-full-access"
    policy = ReadOnlySandboxPolicy(type="readOnly", network_access=True)
    thread.run("x", sandbox_policy=SandboxPolicy(root=policy))
    assert wire.last("turn/start")["sandboxPolicy"] == {"type": "readOnly", "networkAccess": True}


def test_every_option_of_a_turn_has_its_key(codex, wire, model):
    from openai_codex.types import ReasoningEffort, ReasoningSummary

    model.fallback('{"a": 1}')
    thread = codex.thread_start()
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    thread.run(
        "x",
        approval_mode=ApprovalMode.auto_review,
        cwd="/tmp",
        effort=ReasoningEffort.high,
        model="mock-model",
        output_schema=schema,
        service_tier="flex",
        source="test",
        summary=ReasoningSummary.model_validate("concise"),
        turn_service_tier="flex",
    )
    params = without(wire.last("turn/start"), "threadId", "input", "clientUserMessageId")
    assert params == {
        "approvalPolicy": "on-request",
        "approvalsReviewer": "auto_review",
        "cwd": "/tmp",
        "effort": "high",
        "model": "mock-model",
        "outputSchema": schema,
        "serviceTier": "flex",
        "turnTrigger": "test",
        "summary": "concise",
        "serviceTierForTurn": "flex",
    }


def test_inputs_have_the_protocols_shapes(codex, wire, model, tmp_path):
    model.fallback("ok")
    image = "data:image/png;base64,iVBORw0KGgo="
    items = [TextInput("t"), ImageInput(image), SkillInput("s", "/s/SKILL.md"), MentionInput("m", "/m")]
    codex.thread_start().turn(items).run()
    assert wire.last("turn/start")["input"] == [
        {"type": "text", "text": "t"},
        {"type": "image", "url": image},
        {"type": "skill", "name": "s", "path": "/s/SKILL.md"},
        {"type": "mention", "name": "m", "path": "/m"},
    ]


def test_an_external_message_is_a_tools_output(codex, wire, model):
    model.fallback("ok")
    thread = codex.thread_start()
    thread.run(ExternalMessage("ci", "red", namespace="acme"))
    assert wire.last("turn/start")["input"] == []
    assert wire.last("turn/start")["toolOutput"] == {"name": "ci", "namespace": "acme", "output": "red"}
    thread.run(ExternalMessage("ci", [{"type": "input_text", "text": "red"}]))
    assert wire.last("turn/start")["toolOutput"]["output"] == [{"type": "input_text", "text": "red"}]


def test_unusable_arguments_send_nothing(codex, wire, model):
    thread = codex.thread_start()
    starts = len(wire.sent("thread/start"))
    for options in ({"approval_mode": "auto_review"}, {"sandbox": "read-only"}):
        with pytest.raises(ValueError):
            codex.thread_start(**options)
        with pytest.raises(ValueError):
            thread.run("x", **options)
    for bad in (("a",), ["a"], [ExternalMessage("t", "c")], 5, None):
        with pytest.raises(TypeError):
            thread.run(bad)
    with pytest.raises(ValueError, match="tool_name"):
        thread.run(ExternalMessage("  ", "c"))
    with pytest.raises(ValueError):
        thread.run([])
    assert (len(wire.sent("thread/start")), wire.sent("turn/start")) == (starts, [])


def test_requests_about_threads_and_models(codex, wire, model):
    from openai_codex.types import ThreadSortKey

    model.fallback("ok")
    thread = codex.thread_start()
    thread.run("x")
    codex.thread_list()
    assert wire.last("thread/list") == {}
    codex.thread_list(
        archived=False, limit=3, search_term="s", sort_key=ThreadSortKey.updated_at, use_state_db_only=True
    )
    assert wire.last("thread/list") == {
        "archived": False,
        "limit": 3,
        "searchTerm": "s",
        "sortKey": "updated_at",
        "useStateDbOnly": True,
    }
    codex.models()
    assert wire.last("model/list") == {"includeHidden": False}
    assert thread.read().thread.id == thread.id
    assert wire.last("thread/read") == {"threadId": thread.id, "includeTurns": False}
    thread.set_name("n")
    assert wire.last("thread/name/set") == {"threadId": thread.id, "name": "n"}
    assert thread.read().thread.name == "n"
    codex.thread_archive(thread.id)
    assert [found.id for found in codex.thread_list(archived=True).data] == [thread.id]
    assert codex.thread_unarchive(thread.id).id == thread.id
    codex.account()
    assert wire.last("account/read") == {"refreshToken": False}


def test_the_command_line_and_the_environment_are_the_configurations(tmp_path):
    log = tmp_path / "log"
    program = tmp_path / "codex"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\nopen({str(log)!r}, 'w').write(repr((sys.argv[1:], os.environ['A'], os.getcwd(), 'HOME' in os.environ)))\n"
    )
    program.chmod(0o755)
    with pytest.raises(StartError):
        Codex(CodexConfig(codex_bin=str(program), config_overrides=("a=1", "b=2"), cwd=str(tmp_path), env={"A": "x"}))
    arguments = ["--config", "a=1", "--config", "b=2", "app-server", "--listen", "stdio://"]
    assert log.read_text() == repr((arguments, "x", str(tmp_path), True))
