"""The configuration of a client, and the client below `Codex`."""

import os
from dataclasses import dataclass
from threading import Thread
from typing import Any

from openai_codex import _native as native
from openai_codex._lazy_classes import prepare
from openai_codex._renamed import renamed


@dataclass(slots=True)
class CodexConfig:
    """How a client finds, starts and greets the runtime."""

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
    else:
        options.update(_bundled_runtime(env))
    if config.cwd is not None:
        options["cwd"] = os.fspath(config.cwd)
    options["env"] = list(env.items())
    options.update(handlers or {})
    return native.Client(options)


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


class CodexClient:
    """The client below ``Codex``: one runtime, and any request of the protocol."""

    def __init__(self, config: CodexConfig | None = None, *, _handlers: dict[str, Any] | None = None) -> None:
        self.config = config if config is not None else CodexConfig()
        self._handlers = _handlers or {}
        self._native = native_client(self.config, self._handlers)

    def __enter__(self) -> "CodexClient":
        self.start()
        return self

    def __exit__(self, _exc_type: object, _exc: object, _tb: object) -> None:
        self.close()

    def __repr__(self) -> str:
        pid = self._native.runtime_pid
        return f"<CodexClient {'not running' if pid is None else f'of process {pid}'}>"

    def start(self) -> None:
        """Start the runtime and do the handshake. Does nothing if it runs."""
        self._native.start().wait()

    def close(self) -> None:
        """End the runtime and wait for its end."""
        self._native.close().wait()

    def request(self, method: str, params: dict[str, Any] | None = None, *, response_model: Any) -> Any:
        """Make any request of the protocol. The response is an instance of ``response_model``."""
        response = self._native.request(method, params).wait()
        return response_model.model_validate_json(response)


_OLD_NAMES = {"AppServerClient": "CodexClient", "AppServerConfig": "CodexConfig"}


def __getattr__(name: str) -> Any:
    """The names of May 2026."""
    return renamed(globals(), _OLD_NAMES, name)
