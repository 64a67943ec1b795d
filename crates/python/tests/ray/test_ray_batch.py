"""The example `ray_batch.py` on the real Ray: actors and the program are killed with SIGKILL, and the batch is run again.

`cargo xtask test --ray` runs these tests in an environment with Ray. Others leave this folder out.
"""

import csv
import faulthandler
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from openai_codex import Codex, _native
from openai_codex.testing import ModelReply, ScriptedModel

EXAMPLE = Path(__file__).parents[2] / "examples" / "ray_batch.py"

# Far beyond what anything here takes on a busy machine, in seconds.
LONG = 240

GO_ON = "You were interrupted. Look at what is done already, and do the rest."


@dataclass
class Batch:
    """A batch of prompts with its model. Each prompt is its own key."""

    model: ScriptedModel
    folder: Path
    keys: list[str]
    environment: dict[str, str]

    @property
    def path(self) -> Path:
        return self.folder / "batch.jsonl"

    @contextmanager
    def running(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """The program, which the caller ends or waits for."""
        command = [sys.executable, str(EXAMPLE), str(self.path), "--sandbox", "full-access", *options]
        with (self.folder / "log").open("ab") as log:
            program = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield program
        finally:
            program.kill()
            program.wait()

    def run(self, *options: str) -> dict[str, dict[str, str]]:
        """Run the whole batch. The rows of the results, by key."""
        with self.running(*options) as program:
            assert program.wait(LONG) == 0, self.log
        return self.rows()

    def rows(self) -> dict[str, dict[str, str]]:
        with self.path.with_suffix(".results.csv").open(newline="") as file:
            return {row["key"]: row for row in csv.DictReader(file)}

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def processes(self) -> dict[int, str]:
        """The processes that use the model's home, with their command lines: the program, Ray's, and the runtimes."""
        home = f"CODEX_HOME={self.model.home}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                if home in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def running_processes(self) -> list[int]:
        """These processes without Ray's dashboard agent: after a kill of the others, it tries for a minute to report that."""
        return [pid for pid, command in self.processes().items() if not command.startswith("ray::DashboardAgent")]

    def actors(self) -> list[int]:
        return sorted(pid for pid, command in self.processes().items() if command.startswith("ray::Agent"))

    def check_requests(self) -> int:
        """No prompt began a turn twice, and none was left out. Returns how many turns were continued."""
        seen: set[str] = set()
        begun: Counter[str | None] = Counter()
        for request in self.model.requests:
            seen.update(request.user_texts)
            if request.body["input"][-1].get("role") == "user":
                begun[request.last_user_text] += 1
        # A turn that was cut off before its first request has none of its own: the continuation has its prompt too.
        assert [key for key in self.keys if begun[key] > 1 or key not in seen] == []
        return begun[GO_ON]

    def commands(self) -> Counter[str]:
        """How many times the command of each prompt ran."""
        return Counter(
            {key: len((self.folder / f"{key}.txt").read_text().splitlines()) for key in self.keys if self.has_run(key)}
        )

    def has_run(self, key: str) -> bool:
        return (self.folder / f"{key}.txt").exists()


def wait_until(what: str, is_so: Callable[[], bool]) -> None:
    """Look until something is so. Processes have no other way to say it."""
    deadline = time.monotonic() + LONG
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def make_batch(model: ScriptedModel, tmp_path: Path) -> Iterator[Callable[[int], Batch]]:
    # Ray starts several times in a test, which takes long on a busy machine.
    faulthandler.dump_traceback_later(900, exit=True)
    # Ray's sockets are in this folder, and the paths of sockets are short.
    ray = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    environment = {
        **os.environ,
        **dict(model.env()),
        "CODEX_BIN": str(_native.locate_runtime()),
        "HOME": str(model.home / "user"),
        "RAY_TMPDIR": ray,
        "RAY_USAGE_STATS_ENABLED": "0",
        # Otherwise actors hardly run on a busy machine.
        "RAY_worker_niceness": "0",
        # Ray then listens on the loopback address only, in spite of the name.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "COLUMNS": "150",
    }
    environment.pop("RAY_ADDRESS", None)
    batches: list[Batch] = []

    def make(count: int) -> Batch:
        batch = Batch(model, tmp_path, [f"job-{number:03}" for number in range(count)], environment)
        batch.path.write_text(
            "".join(json.dumps({"key": key, "prompt": key, "cwd": str(tmp_path)}) + "\n" for key in batch.keys)
        )
        # The first start creates the databases of the home.
        with Codex(model.config()):
            pass
        batches.append(batch)
        return batch

    yield make
    for batch in batches:
        for pid in batch.processes():
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(ray, ignore_errors=True)


def test_a_batch_survives_the_deaths_of_actors_and_of_the_program(make_batch: Callable[[int], Batch]):
    batch = make_batch(20)
    model = batch.model
    # An actor is in the middle of the first of these turns when all actors are killed, and of the second when the program is.
    cut = {"job-007": model.gate(), "job-014": model.gate()}
    for key in batch.keys:
        if key in cut:
            model.reply_to(key, ModelReply().delta("half").pause(cut[key]))
        else:
            model.reply_to(key, ModelReply.exec_command(f"echo ran >> {key}.txt"))
    model.fallback("done")
    options = ("--actors", "3", "--turns", "2")

    with batch.running(*options) as program:
        cut["job-007"].wait_reached(LONG)
        actors = batch.actors()
        assert len(actors) == 3
        for pid in actors:
            os.kill(pid, signal.SIGKILL)
        cut["job-014"].wait_reached(LONG)
        assert not set(actors) & set(batch.actors())
        program.kill()
    wait_until("Ray and the runtimes do not end with the program", lambda: not batch.running_processes())

    rows = batch.run(*options)
    assert [*rows] == batch.keys
    assert {row["status"] for row in rows.values()} == {"completed"}, batch.log
    assert rows["job-014"]["outcome"] == "continued" and rows["job-007"]["response"] == "done"
    # What was done before the program was killed.
    assert Counter(row["outcome"] for row in rows.values())["found_done"] > 0
    assert batch.check_requests() >= 2

    asked = len(model.requests)
    again = batch.run(*options)
    assert {row["outcome"] for row in again.values()} == {"found_done"} and len(model.requests) == asked
    assert [row["response"] for row in again.values()] == [row["response"] for row in rows.values()]
    wait_until("Ray and the runtimes do not end with the program", lambda: not batch.running_processes())


def test_turns_on_a_shared_server_outlive_the_program(make_batch: Callable[[int], Batch]):
    batch = make_batch(4)
    model = batch.model
    gate = model.gate()
    model.reply_to("job-002", ModelReply().delta("long").pause(gate))
    model.reply_to("job-003", ModelReply.failed("the model is broken"))
    model.fallback("done")
    socket = batch.environment["RAY_TMPDIR"] + "/server.sock"
    server = subprocess.Popen(
        [batch.environment["CODEX_BIN"], "app-server", "--listen", f"unix://{socket}"],
        env=batch.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until("the server does not start", lambda: Path(socket).exists())
        options = ("--actors", "2", "--turns", "1", "--socket", socket)
        with batch.running(*options) as program:
            gate.wait_reached(LONG)
            program.kill()
        wait_until("Ray does not end with the program", lambda: batch.running_processes() == [server.pid])
        gate.release()
        with batch.running(*options) as program:
            # A turn has failed.
            assert program.wait(LONG) == 1, batch.log
        rows = batch.rows()
        assert rows["job-002"]["outcome"] in {"attached", "found_done"} and rows["job-002"]["response"] == "long"
        assert rows["job-003"]["status"] == "failed" and "the model is broken" in rows["job-003"]["error"]
        batch.check_requests()
        assert len(model.requests) == 4
        # With the runtimes of the actors, the threads would be in another home.
        with batch.running() as program:
            assert program.wait(LONG) != 0 and f"are in {socket}, and not in" in batch.log
    finally:
        server.kill()
        server.wait()


@pytest.mark.skipif("OPENAI_CODEX_TEST_FULL" not in os.environ, reason="takes minutes: set OPENAI_CODEX_TEST_FULL")
def test_five_hundred_turns_survive_twenty_kills(make_batch: Callable[[int], Batch]):
    faulthandler.dump_traceback_later(1800, exit=True)
    turns, kills = 500, 20
    batch = make_batch(turns)
    model = batch.model
    for key in batch.keys:
        model.reply_to(key, ModelReply.exec_command(f"echo ran >> {key}.txt; sleep 1"))
    for _ in range(turns):
        model.reply_to(GO_ON, ModelReply.exec_command("sleep 1"))
    model.fallback("done")
    options = ("--actors", "3", "--turns", "4")
    began = time.monotonic()

    def kill_an_actor(number: int) -> None:
        # Each turn makes two requests, so there are enough.
        model.wait_requested((number + 1) * 2 * turns // (kills + 2), LONG)
        wait_until("no actor runs", lambda: batch.actors() != [])
        actors = batch.actors()
        os.kill(actors[number % len(actors)], signal.SIGKILL)

    with batch.running(*options) as program:
        for number in range(kills // 2):
            kill_an_actor(number)
        model.wait_requested(turns, LONG)
        program.kill()
    wait_until("Ray and the runtimes do not end with the program", lambda: not batch.running_processes())
    with batch.running(*options) as program:
        for number in range(kills // 2, kills):
            kill_an_actor(number)
        assert program.wait(LONG) == 0, batch.log
    seconds = time.monotonic() - began
    rows = batch.rows()
    outcomes, ran = Counter(row["outcome"] for row in rows.values()), batch.commands()
    print(f"\n{turns} turns, {kills} actors and the program killed: {seconds:.0f} s")
    print("outcomes of the last run:", dict(outcomes))
    print("commands that ran again:", sum(ran.values()) - len(ran), "that never ran:", turns - len(ran))
    print("continuations:", batch.check_requests(), "requests:", len(model.requests))
    assert [*rows] == batch.keys and {row["status"] for row in rows.values()} == {"completed"}
    asked = len(model.requests)
    again = batch.run(*options)
    assert {row["outcome"] for row in again.values()} == {"found_done"} and len(model.requests) == asked
