"""Builds a wheel under the name of the published package, for environments in which another distribution requires that one.

    pip install maturin
    python crates/python/published_name.py [--number N] [--out FOLDER] [MATURIN ARGUMENT…]

The wheel is `openai_codex-0.163.0+rust.N-….whl`. A requirement such as `openai-codex==0.163.0` accepts it. pip installs it from its
file. It does not choose it on its own, because no index has it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PUBLISHED = ("openai-codex", "0.163.0")


def replace(path: Path, pattern: str, replacement: str) -> None:
    """Replace the only match of a pattern in a file."""
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{path}: {count} matches of {pattern}"
    path.write_text(text)


def build(number: int, out: Path, arguments: list[str]) -> None:
    """Build the wheel from a copy of the package."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "python")
        shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.so", "target"))
        replace(copy / "pyproject.toml", '^name = "openai-codex-rs"', f'name = "{PUBLISHED[0]}"')
        manifest = copy / "Cargo.toml"
        replace(manifest, '^version = "[^"]*"', f'version = "{PUBLISHED[1]}+rust.{number}"')
        manifest.write_text(manifest.read_text().replace('path = "../', f'path = "{HERE.parent}/'))
        # The dependencies that the package's own builds have compiled are not compiled again.
        target = os.environ.get("CARGO_TARGET_DIR", str(HERE / "target"))
        maturin = [
            sys.executable,
            "-m",
            "maturin",
            "build",
            "--interpreter",
            sys.executable,
            "--out",
            str(out.resolve()),
        ]
        forget_module(Path(target))
        try:
            subprocess.run([*maturin, *arguments], cwd=copy, env={**os.environ, "CARGO_TARGET_DIR": target}, check=True)
        finally:
            forget_module(Path(target))


def forget_module(target: Path) -> None:
    """Make cargo build the module again. The two versions write the same file, and cargo does not notice that."""
    for pattern in ("*/.fingerprint/openai-codex-python-*", "*/*/.fingerprint/openai-codex-python-*"):
        for folder in target.glob(pattern):
            shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--number", type=int, default=1, help="the N of the version (1)")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="where the wheel is written (dist)")
    options, arguments = parser.parse_known_args()
    build(options.number, options.out, arguments or ["--release"])


if __name__ == "__main__":
    main()
