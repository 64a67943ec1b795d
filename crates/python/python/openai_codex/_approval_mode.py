"""Who decides about actions beyond the sandbox."""

from __future__ import annotations

from enum import Enum


class ApprovalMode(str, Enum):
    """Who decides when an action needs more than the sandbox allows."""

    deny_all = "deny_all"
    """The runtime refuses every such action, without a request."""
    auto_review = "auto_review"
    """A model decides, not this program. If it approves, a command runs outside the sandbox."""
    ask = "ask"
    """Functions of this program decide. What none of them takes is declined."""
