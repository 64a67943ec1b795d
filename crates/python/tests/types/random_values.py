"""Random JSON values of the generated classes, made from the vendored facts."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

FACTS = json.loads((Path(__file__).parents[4] / "protocol" / "python.json").read_text())
CLASSES = FACTS["classes"]
# Below this depth, what may be left out is left out.
DEPTH = 5

TEXTS = ["", "a", "th_1", "line\nline", 'quote " and \\', "täxt 🙂", "\u2028", "null", "5", "a" * 300]
NUMBERS = [0, 1, 7, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
JSON = [None, True, "x", 1, -0.5, 1e300, [], {}, [1, "a", None], {"b": {"a": [1.5]}}, 10**30]


class Values:
    """A source of values with a fixed seed."""

    def __init__(self, seed: object, mistakes: float = 0.0, later: float = 0.0) -> None:
        self.random = random.Random(f"{seed}")
        # How often a value is not as its type says.
        self.mistakes = mistakes
        # How often a value or a variant is one of a later runtime.
        self.later = later
        # How many of those there are.
        self.laters = 0

    def is_later(self) -> bool:
        is_later = self.random.random() < self.later
        self.laters += is_later
        return is_later

    def later_variant(self) -> dict[str, Any]:
        fields = {"type": "aLaterOne", "kind": "aLaterOne", "mode": "aLaterOne", "later": [1, {"a": None}]}
        return fields | {"method": "a/later/one"}

    def of_class(self, name: str, depth: int = 0) -> Any:
        facts = CLASSES[name]
        if facts["kind"] == "enum":
            if self.is_later():
                return "a later value"
            if facts.get("open") and self.random.random() < 0.2:
                return "something new"
            return self.random.choice(facts["values"])
        if facts["kind"] == "root":
            if is_open(facts["of"]) and self.is_later():
                return self.later_variant()
            if facts["of"].startswith("'") and self.is_later():
                return "a later value"
            return self.of_type(facts["of"], depth)
        value = {}
        for field in facts["fields"]:
            may_be_left_out = field.get("optional") or "default" in field
            if may_be_left_out and self.random.random() < (0.9 if depth > DEPTH else 0.4):
                continue
            value[field["name"]] = self.of_type(field["type"], depth + 1)
        if facts.get("extra") != "forbid" and self.random.random() < 0.1:
            value["aFieldOfLater"] = self.random.choice(JSON)
        entries = list(value.items())
        if self.random.random() < 0.3:
            self.random.shuffle(entries)
        return dict(entries)

    def of_type(self, text: str, depth: int) -> Any:
        if self.random.random() < self.mistakes:
            return self.random.choice([None, 5, "5", 5.0, True, 1.5, [], {}, {"type": "new"}, "new", [{}]])
        if text.endswith("?"):
            if self.random.random() < (0.9 if depth > DEPTH else 0.3):
                return None
            return self.of_type(text[:-1].removeprefix("(").removesuffix(")"), depth)
        if " | " in text:
            return self.of_type(self.random.choice(text.split(" | ")), depth)
        if text in CLASSES:
            return self.of_class(text, depth)
        if text.startswith("'"):
            return text[1:-1]
        if text == "[]":
            return [self.random.choice(JSON) for _ in range(self.random.randrange(3))]
        if text.startswith("["):
            return [self.of_type(text[1:-1], depth + 1) for _ in range(self.length(depth))]
        if text.startswith("{"):
            keys = self.random.sample(TEXTS, self.length(depth))
            return {key: self.of_type(text[1:-1], depth + 1) for key in keys}
        if text == "string":
            return self.random.choice(TEXTS)
        if text == "bool":
            return self.random.random() < 0.5
        if text.startswith("int"):
            minimum = int(text.partition(">=")[2] or -(2**63))
            return max(minimum, self.random.choice(NUMBERS))
        return {"any": self.random.choice(JSON), "null": None}[text]

    def length(self, depth: int) -> int:
        return 0 if depth > DEPTH else self.random.randrange(3)

    def text(self, value: Any) -> bytes:
        """The value as JSON, in one of the ways to write it."""
        is_ascii = self.random.random() < 0.5
        separators = (",", ":") if self.random.random() < 0.5 else (" , ", " :\n")
        return json.dumps(value, ensure_ascii=is_ascii, separators=separators).encode()


def is_open(text: str) -> bool:
    """Whether a later runtime may have more variants: of several models, or of one that has a constant."""
    objects = [CLASSES[part] for part in text.split(" | ") if part in CLASSES and CLASSES[part]["kind"] == "object"]
    if "{" in text or not objects:
        return False
    return " | " in text or any(field["type"].startswith("'") for field in objects[0]["fields"])


@cache
def names() -> list[str]:
    """The names of all classes."""
    return sorted(CLASSES)
