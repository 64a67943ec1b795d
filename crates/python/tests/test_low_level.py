"""`CodexClient`, the client below `Codex`."""

from typing import Any, cast

import pytest
from openai_codex import _unrouted
from openai_codex._unrouted import Inbox
from openai_codex.client import CodexClient
from openai_codex.errors import CodexError, InvalidRequestError, StreamOverflowError, TransportClosedError
from openai_codex.events import Skipped
from openai_codex.generated import v2_all
from openai_codex.models import Notification, UnknownNotification
from openai_codex.testing import ModelReply, ScriptedModel


@pytest.fixture
def client(model: ScriptedModel):
    with CodexClient(model.config()) as client:
        yield client


def started(client: CodexClient, **params: Any) -> str:
    response = client.thread_start(params)
    assert isinstance(response, v2_all.ThreadStartResponse)
    return response.thread.id


def test_a_turn_is_followed_by_its_id(client: CodexClient, model: ScriptedModel):
    assert client.initialize().userAgent.startswith("codex_python_sdk/")
    thread = started(client, approvalPolicy="never")
    model.reply(ModelReply().delta("he").delta("llo"))
    turn = client.turn_start(thread, "x", v2_all.TurnStartParams(thread_id="", input=[], model="mock-model"))
    assert isinstance(turn, v2_all.TurnStartResponse) and turn.turn.status.value == "inProgress"
    client.register_turn_notifications(turn.turn.id)
    methods = []
    while methods[-1:] != ["turn/completed"]:
        methods.append(client.next_turn_notification(turn.turn.id).method)
    assert methods[0] == "turn/started" and methods.count("item/agentMessage/delta") == 2
    with pytest.raises(TransportClosedError, match="has ended"):
        client.next_turn_notification(turn.turn.id)
    client.unregister_turn_notifications(turn.turn.id)
    for call in (client.next_turn_notification, client.register_turn_notifications):
        with pytest.raises(RuntimeError, match="is not registered"):
            call(turn.turn.id)
    assert model.requests[-1].model == "mock-model"


def test_the_end_of_a_turn_can_be_awaited(client: CodexClient, model: ScriptedModel):
    thread = started(client)
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    turn = client.turn_start(thread, [{"type": "text", "text": "x"}]).turn
    gate.wait_reached()
    # It joins the turn. The model gets both inputs in one request or in two.
    model.fallback("both")
    assert client.turn_start(thread, {"type": "text", "text": "y"}).turn.id == turn.id
    assert client.turn_steer(thread, turn.id, "z").turn_id == turn.id
    gate.release()
    completed = client.wait_for_turn_completed(turn.id)
    assert isinstance(completed, v2_all.TurnCompletedNotification)
    assert (completed.turn.id, completed.turn.status.value) == (turn.id, "completed")
    assert model.requests[-1].user_texts[-3:] == ["x", "y", "z"]


def test_a_turn_is_interrupted(client: CodexClient, model: ScriptedModel):
    thread = started(client)
    gate = model.gate()
    model.reply(ModelReply().delta("he").pause(gate))
    turn = client.turn_start(thread, "x").turn
    gate.wait_reached()
    assert client.turn_interrupt(thread, turn.id).model_dump() == {}
    assert client.wait_for_turn_completed(turn.id).turn.status.value == "interrupted"


def test_text_is_streamed(client: CodexClient, model: ScriptedModel):
    thread = started(client)
    model.reply(ModelReply().delta("he").delta("llo"))
    deltas = list(client.stream_text(thread, "x"))
    assert [delta.delta for delta in deltas] == ["he", "llo"]
    assert all(isinstance(delta, v2_all.AgentMessageDeltaNotification) for delta in deltas)


def test_a_turn_that_is_not_read_holds_nothing_up(client: CodexClient, model: ScriptedModel):
    thread = started(client)
    model.fallback("ok")
    first = client.turn_start(thread, "x").turn
    client.unregister_turn_notifications(first.id)
    second = client.turn_start(thread, "y").turn
    assert client.wait_for_turn_completed(second.id).turn.status.value == "completed"


def test_other_notifications_come_one_by_one(client: CodexClient, model: ScriptedModel):
    model.fallback("ok")
    thread = started(client)
    list(client.stream_text(thread, "x"))
    client.thread_set_name(thread, "n")
    seen = []
    while seen[-1:] != ["thread/name/updated"]:
        seen.append(client.next_notification().method)
    assert "thread/started" in seen and not {"turn/started", "item/agentMessage/delta", "turn/completed"} & set(seen)
    client.close()
    for _ in range(2):
        with pytest.raises(TransportClosedError):
            while True:
                client.next_notification()


class Arriving:
    """An observer for which these notifications arrive. Before a `None`, the program reads what the inbox has."""

    def __init__(self, inbox: Inbox, events: list[Any]):
        self.inbox, self.events, self.read = inbox, events, []

    def next_unrouted(self):
        return self

    def wait(self):
        if self.events and self.events[0] is None:
            del self.events[0]
            self.read.extend(self.inbox.take() for _ in range(3))
        return self.events.pop(0) if self.events else None


def test_notifications_that_nothing_reads_are_bounded_and_counted():
    event = Notification("test/event", UnknownNotification(params={}))

    def arrived(*events: Any) -> tuple[Inbox, list[Any]]:
        inbox = Inbox(3)
        observer = Arriving(inbox, list(events))
        _unrouted.read(cast("Any", observer), inbox, {})
        return inbox, observer.read

    # The program reads in between: it learns where events are missing.
    inbox, read = arrived(*[event] * 5, None, event, *[event] * 2)
    assert read == [event] * 3
    with pytest.raises(StreamOverflowError, match="dropped 2 events"):
        inbox.take()
    assert [inbox.take() for _ in range(2)] == [event] * 2
    with pytest.raises(StreamOverflowError, match="dropped 1 events"):
        inbox.take()
    # The end is there for each call.
    for _ in range(2):
        with pytest.raises(TransportClosedError, match="the client was closed"):
            inbox.take()

    inbox, _ = arrived(event, Skipped(7), event)
    assert inbox.take() == event
    with pytest.raises(StreamOverflowError, match="dropped 7 events"):
        inbox.take()
    assert inbox.take() == event


def test_a_notification_is_sent_as_it_is(wire):
    with CodexClient(wire.config) as client:
        client.notify("test/note", {"a": [1]})
        client.notify("test/plain")
        client.account_read()
    assert wire.sent("test/note") == [{"a": [1]}] and wire.sent("test/plain") == [None]


def test_threads_are_managed_by_their_ids(client: CodexClient, model: ScriptedModel):
    model.fallback("ok")
    thread = started(client, model="mock-model")
    list(client.stream_text(thread, "x"))
    assert client.thread_read(thread, include_turns=True).thread.turns
    assert client.thread_set_name(thread, "n").model_dump() == {}
    assert [found.name for found in client.thread_list({"limit": 5}).data] == ["n"]
    assert client.thread_resume(thread).thread.id == thread
    fork = client.thread_fork(thread, v2_all.ThreadForkParams(thread_id="", ephemeral=True, exclude_turns=True))
    assert fork.thread.id != thread and fork.thread.ephemeral
    client.thread_archive(thread)
    assert client.thread_unarchive(thread).thread.id == thread
    assert client.thread_compact(client.thread_resume(thread).thread.id).model_dump() == {}
    assert client.model_list(include_hidden=True).data


def test_a_thread_has_a_goal(model: ScriptedModel):
    model.add_config("features.goals = true\n")
    model.fallback("ok")
    with CodexClient(model.config()) as client:
        thread = started(client)
        list(client.stream_text(thread, "x"))
        goal = client.thread_goal_set(thread, objective="done", status=v2_all.ThreadGoalStatus.paused).goal
        assert (goal.objective, goal.status.value) == ("done", "paused")
        assert client.pause_goal(thread).goal.status.value == "paused"
        assert client.thread_goal_clear(thread).model_dump()


@pytest.mark.parametrize("writes", [True, False])
def test_a_folder_stays_untrusted(wire, writes: bool, tmp_path):
    with CodexClient(wire.config) as client:
        sandbox = "workspace-write" if writes else "read-only"
        started(client, cwd=str(tmp_path), sandbox=sandbox)
    projects = wire.last("thread/start").get("config", {}).get("projects", {})
    assert projects == ({str(tmp_path): {"trust_level": "untrusted"}} if writes else {})


@pytest.mark.parametrize("decision", ["accept", "decline"])
def test_an_approval_handler_answers_every_request(model: ScriptedModel, tmp_path, decision: str):
    received: list[tuple[str, Any]] = []

    def handle(method: str, params: Any) -> dict[str, Any]:
        received.append((method, params))
        return {"decision": decision}

    model.reply(ModelReply().escalate(f"touch {tmp_path / 'marker'}", "the test wants it"))
    patch = f"*** Begin Patch\n*** Add File: {tmp_path / 'new'}\n+x\n*** End Patch\n"
    model.reply(ModelReply().apply_patch(patch))
    model.reply("done")
    with CodexClient(model.config(), handle) as client:
        policy = {"approvalPolicy": "on-request", "approvalsReviewer": "user"}
        thread = started(client, sandbox="read-only", cwd=str(tmp_path), **policy)
        list(client.stream_text(thread, "x"))
    assert [method for method, _ in received] == [
        "item/commandExecution/requestApproval",
        "item/fileChange/requestApproval",
    ]
    assert all(params["threadId"] == thread for _, params in received)
    assert (tmp_path / "marker").exists() == (tmp_path / "new").exists() == (decision == "accept")


def test_an_approval_handler_answers_other_requests_whole(model: ScriptedModel):
    model.add_config("features.default_mode_request_user_input = true\n")
    question = {"id": "q", "header": "h", "question": "?", "options": [{"label": "red", "description": "warm"}]}
    model.reply(ModelReply.tool_call("request_user_input", {"questions": [question]}))
    model.reply("done")

    def handle(method: str, params: Any) -> dict[str, Any]:
        assert method == "item/tool/requestUserInput"
        return {"answers": {params["questions"][0]["id"]: {"answers": ["blue"]}}}

    with CodexClient(model.config(), approval_handler=handle) as client:
        list(client.stream_text(started(client), "x"))
    assert "blue" in (model.requests[-1].last_output or "")


def test_without_an_approval_handler_nothing_is_approved(client: CodexClient, model: ScriptedModel, tmp_path):
    model.reply(ModelReply().escalate(f"touch {tmp_path / 'marker'}", "the test wants it"))
    model.reply("done")
    policy = {"approvalPolicy": "on-request", "approvalsReviewer": "user"}
    list(client.stream_text(started(client, sandbox="read-only", **policy), "x"))
    assert not (tmp_path / "marker").exists()


def test_a_login_is_followed_by_its_id(model: ScriptedModel):
    model.add_config("model_providers.scripted.requires_openai_auth = true")
    with CodexClient(model.config()) as client:
        check_logins(client)


def check_logins(client: CodexClient) -> None:
    assert client.account_read().account is None
    login = client.account_login_start(v2_all.LoginAccountParams.model_validate({"type": "chatgpt"})).root
    assert isinstance(login, v2_all.ChatgptLoginAccountResponse)
    client.register_login_notifications(login.login_id)
    assert client.account_login_cancel(login.login_id).status.value == "canceled"
    assert client.next_login_notification(login.login_id).method == "account/login/completed"
    completed = client.wait_for_login_completed(login.login_id)
    assert (completed.login_id, completed.success) == (login.login_id, False)
    with pytest.raises(RuntimeError, match="is not registered"):
        client.next_login_notification(login.login_id)
    assert client.account_login_start({"type": "apiKey", "apiKey": "sk-test"}).root.type == "apiKey"
    assert client.account_read({"refreshToken": False}).account is not None
    assert client.account_logout().model_dump() == {}


def test_any_request_is_made_with_its_model(client: CodexClient):
    response = client.request("model/list", {}, response_model=v2_all.ModelListResponse)
    assert isinstance(response, v2_all.ModelListResponse) and response.data
    retried = client.request_with_retry_on_overload("model/list", {}, response_model=v2_all.ModelListResponse)
    assert retried == response
    with pytest.raises(InvalidRequestError):
        client.request("no/such/method", None, response_model=v2_all.ModelListResponse)


def test_a_closed_client_says_so(model: ScriptedModel):
    client = CodexClient(model.config())
    client.start()
    client.close()
    with pytest.raises(CodexError):
        client.thread_start()


def test_a_client_that_is_dropped_ends_its_runtime(model: ScriptedModel):
    import gc

    from conftest import alive

    client = CodexClient(model.config())
    client.start()
    pid = client._native.runtime_pid
    assert pid is not None and alive(pid)
    del client
    gc.collect()
    while alive(pid):
        pass
