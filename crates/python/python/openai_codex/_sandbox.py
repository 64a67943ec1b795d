"""What commands may do without an approval."""

from __future__ import annotations

from enum import Enum


class Sandbox(str, Enum):
    """What the agent's commands may do without an approval."""

    read_only = "read-only"
    """Commands read what the user can read. They write nothing and use no network."""
    workspace_write = "workspace-write"
    """Commands also write to the thread's folder and to temporary folders. They use no network."""
    full_access = "full-access"
    """Commands run without a sandbox, with the user's permissions."""
