"""The native client. Only this package uses it."""

from typing import Any

from .models import Notification as Notification

__version__: str

def build(class_name: str, json: bytes, *, strict: bool = False) -> Any: ...
def describe_class(name: str) -> tuple[Any, ...] | None: ...
def notification(method: str, params: bytes) -> Notification: ...
