"""Runs a program, and replaces text in its output: rewriter.py OLD NEW PROGRAM ARGUMENT…"""

import subprocess
import sys

old, new = (argument.encode() for argument in sys.argv[1:3])
with subprocess.Popen(sys.argv[3:], stdout=subprocess.PIPE) as child:
    assert child.stdout is not None
    for line in iter(child.stdout.readline, b""):
        sys.stdout.buffer.write(line.replace(old, new))
        sys.stdout.buffer.flush()
