"""Runs a batch of prompts over Ray actors. It is safe to run the same batch again, whatever was killed before.

    pip install "ray==2.60.*" "rich>=13"
    python ray_batch.py batch.jsonl --actors 3

Each line of the batch is a prompt: ``{"key": "parser", "prompt": "Review src/parser.py.", "cwd": "/repo"}``. A key is run once: a
later run finds its turn, or continues it if it was cut off. The results are in ``batch.results.csv``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import ray
from openai_codex import ApprovalMode, AsyncCodex, AsyncThread, CodexConfig, Sandbox
from openai_codex.client import Endpoint, RestartPolicy
from openai_codex.errors import CodexError, ServerBusyError, StartError, ThreadInUseError, TransportClosedError
from ray.exceptions import RayError
from ray.util import ActorPool
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

# It draws both the bar and the table.
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

COLUMNS = ["key", "outcome", "status", "tokens", "thread_id", "response", "error"]
SHOWN = 40
GO_ON = "You were interrupted. Look at what is done already, and do the rest."
# These errors do not say how the turn ended. The call is repeated, and `ensure` looks for the turn.
AGAIN = (TransportClosedError, StartError, ThreadInUseError, ServerBusyError)


@ray.remote(max_restarts=-1, max_task_retries=20)
class Agent:
    """A client. Ray starts it again when its process dies, and repeats the calls that the process had."""

    def __init__(self, threads: str, home: str, sandbox: Sandbox, socket: str | None) -> None:
        self.threads, self.home, self.sandbox = threads, home, sandbox
        if socket is not None:
            config = CodexConfig(connect=Endpoint.unix(socket))
        else:
            # The runtime keeps a thread for some time after its use: half an hour, or a minute with 0.171.0.
            config = CodexConfig(config_overrides=("thread_unload_delay_secs=1",), restart=RestartPolicy())
        self.codex = AsyncCodex(config)  # the first call starts the runtime

    @ray.method(retry_exceptions=list(AGAIN))
    async def run(self, job: dict[str, str]) -> dict[str, Any]:
        """Makes sure that a turn has run. Returns its row of the table."""
        try:
            thread = await self.thread(job)
            ensured = await thread.ensure(job["key"], job["prompt"], on_half_done=GO_ON)
            await thread.unsubscribe()
        except AGAIN:
            raise
        except CodexError as error:
            # The turn has failed, and fails in the next run too. Another key runs the prompt again.
            return {"key": job["key"], "status": "failed", "error": str(error)}
        result = ensured.result
        return {
            "key": job["key"],
            "outcome": ensured.outcome,
            "status": result.status.value,
            "tokens": result.turn_usage.total_tokens if result.turn_usage is not None else "",
            "thread_id": thread.id,
            "response": result.final_response,
        }

    async def thread(self, job: dict[str, str]) -> AsyncThread:
        """The thread of a key: the one that an earlier run has opened, or a new one."""
        options: dict[str, Any] = {
            "approval_mode": ApprovalMode.deny_all,
            "cwd": job.get("cwd"),
            "sandbox": self.sandbox,
        }
        thread_id = self.kept(job["key"])
        if thread_id is None:
            thread = await self.codex.thread_start(**options)
            # The runtime stores a thread when it gets a name, and otherwise only with its first turn. From here on the thread outlives
            # the runtime, and no other runtime writes to it. So its id can be kept, and only then may its turn begin.
            await thread.set_name(job["key"])
            thread_id = self.keep(job["key"], thread.id)
            if thread_id == thread.id:
                return thread
        # Another run of this batch may have the thread: wait for it.
        return await self.codex.thread_resume(thread_id, writer_timeout=60, **options)

    def kept(self, key: str) -> str | None:
        """The id of a key's thread, if a run of this batch has kept one."""
        with closing(sqlite3.connect(self.threads, timeout=60)) as db:
            row = db.execute("SELECT thread_id FROM threads WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def keep(self, key: str, thread_id: str) -> str:
        """Keeps the id of a key's thread. Returns the one that counts: another run may have been faster."""
        with closing(sqlite3.connect(self.threads, timeout=60)) as db, db:
            db.execute("INSERT OR IGNORE INTO threads VALUES (?, ?, ?)", (key, self.home, thread_id))
        return self.kept(key) or thread_id


def open_threads(path: Path, home: str) -> None:
    """Makes the file with the threads. Ends the program if they are in another home: their turns would run twice."""
    with closing(sqlite3.connect(path, timeout=60)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS threads (key TEXT PRIMARY KEY, home TEXT, thread_id TEXT)")
        others = {other for (other,) in db.execute("SELECT DISTINCT home FROM threads")} - {home}
    if others:
        sys.exit(f"the threads of this batch are in {', '.join(sorted(others))}, and not in {home}")


def start_agents(options: argparse.Namespace, threads: Path, home: str) -> ActorPool:
    """Starts Ray, or connects to the Ray of RAY_ADDRESS, and starts the actors on this machine: the home is here."""
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 80 << 20}
    ray.init(log_to_driver=False, **({} if os.environ.get("RAY_ADDRESS") else local))
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    agent = Agent.options(max_concurrency=options.turns, scheduling_strategy=here)  # type: ignore[attr-defined]
    sandbox, socket = Sandbox(options.sandbox), options.socket and str(options.socket.absolute())
    agents = [agent.remote(str(threads), home, sandbox, socket) for _ in range(options.actors)]
    # The pool gives an actor one call at a time. So it has each actor as many times as it may have turns.
    return ActorPool(agents * options.turns)


def run_all(pool: ActorPool, jobs: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Runs the jobs, and returns their rows in the same order."""
    rows = {job["key"]: {"key": job["key"], "status": "unknown", "error": "run the batch again"} for job in jobs}
    for job in jobs:
        pool.submit(lambda agent, job: agent.run.remote(job), job)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"{len(jobs)} prompts", total=len(jobs))
        while pool.has_next():  # type: ignore[no-untyped-call]
            try:
                row = pool.get_next_unordered()
                rows[row["key"]] = row
            except RayError as error:  # Ray has repeated the call often enough
                progress.console.print(str(error), markup=False)
            progress.advance(task)
    return list(rows.values())


def main() -> int:
    """Runs the batch. Returns 0 if all turns are completed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("batch", type=Path, help="a file with a prompt on each line")
    parser.add_argument("--actors", type=int, default=3, help="the number of actors, each with a client")
    parser.add_argument("--turns", type=int, default=4, help="how many turns an actor runs at once")
    parser.add_argument("--sandbox", choices=[sandbox.value for sandbox in Sandbox], default="read-only")
    parser.add_argument("--socket", type=Path, help="the socket of a server that all actors use, instead of their own")
    options = parser.parse_args()
    jobs = [json.loads(line) for line in options.batch.read_text().splitlines() if line.strip()]
    if len({job["key"] for job in jobs}) < len(jobs):
        sys.exit("two prompts have the same key")
    threads = options.batch.resolve().with_suffix(".threads.sqlite")
    home = str((options.socket or Path(os.environ.get("CODEX_HOME") or "~/.codex").expanduser()).absolute())
    open_threads(threads, home)
    rows = run_all(start_agents(options, threads, home), jobs)

    results = options.batch.with_suffix(".results.csv")
    with results.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    table = Table(*COLUMNS[:4], "response or error")
    for row in sorted(rows, key=lambda row: row["status"] == "completed")[:SHOWN]:
        said = str(row.get("error") or row.get("response") or "")
        table.add_row(*(str(row.get(column) or "") for column in COLUMNS[:4]), said.partition("\n")[0])
    console = Console(markup=False)
    console.print(table)
    console.print(f"{len(rows)} prompts; whole responses in {results}", soft_wrap=True)
    return 0 if all(row["status"] == "completed" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
