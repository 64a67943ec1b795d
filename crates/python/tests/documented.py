"""Writes the programs of the documentation as files, for type checkers: documented.py FOLDER"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
GUIDE = HERE.parents[2] / "docs" / "python.md"
FRONT = HERE.parents[2] / "README.md"


def programs(path: Path) -> list[str]:
    """The programs of a document."""
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


def write(folder: Path) -> None:
    """Write each program to a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.py"):
        path.unlink()
    for name, path in (("readme", README), ("guide", GUIDE), ("front", FRONT)):
        for number, program in enumerate(programs(path)):
            (folder / f"{name}_{number}.py").write_text(program)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
