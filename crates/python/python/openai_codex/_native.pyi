"""The native client. Only this package uses it."""

from typing import Any

__version__: str

def build(class_name: str, json: bytes) -> Any: ...
def notification(method: str, params: bytes) -> Any: ...
