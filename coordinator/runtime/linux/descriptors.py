"""Descriptors 0 to 2: opened before any other file, and free of secrets.

A process that is started without one of them (`coord run 2>&-`) gives its number to the first file
that it opens. So each process of coord calls `open_standard` before it opens anything.
"""

from __future__ import annotations

import os
import sys

#: The lowest descriptor that is not input, output or errors.
FIRST_OWN = 3


def open_standard() -> None:
    """Open /dev/null as each of 0, 1 and 2 that is closed."""
    for fd in range(FIRST_OWN):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is this one: all below it are open by now.
            assert os.open(os.devnull, os.O_RDWR) == fd, "descriptors are given out from below"
            os.set_inheritable(fd, True)
    # Python has no object for a stream that was closed when it was started.
    for name, fd, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 - for good
