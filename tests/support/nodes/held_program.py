"""Program that asks for its holding, in itself and in descendants: `held_program.py SOCKET`.

Each process says when it has seen a renewal of its deadline, with its own kind and what it knows.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading

import coordinator

WAIT_S = 60.0


def tell(kind: str, address: str) -> None:
    """Wait for a renewal, and say so."""
    held = coordinator.held()
    first, pause = held.deadline, threading.Event()
    for _ in range(int(WAIT_S / 0.02)):
        held.check()
        if held.deadline > first:
            break
        pause.wait(0.02)
    else:
        raise AssertionError("no renewal was seen")
    facts = {"kind": kind, "group": held.group, "term": held.term, "session": held.session}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.sendto(json.dumps(facts).encode(), address)


def main() -> None:
    kind, address = sys.argv[1:]
    again = [sys.executable, __file__]
    tell(kind, address)
    if kind == "program":
        # A child that was given no descriptor, and its own child, which is not given any either.
        child = subprocess.Popen([*again, "child", address], close_fds=True)
        if (forked := os.fork()) == 0:
            os.setsid()
            try:
                tell("fork", address)
            finally:
                os._exit(0)
        spawned = multiprocessing.get_context("spawn").Process(target=tell, args=("spawn", address))
        spawned.start()
        child.wait()
        os.waitpid(forked, 0)
        spawned.join()
        threading.Event().wait()
    elif kind == "child":
        subprocess.run([*again, "grandchild", address], close_fds=True, check=True)


if __name__ == "__main__":
    main()
