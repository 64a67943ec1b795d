"""The pydantic models that are not generated. `models` offers them, and imports this module when one is used."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict


class ServerInfo(BaseModel):
    """The name and version of the server."""

    __module__ = "openai_codex.models"

    name: str | None = None
    version: str | None = None


class InitializeResponse(BaseModel):
    """What the server says about itself at the start."""

    __module__ = "openai_codex.models"

    serverInfo: ServerInfo | None = None
    userAgent: str | None = None
    platformFamily: str | None = None
    platformOs: str | None = None


class UnknownVariant(BaseModel):
    """A variant of a union that its classes do not know, for example a kind of item of a later runtime.

    Its attributes are the fields on the wire. `model_extra` has all of them.
    """

    __module__ = "openai_codex.models"

    model_config = ConfigDict(extra="allow")

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
