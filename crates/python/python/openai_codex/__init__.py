"""Drive the Codex agent: threads, turns and streamed items, sync and async."""

from openai_codex._native import __version__

__all__ = ["__version__"]
