"""The configuration of a client, and the client below `Codex`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Literal

from openai_codex import _native as native
from openai_codex._lazy_classes import prepare
from openai_codex._low_level import LowLevelMethods
from openai_codex._options import additional
from openai_codex._renamed import renamed

MethodClass = Literal["quick", "slow", "lasting"]
"""What the server does before it responds: it looks something up, it loads or writes something, or it waits for a command, a tool or a
user."""
GapPolicy = Literal["repair", "live"]
"""``repair``: a stream yields no further delta of an item with missing text until the item has completed, and then one with the rest.
``live``: the stream goes on with the next delta, and the item's text is whole only in ``item/completed``."""
_PLAIN_OPTIONS = (
    "start_timeout",
    "request_timeout",
    "class_timeouts",
    "handler_timeout",
    "close_timeout",
    "turn_idle_timeout",
    "coalesce_above",
    "stream_limit",
    "trace_context",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How often a client replaces a lost runtime, and after which pauses, in seconds.

    The first attempt within a ``window`` has no pause before it. The pause of further ones doubles from ``initial_delay`` to
    ``max_delay``, and varies by a random share of up to ``jitter``. After ``max_attempts``, calls fail until the window has passed.
    """

    max_attempts: int = 5
    window: float = 600.0
    initial_delay: float = 0.5
    max_delay: float = 30.0
    jitter: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPolicy:
    """How often a client connects again after it has lost the connection to the server of its endpoint. Times are in seconds.

    The first attempt within a ``window`` has no pause before it. The pause of further ones doubles from ``initial_delay`` to
    ``max_delay``, and varies by a random share of up to ``jitter``. After ``max_attempts`` the client gives up: every call raises
    ``TransportClosedError``. With 0 it never connects again.
    """

    max_attempts: int = 60
    window: float = 900.0
    initial_delay: float = 0.25
    max_delay: float = 15.0
    jitter: float = 0.2
    start_grace: float = 5.0
    """How long the client waits, after it has connected again, for the message of a start whose response was lost."""
    gap_policy: GapPolicy = "repair"
    """What the streams of running turns do about text that was sent meanwhile."""


@dataclass(frozen=True, slots=True)
class WireLog:
    """A file in which a client writes each message. It contains prompts, files and output of commands; only keys and tokens are
    replaced."""

    path: str | os.PathLike[str]
    max_bytes: int = field(default=64 << 20, kw_only=True)
    """The size at which a new file begins. Older files get the suffixes ``.1``, ``.2``, …."""
    keep: int = field(default=2, kw_only=True)
    """How many older files are kept."""


Bearer = str | Callable[[], str]
"""A token, or a function that returns one. The client calls it on a thread of its own, for each attempt to connect."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server that runs by itself, and that several clients can use at once. The class methods make endpoints."""

    _kind: str
    # Without its text in a repr: the query of a URL can be a secret.
    _address: str | tuple[str, ...] = field(repr=False)
    _bearer: Bearer | None = field(default=None, repr=False)
    _root_certificates: bytes | None = field(default=None, repr=False)
    _send_token_in_plain: bool = False
    _or_start: bool = False

    @classmethod
    def control_socket(cls, *, or_start: bool = False) -> "Endpoint":
        """The control socket of the runtime's home. ``or_start`` starts a server there if none runs; it outlives the program."""
        return cls("control_socket", "", _or_start=or_start)

    @classmethod
    def unix(cls, path: str | os.PathLike[str], *, or_start: bool = False) -> "Endpoint":
        """A Unix socket. ``or_start`` starts a server there if none runs; it outlives the program."""
        return cls("unix", os.fspath(path), _or_start=or_start)

    @classmethod
    def websocket(
        cls,
        url: str,
        *,
        bearer: Bearer | None = None,
        root_certificates: bytes | None = None,
        send_token_in_plain: bool = False,
    ) -> "Endpoint":
        """A ``ws`` or ``wss`` URL.

        ``root_certificates``: more authorities, in PEM. ``send_token_in_plain`` allows to send the token over plain ``ws`` to another
        machine, where others can read it on the way.
        """
        return cls("websocket", url, bearer, root_certificates, send_token_in_plain)

    @classmethod
    def proxy(cls, command: Sequence[str]) -> "Endpoint":
        """A command whose standard input and output are connected to a server, such as ``ssh HOST codex app-server proxy``."""
        return cls("proxy", tuple(command))

    def _fields(self) -> tuple[Any, ...]:
        address = list(self._address) if isinstance(self._address, tuple) else self._address
        flags = (self._send_token_in_plain, self._or_start)
        return (self._kind, address, self._bearer, self._root_certificates, *flags)


@additional(
    "connect", "connection_policy", "env_clear", "env_inherit", "env_remove", "restart", "wire_log", *_PLAIN_OPTIONS
)
@dataclass(slots=True)
class CodexConfig:
    """How a client finds, starts and greets the runtime. Times are in seconds."""

    codex_bin: str | None = None
    """The runtime program. Unless set: the one of ``openai-codex-cli-bin``, or else ``CODEX_BIN``, the managed install, ``PATH``."""
    launch_args_override: tuple[str, ...] | None = None
    """The whole command line, with the program first."""
    config_overrides: tuple[str, ...] = ()
    """The runtime's ``--config KEY=VALUE`` arguments."""
    cwd: str | None = None
    """The folder in which the runtime starts."""
    env: dict[str, str] | None = None
    """Environment variables of the runtime, in addition to those of this process, which they replace."""
    client_name: str = "codex_python_sdk"
    client_title: str = "Codex Python SDK"
    client_version: str = native.__version__
    experimental_api: bool = True
    """Whether the client requests the experimental methods and fields."""
    # The published package does not have the fields that follow.
    connect: Endpoint | None = field(default=None, kw_only=True)
    """The server that the client connects to, instead of starting a runtime."""
    connection_policy: ConnectionPolicy | None = field(default=None, kw_only=True)
    """When the client connects again to a server that it has lost: 60 attempts in 15 minutes unless set."""
    env_clear: bool = field(default=False, kw_only=True)
    """Whether the runtime inherits only those environment variables of this process that ``env_inherit`` names."""
    env_inherit: Sequence[str] = field(default=(), kw_only=True)
    """The environment variables that the runtime inherits in spite of ``env_clear``."""
    env_remove: Sequence[str] = field(default=(), kw_only=True)
    """The environment variables that the runtime does not inherit. ``env`` may still set them."""
    restart: RestartPolicy | None = field(default=None, kw_only=True)
    """Makes the next use of the client replace a lost runtime by a new one."""
    wire_log: WireLog | str | os.PathLike[str] | None = field(default=None, kw_only=True)
    """A file in which the client writes each message."""
    start_timeout: float | None = field(default=None, kw_only=True)
    """How long the runtime may take to start: 30 seconds unless set."""
    request_timeout: float | None = field(default=None, kw_only=True)
    """How long each request may wait for its response. Unless set, that depends on the class of its method."""
    class_timeouts: Mapping[MethodClass, float] | None = field(default=None, kw_only=True)
    """How long the requests of a class may wait. Unless set, 30 for ``quick``, 300 for ``slow``, ``math.inf`` for ``lasting``."""
    handler_timeout: float | None = field(default=None, kw_only=True)
    """How long a function may take to answer a request of the server: ten minutes unless set."""
    close_timeout: float | None = field(default=None, kw_only=True)
    """How long the runtime may take to end: 6 seconds unless set."""
    turn_idle_timeout: float | None = field(default=None, kw_only=True)
    """How long a turn may be silent before the client asks the server about it: two minutes unless set. 0 turns this off."""
    coalesce_above: int | None = field(default=None, kw_only=True)
    """How many bytes of unread events may wait before the client makes one event out of several deltas: 48 MiB unless set."""
    stream_limit: int | None = field(default=None, kw_only=True)
    """How many bytes of unread events a stream may hold before it ends with a ``StreamOverflowError``: 256 MiB unless set."""
    trace_context: Callable[[], Mapping[str, str] | None] | None = field(default=None, kw_only=True)
    """Returns the current W3C trace context, with the keys ``traceparent`` and ``tracestate``. The client sends it with a request. The
    function runs where the program makes the call."""


def native_client(config: CodexConfig | None, handlers: dict[str, Any] | None = None) -> native.Client:
    """Make the native client of a configuration. It starts nothing yet. ``handlers``: as ``_handlers.bind`` prepares them."""
    _prepare_classes()
    config = config if config is not None else CodexConfig()
    env = dict(config.env or {})
    options: dict[str, Any] = {
        "config_overrides": list(config.config_overrides),
        "client_name": config.client_name,
        "client_title": config.client_title,
        "client_version": config.client_version,
        "experimental_api": config.experimental_api,
    }
    if config.launch_args_override is not None:
        options["launch_args_override"] = list(config.launch_args_override)
    elif config.codex_bin is not None:
        options["codex_bin"] = os.fspath(config.codex_bin)
    elif config.connect is None or config.connect._or_start:
        options.update(_bundled_runtime(env))
    if config.cwd is not None:
        options["cwd"] = os.fspath(config.cwd)
    options.update(_additional_options(config))
    # After the variables to remove.
    options["env"] = list(env.items())
    options.update(handlers or {})
    return native.Client(options)


def _additional_options(config: CodexConfig) -> dict[str, Any]:
    """The options that the published package does not have."""
    options: dict[str, Any] = {name: getattr(config, name) for name in _PLAIN_OPTIONS}
    options = {name: value for name, value in options.items() if value is not None}
    if config.env_clear:
        options["env_inherit"] = list(config.env_inherit)
    elif config.env_inherit:
        raise ValueError("env_inherit needs env_clear: without it, the runtime inherits all environment variables")
    options["env_remove"] = list(config.env_remove)
    if config.connect is not None:
        options["connect"] = config.connect._fields()
    if config.connection_policy is not None:
        again = config.connection_policy
        pauses = (again.window, again.initial_delay, again.max_delay)
        limits = (again.max_attempts, *pauses, again.jitter)
        options["connection_policy"] = (limits, again.start_grace, again.gap_policy)
    if config.restart is not None:
        policy = config.restart
        pauses = (policy.window, policy.initial_delay, policy.max_delay)
        options["restart"] = (policy.max_attempts, *pauses, policy.jitter)
    if config.wire_log is not None:
        log = config.wire_log if isinstance(config.wire_log, WireLog) else WireLog(config.wire_log)
        options["wire_log"] = (os.fspath(log.path), log.max_bytes, log.keep)
    return options


def state(client: native.Client | None, config: CodexConfig | None) -> str:
    """What a client's ``repr`` says about its runtime."""
    pid = client.runtime_pid if client is not None else None
    if pid is not None:
        return f"of process {pid}"
    return "not running" if config is None or config.connect is None else "of a server"


_preparing = False


def _prepare_classes() -> None:
    """Import pydantic and make the classes of a usual turn, once, while the runtime starts."""
    global _preparing
    if not _preparing:
        _preparing = True
        # Not a daemon: the interpreter cannot end a thread inside of native code.
        Thread(target=prepare, name="codex-prepare").start()


def _bundled_runtime(env: dict[str, str]) -> dict[str, str]:
    """The program that ``openai-codex-cli-bin`` brings, if it is installed. Puts its tools first on the runtime's ``PATH``."""
    try:
        import codex_cli_bin  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return {}
    program = codex_cli_bin.bundled_codex_path()
    tools = codex_cli_bin.bundled_path_dir()
    if tools is not None:
        folders = env.get("PATH", os.environ.get("PATH", "")).split(os.pathsep)
        others = [folder for folder in folders if folder and folder != str(tools)]
        env["PATH"] = os.pathsep.join([str(tools), *others])
    return {"codex_bin": str(program)}


ApprovalHandler = Callable[[str, dict[str, Any] | None], dict[str, Any]]


def any_request(answer: ApprovalHandler) -> tuple[Callable[[Any], dict[str, Any]], None]:
    """A handler of all requests, as the native client takes it."""
    return (lambda request: answer(request.method, request.params)), None


class CodexClient(LowLevelMethods):
    """The client below ``Codex``: one runtime, and any request of the protocol.

    ``approval_handler`` gets the method and the parameters of each request of the server, and returns the response. Without it, the
    client declines approvals.
    """

    @additional("_handlers")
    def __init__(
        self,
        config: CodexConfig | None = None,
        approval_handler: ApprovalHandler | None = None,
        *,
        _handlers: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.config = config if config is not None else CodexConfig()
        self._handlers = _handlers or {}
        handlers = dict(self._handlers)
        if approval_handler is not None:
            handlers["on_any_request"] = any_request(approval_handler)
        self._made = native_client(self.config, handlers)
        # `Codex` has its own observers.
        self._observes = _handlers is None

    def __enter__(self) -> "CodexClient":
        self.start()
        return self

    def __exit__(self, _exc_type: object, _exc: object, _tb: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<CodexClient {state(self._made, self.config)}>"

    @property
    def _native(self) -> native.Client:
        return self._made

    def start(self) -> None:
        """Start the runtime and do the handshake. Does nothing if it runs."""
        if self._observes:
            self._notifications()
        self._native.start().wait()

    def close(self) -> None:
        """End the runtime and wait for its end."""
        self._native.close().wait()


_OLD_NAMES = {"AppServerClient": "CodexClient", "AppServerConfig": "CodexConfig"}


def __getattr__(name: str) -> Any:
    """The names of May 2026."""
    return renamed(globals(), _OLD_NAMES, name)
