"""How notebooks show results and the progress of turns.

The HTML has no colors, scripts and resources of its own, so it looks right on light and dark pages, and offline.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai_codex._run import TurnResult

# How many characters of a command's output, or of a diff, a page gets.
_LONGEST = 10_000

_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere"
_CODE = f"{_TEXT};font-family:monospace;margin:0"
_NOTE = "opacity:.7"


def result_html(result: TurnResult, value: object = None) -> str:
    """A result: its final response, what ran, which files changed, and how it ended. ``value`` is that of a typed result."""
    parts = []
    if value is not None:
        parts.append(_code(repr(value)))
    elif result.final_response is not None:
        parts.append(f'<div style="{_TEXT}">{escape(result.final_response)}</div>')
    if result.error is not None:
        parts.append(f'<div style="{_TEXT}"><b>error:</b> {escape(result.error.message)}</div>')
    parts += (_item_html(item.root) for item in result.items)
    parts.append(f'<div style="{_NOTE}">{escape(_end(result))}</div>')
    return page(*parts)


def page(*parts: str) -> str:
    """A piece of a page."""
    return f'<div style="color:inherit;background:transparent;text-align:left">{"".join(parts)}</div>'


def progress_html(text: str, doing: str, done: str) -> str:
    """A turn that runs: the text so far, and what it does."""
    shown = f'<div style="{_TEXT}">{escape(text)}</div>' if text else ""
    return page(shown, f'<div style="{_NOTE};{_TEXT}">{escape(doing)}{escape(done)}</div>')


def describe(item: Any) -> str | None:
    """What ran, in a line. None for an item that did nothing. Later runtimes may have other items and fields."""
    match getattr(item, "type", None):
        case "commandExecution":
            return f"$ {getattr(item, 'command', '')}"
        case "mcpToolCall":
            return f"tool {getattr(item, 'server', '')}.{getattr(item, 'tool', '')}"
        case "dynamicToolCall" | "collabAgentToolCall":
            return f"tool {_value(getattr(item, 'tool', ''))}"
        case "webSearch":
            return f"search {getattr(item, 'query', '')}"
        case "fileChange":
            return "; ".join(f"{_kind(change)} {getattr(change, 'path', '')}" for change in _changes(item))
    return None


def _item_html(item: Any) -> str:
    line = describe(item)
    if line is None:
        return ""
    if getattr(item, "type", None) == "fileChange":
        detail = "\n".join(str(getattr(change, "diff", "")) for change in _changes(item))
    else:
        detail = str(getattr(item, "aggregated_output", None) or "")
    head = f'<code style="{_CODE};background:transparent;color:inherit">{escape(line)}</code>'
    note = _outcome(item)
    if note:
        head += f' <span style="{_NOTE}">{escape(note)}</span>'
    if not detail.strip():
        return f"<div>{head}</div>"
    return f"<details><summary>{head}</summary>{_code(detail)}</details>"


def _code(text: str) -> str:
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}\n… {len(text) - _LONGEST} more characters"
    style = f"{_CODE};background:transparent;color:inherit;border-left:2px solid;padding-left:.5em;max-height:20em;overflow:auto"
    return f'<pre style="{style}">{escape(text)}</pre>'


def _outcome(item: Any) -> str:
    """How an item ended, unless it just succeeded."""
    exit_code, status = getattr(item, "exit_code", None), _value(getattr(item, "status", None))
    notes = []
    if exit_code not in (None, 0):
        notes.append(f"exit code {exit_code}")
    elif status not in (None, "completed"):
        notes.append(str(status))
    duration = getattr(item, "duration_ms", None)
    if duration is not None:
        notes.append(f"{duration / 1000:.1f} s")
    return ", ".join(notes)


def _end(result: TurnResult) -> str:
    parts = [str(_value(result.status))]
    if result.duration_ms is not None:
        parts.append(f"{result.duration_ms / 1000:.1f} s")
    if result.usage is not None:
        total = result.usage.total
        parts.append(
            f"{total.total_tokens:,} tokens in this thread: {total.input_tokens:,} in ({total.cached_input_tokens:,} "
            f"cached), {total.output_tokens:,} out"
        )
    return " · ".join(parts)


def _changes(item: Any) -> list[Any]:
    changes = getattr(item, "changes", None)
    return changes if isinstance(changes, list) else []


def _kind(change: Any) -> str:
    kind = getattr(change, "kind", None)
    return str(getattr(getattr(kind, "root", None), "type", "change"))


def _value(member: Any) -> Any:
    """The value of a member of an enumeration."""
    return getattr(member, "value", member)
