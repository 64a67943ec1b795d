"""Test programs offline: a scripted model for the real runtime.

>>> model = ScriptedModel()
>>> model.reply("Hello.")
>>> with Codex(model.config()) as codex:
...     print(codex.thread_start().run("Say hello.").final_response)
Hello.

`openai_codex.pytest_plugin` has a fixture for it.
"""

from __future__ import annotations

from typing import Any

from openai_codex import _native as native
from openai_codex._native import Gate, ModelReply, RecordedRequest
from openai_codex.client import CodexConfig

__all__ = ["Gate", "ModelReply", "RecordedRequest", "ScriptedModel"]


class ScriptedModel(native.ScriptedModel):
    """A model whose replies the test writes. The real runtime connects to it over loopback.

    A request without a queued reply fails with a message that says so.
    """

    def config(self, **changes: Any) -> CodexConfig:
        """Make a configuration with which a client's runtime uses this model and its own ``CODEX_HOME``."""
        env = dict(self.env())
        env["HOME"] = str(self.home / "user")
        env.update(changes.pop("env", None) or {})
        return CodexConfig(env=env, **changes)

    def __enter__(self) -> ScriptedModel:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
