"""The result of a turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openai_codex._annotations import import_late, import_names
from openai_codex._options import additional

if TYPE_CHECKING:
    from openai_codex.errors import CodexError
    from openai_codex.generated.v2_all import (
        ThreadItem,
        ThreadTokenUsage,
        TokenUsageBreakdown,
        Turn,
        TurnError,
        TurnStatus,
    )


@additional("turn_usage")
@dataclass(slots=True)
class TurnResult:
    """The result of a turn that has ended."""

    id: str
    status: TurnStatus
    error: TurnError | None
    started_at: int | None
    completed_at: int | None
    duration_ms: int | None
    final_response: str | None
    """The text of the last agent message with the phase ``final_answer``, or else of the last one without a phase."""
    items: list[ThreadItem]
    """The items that the turn completed, in order."""
    usage: ThreadTokenUsage | None
    """The last token usage that the server reported in the turn: of the whole thread, and of the last model request."""
    turn_usage: TokenUsageBreakdown | None = field(default=None, kw_only=True, repr=False)
    """The token usage of all model requests of the turn. The published package does not have it."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """For programs whose own models have a result. Pydantic looks for the names of annotations in this module."""
        import_names(globals())
        return handler(source)

    def _repr_html_(self) -> str:
        """How a notebook shows the result."""
        from openai_codex._html import result_html

        return result_html(self)


def _assemble(
    turn: Turn | None,
    items: list[ThreadItem],
    usage: ThreadTokenUsage | None,
    turn_usage: TokenUsageBreakdown | None,
    final_response: str | None,
    error: CodexError | None,
) -> TurnResult:
    """Make the result of a turn, or raise its error with the result. The native client calls it."""
    result = None
    if turn is not None:
        result = TurnResult(
            id=turn.id,
            status=turn.status,
            error=turn.error,
            started_at=turn.started_at,
            completed_at=turn.completed_at,
            duration_ms=turn.duration_ms,
            final_response=final_response,
            items=items,
            usage=usage,
            turn_usage=turn_usage,
        )
    if error is not None:
        error.turn = result
        if error.kind == "TurnFailed" and result is not None:
            reason = result.error.message if result.error is not None else ""
            error.args = (reason or "the turn failed, and the server gave no reason",)
        raise error
    if result is None:
        # Only a server that does not keep to the protocol gets here.
        from openai_codex.errors import CodexError

        raise CodexError("the turn ended, but the client cannot read its end")
    return result


import_late(globals())
