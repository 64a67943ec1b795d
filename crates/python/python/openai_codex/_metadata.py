"""The metadata of a runtime."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai_codex.models import InitializeResponse


def initialize_response(text: str) -> InitializeResponse:
    """Make the metadata from the response to ``initialize``, as JSON.

    The runtime sends its version in the user agent only. The name and the version of the server are read from there.
    """
    from openai_codex.models import InitializeResponse

    fields: dict[str, Any] = json.loads(text)
    server = fields.get("serverInfo") or {}
    name, version = _split(fields.get("userAgent") or "")
    fields["serverInfo"] = {"name": server.get("name") or name, "version": server.get("version") or version}
    return InitializeResponse.model_validate(fields)


def _split(user_agent: str) -> tuple[str | None, str | None]:
    """The name and the version of ``NAME/VERSION …``."""
    parts = re.split(r"[/\s]", user_agent.strip(), maxsplit=1)
    name, version = [*parts, "", ""][:2]
    return name.strip() or None, version.strip() or None
