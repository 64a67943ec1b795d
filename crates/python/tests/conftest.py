"""Fixtures: a scripted model, clients of the real runtime, and what crosses the wire."""

import faulthandler
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_codex import AsyncCodex, Codex, CodexConfig, _native
from openai_codex.testing import ScriptedModel

HERE = Path(__file__).parent

# A shell starts background jobs with SIGINT ignored, and Python then raises no KeyboardInterrupt. The tests need it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Far beyond what a test takes on a busy machine, in seconds.
TEST_TIMEOUT = 300


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """Ends the test run, and shows where it is, if a test hangs."""
    faulthandler.dump_traceback_later(TEST_TIMEOUT, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def model(codex_model: ScriptedModel) -> ScriptedModel:
    return codex_model


@pytest.fixture
def codex(model: ScriptedModel):
    with Codex(model.config()) as codex:
        yield codex


class Wire:
    """A configuration whose runtime runs behind a program that records what the client sends."""

    def __init__(self, model: ScriptedModel, folder: Path) -> None:
        self.log = folder / "sent.jsonl"
        runtime = str(_native.locate_runtime())
        command = (sys.executable, str(HERE / "recorder.py"), str(self.log), runtime, "app-server")
        self.config: CodexConfig = model.config(launch_args_override=command)

    def sent(self, method: str) -> list[dict]:
        """The parameters of all messages of a method."""
        messages = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [message.get("params") for message in messages if message.get("method") == method]

    def last(self, method: str) -> dict:
        return self.sent(method)[-1]


@pytest.fixture
def wire(model: ScriptedModel, tmp_path: Path) -> Wire:
    return Wire(model, tmp_path)


class Swallowed:
    """A configuration whose runtime never gets the requests of one method."""

    def __init__(self, model: ScriptedModel, folder: Path, method: str) -> None:
        self._fifo = folder / "swallowed"
        os.mkfifo(self._fifo)
        runtime = str(_native.locate_runtime())
        command = (sys.executable, str(HERE / "swallower.py"), method, str(self._fifo), runtime, "app-server")
        self.config: CodexConfig = model.config(launch_args_override=command)

    def wait(self) -> None:
        """Wait until the client has sent one of them."""
        self._fifo.read_bytes()


def pid_of(codex: Codex | AsyncCodex) -> int:
    """The process of a client's runtime."""
    native = codex._client._native if isinstance(codex, Codex) else codex._client._current
    assert native is not None and native.runtime_pid is not None
    return native.runtime_pid


def gone(pid: int) -> bool:
    """Whether a process ends."""
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pid)


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    # The second one comes from reading the file of a process that ends meanwhile.
    except (FileNotFoundError, ProcessLookupError):
        return False
