"""A response with kinds and values of a later runtime is read, and nothing of them is lost."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from typing import Any

import pytest
from openai_codex import _native, models, types
from openai_codex.generated import v2_all
from pydantic import ValidationError
from random_values import CLASSES, Values, names

LATER = {"type": "later", "id": "i", "parts": [{"a": 1}]}
TURN: dict[str, Any] = {
    "id": "u",
    "items": [LATER, {"type": "plan", "id": "p", "text": "t"}],
    "status": "paused",
    "itemsView": "full",
}


def build(name: str, value: Any) -> Any:
    return _native.build(name, json.dumps(value).encode())


def test_an_unknown_item_keeps_its_json() -> None:
    turn = build("Turn", TURN)
    later, plan = turn.items
    assert isinstance(later, types.ThreadItem)
    assert isinstance(later.root, models.UnknownVariant)
    assert (later.root.type, later.root.parts) == ("later", [{"a": 1}])
    assert later.root.model_extra == LATER
    assert isinstance(plan.root, v2_all.PlanThreadItem)


def test_an_unknown_value_is_a_member() -> None:
    status = build("Turn", TURN).status
    assert isinstance(status, types.TurnStatus)
    assert (status.name, status.value, str(status)) == ("paused", "paused", "TurnStatus.paused")
    assert status is build("Turn", TURN).status
    assert status not in list(types.TurnStatus)
    assert status != types.TurnStatus.completed
    assert {status: 1}[status] == 1


def test_it_is_written_as_it_was_read_without_a_warning() -> None:
    turn = build("Turn", TURN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert json.loads(turn.model_dump_json(by_alias=True, exclude_unset=True)) == TURN
        assert turn.model_dump(mode="json", by_alias=True, exclude_unset=True) == TURN
        assert turn.model_dump()["items"][0] == LATER


def test_it_can_be_pickled_and_copied() -> None:
    turn = build("Turn", TURN)
    for other in (pickle.loads(pickle.dumps(turn)), copy.deepcopy(turn), turn.model_copy(deep=True)):
        assert other == turn
        assert other.status is turn.status


def test_the_unions_of_strings_and_objects_keep_both() -> None:
    assert build("AskForApproval", "later").root.value == "later"
    root = build("AskForApproval", {"later": {"a": 1}}).root
    assert root == models.UnknownVariant(later={"a": 1})
    assert build("SessionSource", "later").root.value == "later"
    assert build("UserInput", {"type": "later"}).root.type == "later"
    assert build("ReasoningSummary", "later").root.value == "later"
    assert build("ReasoningSummary", "none").root == "none"


def test_values_beside_it_are_converted_as_always() -> None:
    turn = build("Turn", TURN | {"durationMs": "5"})
    assert turn.duration_ms == 5
    assert turn.items[0].root.type == "later"


def test_other_differences_stay_errors() -> None:
    broken_plan = {"type": "plan", "id": 5}
    for value in (
        TURN | {"id": 5},
        {"items": [LATER]},
        TURN | {"items": [5]},
        TURN | {"status": 5},
        TURN | {"items": [LATER, broken_plan]},
    ):
        with pytest.raises(ValidationError):
            build("Turn", value)
    with pytest.raises(ValidationError):
        build("AskForApproval", {"granular": {"rules": "later"}})


def test_values_that_the_program_validates_are_closed() -> None:
    with pytest.raises(ValidationError):
        v2_all.Turn.model_validate(TURN)
    with pytest.raises(ValidationError):
        _native.build("Turn", json.dumps(TURN).encode(), strict=True)


def test_the_json_schema_does_not_mention_it() -> None:
    schema = types.ThreadItem.model_json_schema()
    assert len(schema["anyOf"]) == 19
    assert "UnknownVariant" not in json.dumps(schema)


def test_a_match_over_kinds_of_items_reaches_the_rest() -> None:
    seen = []
    for item in build(
        "Turn", TURN | {"items": [*TURN["items"], {"type": "agentMessage", "id": "a", "text": "x"}]}
    ).items:
        match item.root:
            case v2_all.AgentMessageThreadItem(text=text):
                seen.append(text)
            case v2_all.PlanThreadItem(id=id):
                seen.append(id)
            case other:
                seen.append(other.type)
    assert seen == ["later", "p", "x"]


@pytest.mark.parametrize("name", names())
def test_nothing_of_a_later_runtime_is_lost(name: str) -> None:
    for seed in range(12):
        values = Values((name, seed, "later"), later=0.3)
        value = values.of_class(name)
        built = build(name, value)
        if not values.laters or CLASSES[name]["kind"] == "enum":
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("error")
            written = json.loads(built.model_dump_json(by_alias=True, exclude_unset=True))
            assert written == without_dropped(value)
            assert built.model_dump(mode="json", by_alias=True, exclude_unset=True) == written
        assert pickle.loads(pickle.dumps(built)) == built


def without_dropped(value: Any) -> Any:
    """The value without the fields that classes drop."""
    if isinstance(value, list):
        return [without_dropped(part) for part in value]
    if isinstance(value, dict):
        return {key: without_dropped(part) for key, part in value.items() if key != "aFieldOfLater"}
    return value
