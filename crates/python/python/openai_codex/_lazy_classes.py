"""Makes the classes of `generated.v2_all` from the native module's table, each when it is first used."""

from __future__ import annotations

import enum
import os
import threading
import types
from typing import Any

from . import _native

# One thread makes classes at a time. A class is made after the classes that it mentions, by the same thread.
_lock = threading.RLock()


def _acquire_lock() -> None:
    """Waits until no thread makes classes. It imports modules, and a fork would have the locks of half-imported modules."""
    _lock.acquire()


def _release_lock() -> None:
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire_lock, after_in_parent=_release_lock, after_in_child=_release_lock)


def make_class(name: str, namespace: dict[str, Any]) -> type:
    """Makes a class and keeps it in the module's namespace."""
    with _lock:
        if name not in namespace:
            description = _native.describe_class(name)
            if description is None:
                raise AttributeError(f"the native module does not know the class {name!r}")
            kind, *parts = description
            namespace[name] = _MAKERS[kind](name, namespace["__name__"], *parts)
        made: type = namespace[name]
        return made


def _model(name: str, module: str, extra: str | None, fields: list[Any]) -> type:
    from typing import Annotated

    from pydantic import BaseModel, Field

    config: dict[str, Any] = {} if extra is None else {"extra": extra}
    config |= {"populate_by_name": True, "defer_build": True}
    annotations: dict[str, Any] = {}
    body: dict[str, Any] = {"__module__": module, "__qualname__": name, "__annotations__": annotations}
    for attribute, annotation, alias, minimum, required, default in fields:
        if alias is not None and minimum is not None:
            annotation = Annotated[annotation, Field(alias=alias, ge=minimum)]
        elif alias is not None:
            annotation = Annotated[annotation, Field(alias=alias)]
        elif minimum is not None:
            annotation = Annotated[annotation, Field(ge=minimum)]
        annotations[attribute] = annotation
        if not required:
            body[attribute] = default
    body["model_config"] = config
    return _finish(types.new_class(name, (BaseModel,), exec_body=lambda namespace: namespace.update(body)))


def _root(name: str, module: str, annotation: Any, minimum: int | None, openness: str | None) -> type:
    from typing import Annotated

    from pydantic import Field, RootModel

    if minimum is not None:
        annotation = Annotated[annotation, Field(ge=minimum)]
    body: dict[str, Any] = {
        "__module__": module,
        "__qualname__": name,
        "__annotations__": {"root": annotation},
        "model_config": {"populate_by_name": True, "defer_build": True},
    }
    if openness is not None:
        schema = _union_schema if openness == "union" else _open_schema
        body["__get_pydantic_core_schema__"] = classmethod(schema)
    return _finish(types.new_class(name, (RootModel,), exec_body=lambda namespace: namespace.update(body)))


def _finish(cls: Any) -> type:
    """Takes back that the class is built late: classes that programs derive from it are built at once."""
    del cls.model_config["defer_build"]
    made: type = cls
    return made


def _union_schema(cls: Any, source: Any, handler: Any) -> Any:
    """Lets a union also hold an `UnknownVariant`, which the client puts there. Values do not become one."""
    from pydantic_core import core_schema

    from .models import UnknownVariant

    schema = handler(source)
    union = schema
    while union["type"] != "union":
        union = union["schema"]
    union["choices"].append(
        core_schema.is_instance_schema(
            UnknownVariant,
            serialization=core_schema.plain_serializer_function_ser_schema(
                _dump_unknown, info_arg=True, is_field_serializer=False
            ),
            metadata={"pydantic_js_functions": [_leave_out]},
        )
    )
    return schema


def _open_schema(cls: Any, source: Any, handler: Any) -> Any:
    """Lets a model around one known alternative also write what the client puts there of a later runtime."""
    from pydantic_core import core_schema

    schema = handler(source)
    root = schema
    while not root.get("root_model"):
        root = root["schema"]
    inner = root["schema"]
    root["schema"] = {
        **inner,
        "serialization": core_schema.wrap_serializer_function_ser_schema(_dump_open, info_arg=True, schema=inner),
    }
    return schema


def _dump_open(value: Any, handler: Any, info: Any) -> Any:
    from .models import UnknownVariant

    if isinstance(value, UnknownVariant):
        return value.model_dump(mode=info.mode)
    # A value of an enumeration is written as it is, a known variant as its class says.
    return value if isinstance(value, str) else handler(value)


def _dump_unknown(value: Any, info: Any) -> Any:
    return value.model_dump(mode=info.mode)


def _leave_out(_schema: Any, _handler: Any) -> Any:
    """Leaves a part out of the JSON schema."""
    from pydantic_core import PydanticOmit

    raise PydanticOmit


def _enumeration(name: str, module: str, members: list[tuple[str, str]], takes_empty: bool | None) -> type:
    def body(namespace: Any) -> None:
        namespace["__module__"] = module
        namespace["__qualname__"] = name
        for member, value in members:
            namespace[member] = value
        if takes_empty is None:
            namespace["__reduce_ex__"] = _reduce_member
        else:
            namespace["_missing_"] = classmethod(_missing if takes_empty else _missing_unless_empty)

    bases = (enum.Enum,) if takes_empty is None else (str, enum.Enum)
    return types.new_class(name, bases, exec_body=body)


def _missing(cls: Any, value: object) -> Any:
    if not isinstance(value, str):
        return None
    member: Any = str.__new__(cls, value)
    member._name_ = value
    member._value_ = value
    return member


def _missing_unless_empty(cls: Any, value: object) -> Any:
    return _missing(cls, value) if value else None


def convert_field(cls: Any, attribute: str, value: Any) -> Any:
    """A field's value as pydantic takes it, for a model that cannot be validated as a whole."""
    from typing import Annotated

    from pydantic import TypeAdapter

    field = cls.model_fields[attribute]
    parts: Any = (field.annotation, *field.metadata, None)
    annotation: Any = Annotated[parts]
    return TypeAdapter(annotation).validate_python(value)


def unknown_member(cls: Any, value: str) -> Any:
    """A member for a value that the enumeration does not have. Two of the same value are equal."""
    kept = _UNKNOWN.setdefault(cls, {})
    if value not in kept:
        member: Any = object.__new__(cls)
        member._name_ = value
        member._value_ = value
        kept[value] = member
    return kept[value]


# The members that `unknown_member` made. They are singletons, as other members are.
_UNKNOWN: dict[Any, dict[str, Any]] = {}


def _reduce_member(self: Any, protocol: int) -> Any:
    unknown = _UNKNOWN.get(type(self), {})
    if self.value in unknown and unknown[self.value] is self:
        return unknown_member, (type(self), self.value)
    return enum.Enum.__reduce_ex__(self, protocol)


# With what these mention, the classes of a usual turn.
_USUAL = (
    "AccountRateLimitsUpdatedNotification",
    "AgentMessageDeltaNotification",
    "ItemCompletedNotification",
    "ItemStartedNotification",
    "ThreadStartResponse",
    "ThreadStartedNotification",
    "ThreadStatusChangedNotification",
    "ThreadTokenUsageUpdatedNotification",
    "TurnCompletedNotification",
    "TurnStartResponse",
    "TurnStartedNotification",
)


def prepare() -> None:
    """Makes the classes of a usual turn ahead, for a thread that runs while the runtime starts."""
    with _lock:
        from .generated import v2_all

    for name in _USUAL:
        getattr(v2_all, name)


_MAKERS: dict[str, Any] = {"model": _model, "root": _root, "enum": _enumeration}
