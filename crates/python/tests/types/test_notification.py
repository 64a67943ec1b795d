"""Notifications behave as the published package's dataclass."""

from __future__ import annotations

import copy
import dataclasses
import gc
import inspect
import json
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai_codex.generated.v2_all
import openai_codex.models
import openai_codex.types
import pytest
from openai_codex import _native

# The tests also use them in ways that type checkers refuse.
v2_all: Any = openai_codex.generated.v2_all
models: Any = openai_codex.models
types: Any = openai_codex.types

DELTA = "item/agentMessage/delta"
PARAMS = b'{"delta":"d","itemId":"i","threadId":"t","turnId":"u"}'
PAYLOAD = v2_all.AgentMessageDeltaNotification(delta="d", item_id="i", thread_id="t", turn_id="u")


def test_a_notification_has_its_method_and_payload() -> None:
    event: Any = _native.notification(DELTA, PARAMS)
    assert isinstance(event, types.Notification)
    assert event.method == DELTA
    assert event.payload == PAYLOAD
    assert event.payload is event.payload
    assert event == models.Notification(method=DELTA, payload=PAYLOAD)
    assert event == models.Notification(DELTA, PAYLOAD)
    assert event != models.Notification("other", PAYLOAD)
    assert event != models.Notification(DELTA, models.UnknownNotification({}))
    assert event != (DELTA, PAYLOAD)
    assert repr(event) == f"Notification(method={DELTA!r}, payload={PAYLOAD!r})"


def test_it_is_a_dataclass() -> None:
    event: Any = _native.notification(DELTA, PARAMS)
    assert bool(dataclasses.is_dataclass(event))
    assert [field.name for field in dataclasses.fields(event)] == ["method", "payload"]
    assert dataclasses.asdict(event) == {"method": DELTA, "payload": PAYLOAD}
    assert dataclasses.replace(event, method="other") == models.Notification("other", PAYLOAD)
    assert models.Notification.__match_args__ == ("method", "payload")
    assert list(inspect.signature(models.Notification).parameters) == ["method", "payload"]


def test_it_is_mutable_and_unhashable_and_has_slots() -> None:
    event: Any = _native.notification(DELTA, PARAMS)
    event.method, event.payload = "other", None
    assert (event.method, event.payload) == ("other", None)
    with pytest.raises(TypeError, match="unhashable"):
        hash(event)
    with pytest.raises(AttributeError):
        event.later = 1
    with pytest.raises(TypeError, match="payload"):
        models.Notification("method")


def test_it_can_be_matched() -> None:
    match _native.notification(DELTA, PARAMS):
        case models.Notification(method, v2_all.AgentMessageDeltaNotification(delta=delta)):
            assert (method, delta) == (DELTA, "d")
        case _:
            pytest.fail("it is a delta")


def test_it_can_be_pickled_and_copied() -> None:
    event: Any = _native.notification(DELTA, PARAMS)
    for other in (pickle.loads(pickle.dumps(event)), copy.copy(event), copy.deepcopy(event)):
        assert other == event
        assert type(other) is models.Notification


def test_an_unknown_method_has_its_parameters() -> None:
    event: Any = _native.notification("later/new", b'{"a":[1,null]}')
    assert event.payload == models.UnknownNotification(params={"a": [1, None]})
    assert event.payload.params == {"a": [1, None]}


def test_unknown_values_make_the_payload_unknown() -> None:
    params = {"item": {"type": "later", "a": 1}, "threadId": "t", "turnId": "u", "completedAtMs": 1}
    event: Any = _native.notification("item/completed", json.dumps(params).encode())
    assert event.payload == models.UnknownNotification(params)
    turn = {"id": "u", "items": [], "status": "later"}
    params = {"threadId": "t", "turn": turn}
    event = _native.notification("turn/completed", json.dumps(params).encode())
    assert event.payload == models.UnknownNotification(params)


def test_converted_values_make_a_known_payload() -> None:
    event: Any = _native.notification(
        "turn/completed", b'{"threadId":"t","turn":{"id":"u","items":[],"status":"failed","durationMs":"5"}}'
    )
    assert isinstance(event.payload, types.TurnCompletedNotification)
    assert event.payload.turn.duration_ms == 5


@pytest.mark.parametrize("params", [b"null", b"[1]", b'"text"', b"", b"{broken"])
def test_parameters_that_are_not_an_object_count_as_an_empty_one(params: bytes) -> None:
    assert _native.notification("later/new", params).payload == models.UnknownNotification({})
    assert _native.notification(DELTA, params).payload == models.UnknownNotification({})
    if params != b"{broken":
        payload = _native.notification("skills/changed", params).payload
        assert payload == v2_all.SkillsChangedNotification()


def test_the_text_of_the_parameters_stays_within_reach() -> None:
    text = PARAMS[:-1] + b',"later":1}'
    event: Any = _native.notification(DELTA, text)
    assert event.payload == PAYLOAD
    assert event.raw_params == text
    assert models.Notification(DELTA, PAYLOAD).raw_params is None


def test_readers_in_several_threads_get_one_payload() -> None:
    events = [_native.notification(DELTA, PARAMS) for _ in range(200)]
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda index: events[index % 200].payload, range(800)))
    assert all(payload is events[index % 200].payload for index, payload in enumerate(seen))


def test_a_cycle_through_a_notification_is_collected() -> None:
    class Holder:
        pass

    holder: Any = Holder()
    event = models.Notification("method", holder)
    holder.event = event
    alive = weakref.ref(holder)
    del holder, event
    gc.collect()
    assert alive() is None
