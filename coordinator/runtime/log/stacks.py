"""SIGQUIT: the stacks of all threads go to the log, a line each, without waiting.

The interpreter writes them in its handler at any moment, and would wait there for the reader of the
log with everything stopped. So they go into a pipe that never blocks, and a thread passes them on.
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

    with contextlib.suppress(RuntimeError):  # no thread to spare: this node reports no stacks
        threading.Thread(target=pass_on, name="stacks", daemon=True).start()
