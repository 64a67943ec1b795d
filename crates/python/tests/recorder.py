"""Runs the program of its arguments, and writes each line of its input to a file: recorder.py FILE PROGRAM ARGUMENT…"""

import subprocess
import sys

with open(sys.argv[1], "ab", buffering=0) as log, subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE) as child:
    for line in iter(sys.stdin.buffer.readline, b""):
        log.write(line)
        child.stdin.write(line)
        child.stdin.flush()
    child.stdin.close()
