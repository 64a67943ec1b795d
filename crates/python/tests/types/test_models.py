"""Models behave as those of the published package, also where that surprises."""

from __future__ import annotations

import base64
import pickle
from typing import Any

import openai_codex.generated.v2_all
import openai_codex.types
import pytest
from openai_codex import _native, models
from pydantic import BaseModel, TypeAdapter, ValidationError

# pyright: reportInvalidTypeForm=false
# The tests also use them in ways that type checkers refuse.
v2_all: Any = openai_codex.generated.v2_all
types: Any = openai_codex.types

# A default that is not a member of its enumeration makes pydantic warn when it is written, as in the published package.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")

TURN = b'{"id":"u","items":[{"type":"plan","id":"p","text":"t"}],"status":"completed"}'


def turn(**fields: Any) -> v2_all.Turn:
    return v2_all.Turn(**{"id": "u", "items": [], "status": "completed"} | fields)


def test_an_item_is_a_root_model() -> None:
    item = _native.build("Turn", TURN).items[0]
    assert isinstance(item, types.ThreadItem)
    assert isinstance(item.root, v2_all.PlanThreadItem)
    assert item.root.text == "t"
    with pytest.raises(AttributeError):
        _ = item.text


def test_unknown_fields_are_dropped() -> None:
    built = _native.build("Turn", TURN[:-1] + b',"later":1}')
    assert "later" not in built.model_dump()
    assert built.model_extra is None and built.__pydantic_extra__ is None
    with pytest.raises(AttributeError):
        _ = built.later


def test_two_models_keep_unknown_fields_and_fifteen_refuse_them() -> None:
    config = _native.build("Config", b'{"later":{"a":1}}')
    assert config.model_extra == {"later": {"a": 1}}
    assert config.later == {"a": 1}
    assert _native.build("Config", b"{}").model_extra == {}
    with pytest.raises(ValidationError, match="extra_forbidden"):
        _native.build("CustomMultiAgentMode", b'{"custom":"a","later":1}')
    allow = [name for name in v2_all.__all__ if extra(name) == "allow"]
    forbid = [name for name in v2_all.__all__ if extra(name) == "forbid"]
    assert (len(allow), len(forbid)) == (2, 15)


def extra(name: str) -> object:
    cls = getattr(v2_all, name)
    return cls.model_config.get("extra") if issubclass(cls, BaseModel) else None


def test_four_enumerations_are_open_and_are_strings() -> None:
    for name in ("CodexErrorInfoValue", "PlanType", "ReasoningEffort", "ThreadSource"):
        cls = getattr(v2_all, name)
        one, other = cls("new"), cls("new")
        assert one == other and one is not other and hash(one) == hash(other)
        assert one == "new" and one.value == "new" and one.name == "new"
        assert isinstance(one, cls) and isinstance(one, str)
        assert _native.build(name, b'"new"') == one
    with pytest.raises(ValueError, match="is not a valid"):
        types.PlanType("")
    assert types.ThreadSource("") == ""


def test_other_enumerations_are_closed_and_are_not_strings() -> None:
    assert (types.TurnStatus.completed == "completed") is False
    with pytest.raises(ValueError, match="is not a valid TurnStatus"):
        types.TurnStatus("new")
    with pytest.raises(ValidationError):
        v2_all.Turn.model_validate({"id": "u", "items": [], "status": "new"})


def test_the_text_of_a_member_is_its_name() -> None:
    assert str(types.ReasoningEffort.high) == "ReasoningEffort.high"
    assert str(types.TurnStatus.in_progress) == "TurnStatus.in_progress"
    assert types.TurnStatus.in_progress.value == "inProgress"
    assert v2_all.HookExecutionMode.async_.value == "async"


def test_attributes_are_snake_case_except_in_initialize_response() -> None:
    delta = v2_all.AgentMessageDeltaNotification(delta="d", itemId="i", threadId="t", turnId="u")
    assert delta.item_id == "i"
    with pytest.raises(AttributeError):
        _ = delta.itemId
    metadata = types.InitializeResponse.model_validate({"userAgent": "a", "serverInfo": {"name": "n"}})
    assert (metadata.userAgent, metadata.platformOs) == ("a", None)
    assert metadata.serverInfo == models.ServerInfo(name="n")


def test_dumps_have_attributes_or_names_on_the_wire() -> None:
    delta = v2_all.AgentMessageDeltaNotification(delta="d", item_id="i", thread_id="t", turn_id="u")
    assert list(delta.model_dump()) == ["delta", "item_id", "thread_id", "turn_id"]
    assert list(delta.model_dump(by_alias=True)) == ["delta", "itemId", "threadId", "turnId"]
    assert delta == v2_all.AgentMessageDeltaNotification(delta="d", itemId="i", threadId="t", turnId="u")


def test_models_are_mutable_and_unhashable_and_equal_by_value() -> None:
    one, other = _native.build("Turn", TURN), _native.build("Turn", TURN)
    assert one == other and one is not other
    one.duration_ms = 5
    assert one != other
    assert one.model_fields_set == {"id", "items", "status", "duration_ms"}
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_fields_set_holds_what_came() -> None:
    built = _native.build("Turn", TURN[:-1] + b',"error":null}')
    assert built.model_fields_set == {"id", "items", "status", "error"}
    assert built.model_dump(exclude_unset=True).keys() == {"id", "items", "status", "error"}


def test_values_are_converted_as_pydantic_does() -> None:
    text = b'{"last":{"cachedInputTokens":"5","inputTokens":5.0,"outputTokens":true,"reasoningOutputTokens":0,"totalTokens":1},'
    text += (
        b'"total":{"cachedInputTokens":0,"inputTokens":0,"outputTokens":0,"reasoningOutputTokens":0,"totalTokens":0}}'
    )
    last = _native.build("ThreadTokenUsage", text).last
    assert (last.cached_input_tokens, last.input_tokens, last.output_tokens) == (5, 5, 1)
    assert type(last.input_tokens) is int and last.cache_write_input_tokens == 0
    with pytest.raises(ValidationError, match="string_type"):
        _native.build("Turn", b'{"id":5,"items":[],"status":"completed"}')


def test_the_default_of_items_view_is_a_string() -> None:
    assert turn().items_view == "full"
    assert _native.build("Turn", TURN).items_view == "full"
    assert type(_native.build("Turn", TURN).items_view) is str


def test_models_can_be_matched() -> None:
    match _native.build("Turn", TURN).items[0].root:
        case v2_all.AgentMessageThreadItem():
            pytest.fail("it is a plan")
        case v2_all.PlanThreadItem(text=text, id=id):
            assert (text, id) == ("t", "p")
        case _:
            pytest.fail("it is a plan")


def test_models_are_parts_of_a_programs_own_models() -> None:
    class Report(BaseModel):
        turn: types.Turn
        status: types.TurnStatus

    report = Report(turn=_native.build("Turn", TURN), status="failed")
    assert Report.model_validate_json(report.model_dump_json()).status is types.TurnStatus.failed
    assert TypeAdapter(list[types.Turn]).validate_json(b"[" + TURN + b"]") == [report.turn]
    assert "ThreadItem" in Report.model_json_schema()["$defs"]

    class Mine(v2_all.Turn):  # type: ignore[misc]
        note: str = ""

    assert Mine.model_validate_json(TURN).note == ""
    assert Mine.model_config["populate_by_name"] is True and "defer_build" not in Mine.model_config


# Made by the published package: pickles of its models, which programs may have stored.
PICKLES = {
    "notification": "gASVRQEAAAAAAACME29wZW5haV9jb2RleC5tb2RlbHOUjAxOb3RpZmljYXRpb26Uk5QpgZROfZQojAZtZXRob2SUjBdpdGVtL2FnZW50TWVzc2FnZS9kZWx0YZSMB3BheWxvYWSUjB1vcGVuYWlfY29kZXguZ2VuZXJhdGVkLnYyX2FsbJSMHUFnZW50TWVzc2FnZURlbHRhTm90aWZpY2F0aW9ulJOUKYGUfZQojAhfX2RpY3RfX5R9lCiMBWRlbHRhlIwBeJSMB2l0ZW1faWSUjAFplIwJdGhyZWFkX2lklIwBdJSMB3R1cm5faWSUjAF1lHWMEl9fcHlkYW50aWNfZXh0cmFfX5ROjBdfX3B5ZGFudGljX2ZpZWxkc19zZXRfX5SPlChoD2gVaBNoEZCMFF9fcHlkYW50aWNfcHJpdmF0ZV9flE51YnWGlGIu",
    "unknown": "gASVSwAAAAAAAACME29wZW5haV9jb2RleC5tb2RlbHOUjBNVbmtub3duTm90aWZpY2F0aW9ulJOUKYGUTn2UjAZwYXJhbXOUfZSMAWGUSwFzc4aUYi4=",
    "turn": "gASVqQEAAAAAAACMHW9wZW5haV9jb2RleC5nZW5lcmF0ZWQudjJfYWxslIwEVHVybpSTlCmBlH2UKIwIX19kaWN0X1+UfZQojAxjb21wbGV0ZWRfYXSUTowLZHVyYXRpb25fbXOUTowFZXJyb3KUTowCaWSUjAExlIwFaXRlbXOUXZRoAIwKVGhyZWFkSXRlbZSTlCmBlH2UKGgFfZSMBHJvb3SUaACMDlBsYW5UaHJlYWRJdGVtlJOUKYGUfZQoaAV9lChoCowBcJSMBHRleHSUjAF0lIwEdHlwZZSMBHBsYW6UdYwSX19weWRhbnRpY19leHRyYV9flE6MF19fcHlkYW50aWNfZmllbGRzX3NldF9flI+UKGgaaApoHJCMFF9fcHlkYW50aWNfcHJpdmF0ZV9flE51YnNoH4+UKGgTkHViYYwKaXRlbXNfdmlld5SMBGZ1bGyUjAxyb290X3R1cm5faWSUTowKc3RhcnRlZF9hdJROjAZzdGF0dXOUaACMClR1cm5TdGF0dXOUk5SMBmZhaWxlZJSFlFKUdWgeTmgfj5QoaCdoDGgKkGghTnViLg==",
    "effort": "gASVPwAAAAAAAACMHW9wZW5haV9jb2RleC5nZW5lcmF0ZWQudjJfYWxslIwPUmVhc29uaW5nRWZmb3J0lJOUjANuZXeUhZRSlC4=",
    "status": "gASVPQAAAAAAAACMHW9wZW5haV9jb2RleC5nZW5lcmF0ZWQudjJfYWxslIwKVHVyblN0YXR1c5STlIwGZmFpbGVklIWUUpQu",
}


def test_pickles_of_the_published_package_are_read() -> None:
    read = {name: pickle.loads(base64.b64decode(text)) for name, text in PICKLES.items()}
    payload = v2_all.AgentMessageDeltaNotification(delta="x", item_id="i", thread_id="t", turn_id="u")
    assert read["notification"] == models.Notification("item/agentMessage/delta", payload)
    assert read["unknown"] == models.UnknownNotification({"a": 1})
    plan = {"type": "plan", "id": "p", "text": "t"}
    assert read["turn"] == v2_all.Turn(id="1", items=[plan], status="failed")
    assert read["effort"] == types.ReasoningEffort("new")
    assert read["status"] is types.TurnStatus.failed
