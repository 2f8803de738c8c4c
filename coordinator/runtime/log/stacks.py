"""SIGQUIT: the stacks of all threads go to the log, as one line each, and nobody waits for it.

The interpreter writes them in its handler, whatever the process is at, and would wait there for the
reader of the log with everything stopped. So they go into a pipe that takes what it can, and a
thread passes them on.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import Callable


def tell_on_quit(tell: Callable[[str], object]) -> None:
    """Have `tell` called with each line of the stacks after each SIGQUIT."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    faulthandler.register(signal.SIGQUIT, file=write_fd)

    def pass_on() -> None:
        with open(read_fd, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                tell(line.rstrip("\n"))

    with contextlib.suppress(RuntimeError):  # no thread to spare: a node without stacks to tell
        threading.Thread(target=pass_on, name="stacks", daemon=True).start()
