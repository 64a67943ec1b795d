"""Clients that connect to a server that runs by itself."""

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai_codex import AsyncCodex, Codex, CodexConfig, Sandbox, _native
from openai_codex.client import Endpoint, RestartPolicy
from openai_codex.errors import AccessDeniedError, CodexError, ConnectFailedError, InvalidInputError
from openai_codex.events import LeftUnanswered
from openai_codex.testing import ModelReply, ScriptedModel

RUNTIME = str(_native.locate_runtime())
TOKEN = "capability-0123456789abcdef"


@contextmanager
def serving(model: ScriptedModel, *options: str) -> Iterator[str]:
    """A server of the runtime on a port. Its URL."""
    command = [RUNTIME, "app-server", "--listen", "ws://127.0.0.1:0", *options]
    environment = {**os.environ, **dict(model.env()), "HOME": str(model.home / "user")}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        lines = iter(server.stderr)
        url = next(line.split("listening on: ")[1].strip() for line in lines if "listening on: " in line)
        # A full pipe would block the server.
        draining = threading.Thread(target=lambda: list(lines))
        draining.start()
        try:
            yield url
        finally:
            server.kill()
            draining.join()


@pytest.fixture
def url(model: ScriptedModel) -> Iterator[str]:
    with serving(model) as url:
        yield url


@pytest.fixture
def token_file(tmp_path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o600)
    return path


def test_clients_share_a_server_which_outlives_them(url: str, model: ScriptedModel):
    model.fallback("hello")
    config = CodexConfig(connect=Endpoint.websocket(url))
    with Codex(config) as codex:
        thread = codex.thread_start()
        assert thread.run("x").final_response == "hello" and codex.metadata.userAgent
        assert repr(codex) == "<Codex of a server>"

    async def main():
        async with AsyncCodex(config) as other:
            resumed = await other.thread_resume(thread.id)
            assert len([turn async for turn in resumed.turns()]) == 1
            assert (await resumed.run("y")).final_response == "hello"

    asyncio.run(main())


@pytest.mark.parametrize("as_function", [False, True])
def test_a_token_opens_a_server(model: ScriptedModel, token_file: Path, as_function: bool):
    called = []

    def bearer() -> str:
        called.append(threading.current_thread().name)
        return token_file.read_text()

    with serving(model, "--ws-auth", "capability-token", "--ws-token-file", str(token_file)) as url:
        with Codex(CodexConfig(connect=Endpoint.websocket(url, bearer=bearer if as_function else TOKEN))) as codex:
            assert codex.models().data
        assert called == (["codex-token"] if as_function else [])
        for wrong in (None, "another"):
            with pytest.raises(AccessDeniedError) as caught:
                Codex(CodexConfig(connect=Endpoint.websocket(url, bearer=wrong)))
            assert isinstance(caught.value, PermissionError) and "another" not in str(caught.value)
        with pytest.raises(CodexError, match="ZeroDivisionError"):
            Codex(CodexConfig(connect=Endpoint.websocket(url, bearer=lambda: str(1 / 0))))


def test_a_socket_is_served_by_the_client_that_comes_first(model: ScriptedModel, tmp_path):
    model.fallback("hello")
    socket = tmp_path / "s"
    env = {**dict(model.env()), "HOME": str(model.home / "user")}
    with pytest.raises(ConnectFailedError) as caught:
        Codex(CodexConfig(connect=Endpoint.unix(socket), env=env))
    assert isinstance(caught.value, ConnectionError)
    pid = None
    try:
        with Codex(CodexConfig(connect=Endpoint.unix(socket, or_start=True), env=env)) as codex:
            pid = server_of(socket)
            assert codex.thread_start().run("x").final_response == "hello"
        command = (RUNTIME, "app-server", "proxy", "--sock", str(socket))
        for endpoint in (Endpoint.unix(socket), Endpoint.proxy(command)):
            with Codex(CodexConfig(connect=endpoint, env=env)) as codex:
                assert len(list(codex.threads())) == 1
    finally:
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


def server_of(socket: Path) -> int:
    """The process whose command line names a socket."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if f"unix://{socket}".encode() in command.split(b"\0"):
                return int(entry.name)
    raise AssertionError("no server")


def test_a_client_leaves_the_approvals_of_others_to_them(url: str, model: ScriptedModel, tmp_path):
    called = threading.Event()
    decided = threading.Event()

    def decide(_: object) -> str:
        called.set()
        decided.wait()
        return "accept"

    marker = tmp_path / "marker"
    model.reply("first")
    model.reply(ModelReply().escalate(f"touch {marker}", "the test wants it"))
    model.reply("done")
    config = CodexConfig(connect=Endpoint.websocket(url))
    with Codex(config) as owner, Codex(config) as watcher:
        thread = owner.thread_start(sandbox=Sandbox.read_only, on_command_approval=decide)
        thread.run("x")
        events = watcher.events()
        watcher.thread_resume(thread.id)
        turn = thread.turn("y")
        called.wait()
        left = next(event for event in events if isinstance(event, LeftUnanswered))
        assert left.thread_id == thread.id and left.method == "item/commandExecution/requestApproval"
        decided.set()
        assert turn.run().final_response == "done" and marker.exists()


def test_options_for_a_process_are_refused(url: str):
    endpoint = Endpoint.websocket(url)
    for config in (CodexConfig(codex_bin=RUNTIME), CodexConfig(restart=RestartPolicy()), CodexConfig(cwd="/")):
        config.connect = endpoint
        with pytest.raises(InvalidInputError):
            Codex(config)
    with pytest.raises(TypeError, match="bearer is a str"):
        Codex(CodexConfig(connect=Endpoint.websocket(url, bearer=5)))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        Codex(CodexConfig(connect=Endpoint.websocket(url, root_certificates=b"no certificate")))


def test_an_endpoint_shows_no_token():
    assert "secret" not in repr(CodexConfig(connect=Endpoint.websocket("wss://example.com?secret", bearer="secret")))
