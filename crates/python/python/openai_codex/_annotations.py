"""Annotations for programs that read them, as `typing.get_type_hints` does.

The modules import the names of their annotations under ``TYPE_CHECKING`` only: the types need pydantic, whose import takes longer
than that of the whole package. The first program that reads the annotations imports them.
"""

from __future__ import annotations

from typing import Any


class _Annotations(dict[str, Any]):
    """The annotations of a function or a class. Reading all of them imports the names in them into their module."""

    __slots__ = ("_namespace",)

    def __init__(self, annotations: dict[str, Any], namespace: dict[str, Any]) -> None:
        super().__init__(annotations)
        self._namespace = namespace

    # `dict(annotations)` calls `keys` because there is an `__iter__`.
    def __iter__(self) -> Any:
        import_names(self._namespace)
        return super().__iter__()

    def keys(self) -> Any:
        import_names(self._namespace)
        return super().keys()

    def items(self) -> Any:
        import_names(self._namespace)
        return super().items()


def import_late(namespace: dict[str, Any]) -> None:
    """Have the names in the annotations of a module's functions and classes imported when they are read. For the module's end."""
    for value in list(namespace.values()):
        if getattr(value, "__module__", None) != namespace["__name__"]:
            continue
        _wrap(value, namespace)
        if isinstance(value, type):
            for member in vars(value).values():
                accessors = (member.fget, member.fset) if isinstance(member, property) else (member,)
                for accessor in accessors:
                    _wrap(getattr(accessor, "__func__", accessor), namespace)


def _wrap(value: Any, namespace: dict[str, Any]) -> None:
    annotations = (
        vars(value).get("__annotations__") if isinstance(value, type) else getattr(value, "__annotations__", None)
    )
    if annotations and (isinstance(value, type) or hasattr(value, "__code__")):
        value.__annotations__ = _Annotations(annotations, namespace)


def import_names(namespace: dict[str, Any]) -> None:
    """Import the names that a module imports under ``TYPE_CHECKING``. Without its source, this does nothing."""
    if namespace.get("_has_names"):
        return
    import ast
    import inspect
    import sys

    module = sys.modules[namespace["__name__"]]
    try:
        body = ast.parse(inspect.getsource(module)).body
    except OSError:
        return
    found: dict[str, Any] = {"__name__": namespace["__name__"], "__package__": namespace["__package__"]}
    for block in body:
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            imports: list[ast.stmt] = [node for node in block.body if isinstance(node, ast.Import | ast.ImportFrom)]
            exec(compile(ast.Module(imports, []), str(module.__file__), "exec"), found)
            for node in block.body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    # The module makes it when it is used.
                    getattr(module, node.target.id, None)
    from openai_codex.models import JsonValue

    # `JsonObject` names it, wherever it is used.
    found["JsonValue"] = JsonValue
    for name, value in found.items():
        namespace.setdefault(name, value)
    namespace["_has_names"] = True
