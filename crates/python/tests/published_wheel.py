"""Checks a wheel that has the name of the published package: published_wheel.py WHEEL FOLDER-WITH-PYDANTIC

In a fresh environment, another distribution requires the published package, and pip is content.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

DEPENDENT = """Metadata-Version: 2.1
Name: needs-codex
Version: 1.0
Requires-Dist: openai-codex==0.163.0
"""
PROGRAM = """
import importlib.metadata, openai_codex
version = importlib.metadata.version("openai-codex")
assert version.startswith("0.163.0+rust."), version
assert openai_codex.__version__ == version
print(version)
"""


def dependent(folder: Path) -> Path:
    """The wheel of a distribution that requires the published package."""
    path = folder / "needs_codex-1.0-py3-none-any.whl"
    info = "needs_codex-1.0.dist-info"
    with ZipFile(path, "w") as wheel:
        wheel.writestr("needs_codex.py", "import openai_codex\n")
        wheel.writestr(f"{info}/METADATA", DEPENDENT)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def main() -> None:
    wheel, tools = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder, "environment"), with_pip=True)
        python = str(Path(folder, "environment", "bin", "python"))
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "install", "--no-index", "--find-links", tools, wheel, dependent(Path(folder))], check=True
        )
        subprocess.run([*pip, "check"], check=True)
        subprocess.run([python, "-c", f"import needs_codex\n{PROGRAM}"], check=True)


if __name__ == "__main__":
    main()
