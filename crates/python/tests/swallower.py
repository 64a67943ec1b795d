"""Runs a program, and keeps the requests of one method from it: swallower.py METHOD FIFO PROGRAM ARGUMENT…

It opens the FIFO when it gets the first of them. With the method `close` it closes the FIFO when its input ends, and stays until a
signal ends it.
"""

import signal
import subprocess
import sys

method, fifo = sys.argv[1:3]
reached = False


def reach() -> None:
    global reached
    if not reached:
        reached = True
        open(fifo, "wb").close()


with subprocess.Popen(sys.argv[3:], stdin=subprocess.PIPE) as child:
    assert child.stdin is not None
    for line in iter(sys.stdin.buffer.readline, b""):
        if f'"method":"{method}"'.encode() in line:
            reach()
        else:
            child.stdin.write(line)
            child.stdin.flush()
    child.stdin.close()
    child.wait()
    if method == "close":
        reach()
        signal.pause()
