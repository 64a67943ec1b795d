"""Prints `protocol/python.json`: what the Python package calls the types of the protocol.

Run it with the interpreter of an environment that has the package:

    pip install openai-codex==0.163.0
    python xtask/src/codegen/python/package_facts.py > protocol/python.json

It imports the package and looks at its classes. It takes names, types, values and defaults, and no text.
"""

import enum
import importlib.metadata
import json
import types
import typing

import annotated_types
from openai_codex import models
from openai_codex import types as public
from openai_codex.generated import notification_registry, v2_all
from pydantic import BaseModel, RootModel

WIDTH = 110
SCALARS = {str: "string", bool: "bool", int: "int", typing.Any: "any", type(None): "null", list: "[]"}


def expression(annotation, metadata=()):
    """A type in the notation of protocol/README.md."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        nullable = type(None) in arguments
        parts = [expression(part, metadata) for part in arguments if part is not type(None)]
        joined = " | ".join(parts)
        if nullable:
            return f"({joined})?" if len(parts) > 1 else f"{joined}?"
        return joined
    if origin is typing.Annotated:
        return expression(arguments[0], arguments[1:])
    if origin is list:
        return f"[{expression(arguments[0])}]"
    if origin is dict:
        return "{" + expression(arguments[1]) + "}"
    if origin is typing.Literal:
        (value,) = arguments
        return f"'{value}'"
    if annotation in SCALARS:
        bounds = [part.ge for part in metadata if isinstance(part, annotated_types.Ge)]
        return SCALARS[annotation] + "".join(f">={bound}" for bound in bounds if annotation is int)
    if annotation.__module__ == v2_all.__name__:
        return annotation.__name__
    raise TypeError(f"no notation for {annotation}")


def field(name, info):
    """A field by its name on the wire, with its Python name only where the rule does not give it."""
    facts = {"name": info.alias or name, "type": expression(info.annotation, info.metadata)}
    if not info.is_required():
        default = info.get_default(call_default_factory=True)
        facts |= {"optional": True} if default is None else {"default": default}
    return facts


def shape(cls):
    """The facts of one class."""
    if issubclass(cls, enum.Enum):
        facts = {"kind": "enum", "values": [member.value for member in cls]}
        if issubclass(cls, str):
            facts["open"] = "any" if takes(cls, "") else "nonempty"
        return facts
    if issubclass(cls, RootModel):
        info = cls.model_fields["root"]
        return {"kind": "root", "of": expression(info.annotation, info.metadata)}
    facts = {"kind": "object"}
    if "extra" in cls.model_config:
        facts["extra"] = cls.model_config["extra"]
    return facts | {"fields": [field(name, info) for name, info in cls.model_fields.items()]}


def takes(cls, value):
    """Whether an enum makes a member of this value."""
    try:
        return cls(value).value == value
    except ValueError:
        return False


def is_own(cls):
    """Whether it is a class of the module, and not one that pydantic made for a base."""
    return isinstance(cls, type) and cls.__module__ == v2_all.__name__ and "[" not in cls.__name__


def flat(value):
    return json.dumps(value, ensure_ascii=False)


def pretty(value, depth=0, column=0):
    """JSON with everything on one line that fits on one line."""
    line = flat(value)
    if depth and column + len(line) < WIDTH or not isinstance(value, (dict, list)):
        return line
    indent = "  " * (depth + 1)
    if isinstance(value, list):
        parts = [f"{indent}{pretty(part, depth + 1, len(indent))}" for part in value]
        return "[\n" + ",\n".join(parts) + "\n" + "  " * depth + "]"
    parts = []
    for key, part in value.items():
        head = f"{indent}{flat(key)}: "
        parts.append(head + pretty(part, depth + 1, len(head)))
    return "{\n" + ",\n".join(parts) + "\n" + "  " * depth + "}"


def members(module):
    """What a module has by name. Modules may make their members late, so their dictionaries do not have all."""
    return {name: getattr(module, name) for name in sorted(dir(module))}


def facts(version):
    """All facts of the package that is installed."""
    registry = notification_registry.NOTIFICATION_MODELS
    return {
        "package": version,
        "types": public.__all__,
        "payloads": [name for name, cls in members(models).items() if is_own(cls)],
        "notifications": {method: cls.__name__ for method, cls in sorted(registry.items())},
        "classes": {name: shape(cls) for name, cls in members(v2_all).items() if is_own(cls)},
    }


if __name__ == "__main__":
    print(pretty(facts(importlib.metadata.version("openai-codex"))))
