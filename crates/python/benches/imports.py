"""Measures what an import costs, and what the first use of the classes of a usual turn costs.

    python benches/imports.py [--package PYTHON]

Each figure is the median of several fresh processes. `--package` names the interpreter of an environment that has the published
package, and measures its import too.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

ROUNDS = 11
PROGRAMS = {
    "a bare interpreter": "pass",
    "import openai_codex": "import openai_codex",
    "import openai_codex.types, models, generated.v2_all": (
        "import openai_codex.types, openai_codex.models, openai_codex.generated.v2_all"
    ),
    "from pydantic import BaseModel": "from pydantic import BaseModel",
    "the classes of a usual turn": (
        "from openai_codex.generated import v2_all\nv2_all.ThreadStartResponse; v2_all.ThreadItem; v2_all.TurnStartResponse\n"
        "v2_all.TurnCompletedNotification; v2_all.ThreadTokenUsageUpdatedNotification; v2_all.AgentMessageDeltaNotification"
    ),
    "all classes": "from openai_codex.generated.v2_all import *",
}


def median(python: str, program: str) -> float:
    """The milliseconds of a process."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([python, "-c", program], check=True)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", help="an interpreter with the published package")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, milliseconds of a process")
    for name, program in PROGRAMS.items():
        print(f"{median(sys.executable, program):>8.0f}  {name}")
    if options.package:
        print(f"{median(options.package, 'import openai_codex'):>8.0f}  import openai_codex of the published package")


if __name__ == "__main__":
    main()
