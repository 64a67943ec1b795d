"""The fixture `codex_model` for pytest: a scripted model for the real runtime."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from openai_codex._annotations import import_late

if TYPE_CHECKING:
    from openai_codex.testing import ScriptedModel


@pytest.fixture
def codex_model() -> Iterator[ScriptedModel]:
    """A scripted model with its own ``CODEX_HOME``. ``codex_model.config()`` makes a client's configuration."""
    from openai_codex.testing import ScriptedModel

    with ScriptedModel() as model:
        yield model


import_late(globals())
