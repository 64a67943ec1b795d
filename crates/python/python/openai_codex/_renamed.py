"""Old names of classes."""

from __future__ import annotations

import warnings
from typing import Any


def renamed(module: dict[str, Any], names: dict[str, str], name: str) -> Any:
    """What a module has under the new name of an old one. For its ``__getattr__``."""
    new = names.get(name)
    where = module["__name__"]
    if new is None:
        raise AttributeError(f"module {where!r} has no attribute {name!r}")
    warnings.warn(f"{where}.{name} is now {where}.{new}", DeprecationWarning, stacklevel=3)
    return module[new]
