"""Tools: functions of the program that the model can call."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from openai_codex._annotations import import_late

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Tool", "tool"]

P = ParamSpec("P")
R = TypeVar("R")


class Tool(Generic[P, R]):
    """A function that the model can call. The program can call it too."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        namespace: str | None = None,
        timeout: float | None = None,
        defer_loading: bool = False,
    ) -> None:
        import inspect

        update_wrapper(self, function)
        self.function = function
        self.name = name if name is not None else function.__name__
        text, self._parameter_texts = _documentation(function)
        self.description = description if description is not None else text
        self.namespace = namespace
        self.timeout = timeout
        """Seconds after which a call fails. Ten minutes by default."""
        self.defer_loading = defer_loading
        """Whether the model gets the tool only when it searches for it. Needs a namespace."""
        self._parameters = inspect.signature(function).parameters
        for parameter in self._parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"the tool {self.name}: the model passes arguments by name, so not to {parameter}")
            if parameter.annotation is parameter.empty:
                raise TypeError(f"the tool {self.name}: the parameter {parameter.name} has no annotation")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Tool {self.name}>"

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        return self._arguments.json_schema()

    @cached_property
    def _arguments(self) -> TypeAdapter[dict[str, Any]]:
        from typing import Annotated, get_type_hints

        from pydantic import ConfigDict, Field, TypeAdapter
        from typing_extensions import NotRequired, TypedDict

        hints = get_type_hints(self.function, include_extras=True)
        fields: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            hint = hints[name]
            if name in self._parameter_texts:
                hint = Annotated[hint, Field(description=self._parameter_texts[name])]
            fields[name] = hint if parameter.default is parameter.empty else NotRequired[hint]
        # Not a model: its attributes would collide with names of parameters.
        make: Any = TypedDict
        arguments: Any = make("Arguments", fields)
        arguments.__pydantic_config__ = ConfigDict(extra="ignore")
        return TypeAdapter(arguments)

    def _read(self, arguments: str) -> dict[str, Any]:
        """The arguments of a call, as the function takes them."""
        from pydantic import ValidationError

        try:
            # Some models write no arguments if none is required.
            return self._arguments.validate_json("{}" if arguments == "null" else arguments)
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(map(str, first["loc"]))
            place = f", at `{path}`" if path else ""
            raise _Misfit(f"the arguments do not fit the tool's schema{place}: {first['msg']}") from error

    def _call(self, arguments: str) -> Any:
        return _output(self.function(**self._read(arguments)))  # type: ignore[call-arg]

    async def _call_async(self, arguments: str) -> Any:
        function: Any = self.function
        return _output(await function(**self._read(arguments)))


class _Misfit(Exception):
    """The arguments of a call do not fit the schema."""


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    namespace: str | None = None,
    timeout: float | None = None,
    defer_loading: bool = False,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a tool of a function, sync or ``async``.

    The model sees its name, its docstring, and its parameters with their annotations and the texts of the docstring's section ``Args:``.
    The function returns a text, ``None``, content items of the protocol, or a value that becomes JSON. An exception is a failed call, whose
    message the model reads.
    """
    if function is not None:
        return Tool(function, **options)
    return lambda function: Tool(function, **options)


def _output(result: Any) -> Any:
    """The result of a function as a text or as content items."""
    if result is None:
        # The model needs some result.
        return "done"
    if isinstance(result, str):
        return result
    items = result if isinstance(result, list | tuple) else [result]
    if items and all(type(item).__module__.startswith("openai_codex.generated") for item in items):
        return list(items)
    from pydantic_core import to_json

    return to_json(result).decode()


def _documentation(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The text of a docstring, and those of its parameters."""
    import inspect
    import re

    text, _, section = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    texts: dict[str, str] = {}
    name = None
    for line in section.splitlines():
        if line and not line.startswith(" "):
            # The next section.
            break
        begun = re.match(r" {1,4}(\w+)(?: \([^)]*\))?: *(.*)", line)
        if begun is not None:
            name, texts[begun[1]] = begun[1], begun[2]
        elif name is not None and line.strip():
            texts[name] += f" {line.strip()}"
    return text.strip(), texts


import_late(globals())
