"""The native builder makes what pydantic makes."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import sys
from typing import Any

import pytest
from openai_codex import _native
from openai_codex.generated import v2_all
from pydantic import BaseModel, ValidationError
from random_values import CLASSES, Values, names

MODELS = [name for name in names() if CLASSES[name]["kind"] != "enum"]
ENUMS = [name for name in names() if CLASSES[name]["kind"] == "enum"]

# A default that is not a member of its enumeration makes pydantic warn when it is written.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


def validated(name: str, text: bytes) -> Any:
    """What pydantic makes of it, or its error."""
    try:
        return getattr(v2_all, name).model_validate(json.loads(text))
    except ValidationError as error:
        return error


def built(name: str, text: bytes) -> Any:
    """What the builder makes of it, or its error."""
    try:
        return _native.build(name, text, strict=True)
    except ValidationError as error:
        return error


def assert_same(ours: Any, theirs: Any, text: bytes) -> None:
    assert type(ours) is type(theirs), text
    if isinstance(theirs, ValidationError):
        assert ours.errors(include_url=False) == theirs.errors(include_url=False), text
        return
    assert ours == theirs, text
    assert repr(ours) == repr(theirs), text
    assert_same_state(ours, theirs)
    assert ours.model_dump() == theirs.model_dump(), text
    assert ours.model_dump_json(by_alias=True) == theirs.model_dump_json(by_alias=True), text
    assert ours.model_dump(exclude_unset=True) == theirs.model_dump(exclude_unset=True), text


def assert_same_state(ours: Any, theirs: Any) -> None:
    """Compares everything that an instance holds, and the order of its fields."""
    if isinstance(theirs, list):
        for one, other in zip(ours, theirs, strict=True):
            assert_same_state(one, other)
    elif isinstance(theirs, BaseModel):
        assert type(ours) is type(theirs)
        assert list(vars(ours)) == list(vars(theirs))
        assert ours.model_fields_set == theirs.model_fields_set
        assert ours.model_extra == theirs.model_extra
        assert ours.__pydantic_private__ == theirs.__pydantic_private__
        for one, other in zip(vars(ours).values(), vars(theirs).values(), strict=True):
            assert_same_state(one, other)
    else:
        assert type(ours) is type(theirs)


@pytest.mark.parametrize("name", MODELS)
def test_an_instance_is_what_model_validate_makes(name: str) -> None:
    for seed in range(12):
        values = Values((name, seed))
        text = values.text(values.of_class(name))
        assert_same(built(name, text), validated(name, text), text)


@pytest.mark.parametrize("name", MODELS)
def test_wrong_values_are_what_model_validate_makes_of_them(name: str) -> None:
    for seed in range(12):
        values = Values((name, seed, "wrong"), mistakes=0.05)
        text = values.text(values.of_class(name))
        assert_same(built(name, text), validated(name, text), text)


@pytest.mark.parametrize("name", MODELS)
def test_instances_can_be_pickled_and_copied(name: str) -> None:
    values = Values((name, "pickle"))
    instance = _native.build(name, values.text(values.of_class(name)))
    for other in (pickle.loads(pickle.dumps(instance)), copy.deepcopy(instance), instance.model_copy(deep=True)):
        assert other == instance
        assert other.model_fields_set == instance.model_fields_set
        assert isinstance(other, getattr(v2_all, name))


@pytest.mark.parametrize("name", ENUMS)
def test_members_are_the_class_members(name: str) -> None:
    cls = getattr(v2_all, name)
    for value in CLASSES[name]["values"]:
        assert _native.build(name, json.dumps(value).encode()) is cls(value)


@pytest.mark.parametrize(
    "name",
    ["AgentMessageDeltaNotification", "ItemCompletedNotification", "TurnCompletedNotification", "ThreadListResponse"],
)
def test_the_table_is_enough_for_what_the_server_sends_often(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [(values := Values((name, seed))).text(values.of_class(name)) for seed in range(60)]
    # Objects of these unions need pydantic: no constant distinguishes them.
    unclear = (b"UserInput", b"subAgent", b"custom", b'"image"', b"codexErrorInfo", b"input_image", b"100000000000000")
    samples = [text for text in samples if not any(word in text for word in unclear)]
    assert len(samples) > 10
    for text in samples:
        _native.build(name, text, strict=True)

    def refuse(cls: type, value: object) -> None:
        raise AssertionError(f"pydantic validates {cls.__name__}: {value}")

    monkeypatch.setattr(BaseModel, "model_validate", classmethod(refuse))
    for text in samples:
        _native.build(name, text, strict=True)


@pytest.mark.parametrize(
    "text",
    [
        rb'{"delta":"\ud83d\ude42 \u00e9 \n\\\/","itemId":"i","threadId":"t","turnId":"u"}',
        # The last of two fields with one name counts.
        rb'{"delta":"a","delta":"b","itemId":"i","threadId":"t","turnId":"u"}',
        # The name of the attribute is accepted too, and the name on the wire wins.
        rb'{"delta":"a","item_id":"i","threadId":"t","turnId":"u"}',
        rb'{"delta":"a","item_id":"j","itemId":"i","threadId":"t","turnId":"u"}',
        rb'{"delta":"a","itemId":"i","threadId":"t","turnId":"u","later":' + b"[" * 150 + b"]" * 150 + b"}",
        rb'{"delta":5,"itemId":"i","threadId":"t","turnId":"u"}',
        rb'{"delta":null,"itemId":"i","threadId":"t"}',
        b"[]",
        b"null",
        b' {"delta" : "a" ,\r\n"itemId":\t"i","threadId":"t","turnId":"u" } \n',
    ],
)
def test_unusual_text_is_read_as_python_reads_it(text: bytes) -> None:
    name = "AgentMessageDeltaNotification"
    assert_same(built(name, text), validated(name, text), text)


def test_half_a_pair_of_surrogates_stays_in_the_text() -> None:
    text = rb'{"delta":"a\ud83d","itemId":"i","threadId":"t","turnId":"u"}'
    delta = built("AgentMessageDeltaNotification", text)
    assert delta == validated("AgentMessageDeltaNotification", text)
    assert delta.delta == "a\ud83d"


@pytest.mark.parametrize(
    "number", ["5", "5.0", "5.5", "-0", "0", "1e2", "true", '"5"', '"x"', "9223372036854775807", "1" + "0" * 30]
)
def test_numbers_are_converted_as_pydantic_converts_them(number: str) -> None:
    text = f'{{"id":"t","items":[],"status":"completed","durationMs":{number}}}'.encode()
    assert_same(built("Turn", text), validated("Turn", text), text)
    text = f'{{"limit":{number}}}'.encode()
    assert_same(built("AppsListParams", text), validated("AppsListParams", text), text)


@pytest.mark.parametrize("value", ["-0", "-0.0", "1e400", "0.1", "1" + "0" * 30, '{"a":[1,{"b":null}]}', "[]"])
def test_arbitrary_json_is_what_pythons_parser_makes(value: str) -> None:
    text = f'{{"threadId":"t","turnId":"u","metadata":{value}}}'.encode()
    name = "TurnModerationMetadataNotification"
    ours, theirs = built(name, text), validated(name, text)
    assert repr(ours) == repr(theirs)
    assert repr(ours.metadata) == repr(json.loads(value))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"delta":"a"',
        b'{"delta":"a",}',
        b'{"delta":"a\n"}',
        b'{"delta":"\\x"}',
        b'{"delta":"a"}}',
        b'{"delta":01}',
        b'{"later":tru}',
        b'{"later":[1,]}',
        b'{"later":1.}',
        b'{"later":-}',
        b"{'delta':1}",
    ],
)
def test_malformed_text_is_a_value_error(text: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        _native.build("AgentMessageDeltaNotification", text)


def test_two_instances_share_no_default() -> None:
    text = json.dumps(Values("model").of_class("Model") | {"inputModalities": None}).encode()
    value = {key: part for key, part in json.loads(text).items() if key != "inputModalities"}
    one, other = (_native.build("Model", json.dumps(value).encode()) for _ in range(2))
    assert one.input_modalities == ["text", "image"]
    one.input_modalities.append("sound")
    assert other.input_modalities == ["text", "image"]


def test_an_unknown_class_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no generated class is named `Nothing`"):
        _native.build("Nothing", b"{}")


@pytest.mark.parametrize("name", ["ItemCompletedNotification", "ThreadReadResponse", "ConfigReadResponse", "UserInput"])
def test_damaged_text_is_read_or_refused_as_python_does(name: str) -> None:
    for seed in range(150):
        values = Values((name, seed, "damaged"))
        text = bytearray(values.text(values.of_class(name)))
        for _ in range(values.random.randrange(1, 4)):
            at = values.random.randrange(len(text))
            text[at : at + values.random.randrange(3)] = values.random.choice(
                [
                    b"",
                    b'"',
                    b"\\",
                    b"{",
                    b"}",
                    b"[",
                    b"]",
                    b",",
                    b":",
                    b"0",
                    b"-",
                    b"e",
                    b"null",
                    b"\\u12",
                    b"\x00",
                    b"\xff",
                ]
            )
        damaged = bytes(text)
        try:
            theirs: Any = validated(name, damaged)
        except ValueError:
            with pytest.raises(ValueError):
                _native.build(name, damaged, strict=True)
        else:
            ours = built(name, damaged)
            assert type(ours) is type(theirs), damaged
            if isinstance(theirs, BaseModel):
                assert ours == theirs, damaged


def test_instances_leave_nothing_behind() -> None:
    samples = [(values := Values(("leak", seed))).text(values.of_class("ThreadItem")) for seed in range(40)]
    wrong = [(values := Values(("wrong leak", seed), 0.2)).text(values.of_class("ThreadItem")) for seed in range(40)]

    def build_all() -> None:
        for text in samples:
            _native.build("ThreadItem", text)
        for text in wrong:
            built("ThreadItem", text)

    def counts() -> list[int]:
        gc.collect()
        watched = [v2_all.ThreadItem, v2_all.PlanThreadItem, v2_all.CommandExecutionThreadItem, "agentMessage"]
        return [len(gc.get_objects()), *(sys.getrefcount(one) for one in watched)]

    build_all()
    before = counts()
    for _ in range(20):
        build_all()
    # The test itself keeps a few objects more. One forgotten object per instance would be hundreds.
    assert all(after - earlier < 10 for after, earlier in zip(counts(), before, strict=True))


def test_an_optional_field_is_read_by_its_attribute_too() -> None:
    head = b'{"id":"u","items":[],"status":"completed"'
    for fields in (b',"duration_ms":5}', b',"duration_ms":5,"durationMs":6}', b',"durationMs":6,"duration_ms":5}'):
        assert_same(built("Turn", head + fields), validated("Turn", head + fields), fields)
    assert built("Turn", head + b',"duration_ms":5}').duration_ms == 5


def test_successive_events_share_their_ids() -> None:
    def delta(turn: str) -> Any:
        text = {"delta": "d" * 40, "itemId": "i" * 40, "threadId": "t" * 40, "turnId": turn}
        return _native.build("AgentMessageDeltaNotification", json.dumps(text).encode())

    one, same, other = delta("u1" * 20), delta("u1" * 20), delta("u2" * 20)
    assert one.turn_id is same.turn_id and one.thread_id is other.thread_id
    assert (one.turn_id, other.turn_id) == ("u1" * 20, "u2" * 20)
    assert one.delta is not same.delta
