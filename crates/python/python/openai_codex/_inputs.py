"""The input of a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openai_codex._annotations import import_late

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai_codex.generated.v2_all import FunctionCallOutputContentItem
    from openai_codex.models import JsonObject


@dataclass(slots=True)
class TextInput:
    """Text of the user."""

    text: str


@dataclass(slots=True)
class ImageInput:
    """An image, by its URL. The URL may contain the data."""

    url: str


@dataclass(slots=True)
class LocalImageInput:
    """An image in a file."""

    path: str


@dataclass(slots=True)
class SkillInput:
    """A skill, with the path of its file."""

    name: str
    path: str


@dataclass(slots=True)
class MentionInput:
    """A mention of something with a path."""

    name: str
    path: str


@dataclass(slots=True)
class ExternalMessage:
    """A message of another agent or tool. The model sees it as a tool's output, not as the user's input.

    It is the whole input of a turn. On a busy thread it joins the running turn.
    """

    tool_name: str
    content: str | Sequence[JsonObject | FunctionCallOutputContentItem]
    namespace: str | None = None


InputItem = TextInput | ImageInput | LocalImageInput | SkillInput | MentionInput
Input = list[InputItem] | InputItem
RunInput = Input | str | ExternalMessage

NativeItem = tuple[str, str, str]


def native_input(input: Input | str) -> list[NativeItem]:
    """The items of the user's input, for the native client."""
    if isinstance(input, list):
        return [_native_item(item) for item in input]
    if isinstance(input, str):
        return [("text", input, "")]
    return [_native_item(input)]


def native_run_input(input: RunInput) -> list[NativeItem] | dict[str, Any]:
    """The input that starts a turn, for the native client."""
    if not isinstance(input, ExternalMessage):
        return native_input(input)
    if not isinstance(input.tool_name, str) or not input.tool_name.strip():
        raise ValueError("the tool_name of an external message is blank")
    content = input.content if isinstance(input.content, str) else list(input.content)
    return {"tool_name": input.tool_name, "namespace": input.namespace, "content": content}


def _native_item(item: object) -> NativeItem:
    match item:
        case TextInput(text):
            return ("text", text, "")
        case ImageInput(url):
            return ("image", url, "")
        case LocalImageInput(path):
            return ("localImage", str(path), "")
        case SkillInput(name, path):
            return ("skill", name, str(path))
        case MentionInput(name, path):
            return ("mention", name, str(path))
    raise TypeError(f"unsupported input item: {type(item)!r}")


import_late(globals())
