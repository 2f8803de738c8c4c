"""Writer of lines for a process that must never wait for the reader of its log.

A separate thread waits for a log that accepts nothing. Up to LINES_MAX lines wait with it; further
lines are dropped and counted.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

#: Number of lines that wait for a log that accepts none.
LINES_MAX = 1000


class LineWriter:
    """A queue of lines and the thread that writes them to a descriptor.

    told_of_loss: makes the line that reports lost lines, once the log accepts lines again.
    """

    def __init__(self, fd: int, told_of_loss: Callable[[int], str]) -> None:
        self._fd, self._told_of_loss = fd, told_of_loss
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Start empty: lines that wait in a process are not its child's to write."""
        self._changed = threading.Condition()
        self._lines: deque[str] = deque()
        self._busy = False
        self._lost = 0
        self._thread: threading.Thread | None = None

    def put(self, line: str) -> None:
        """Queue one line, with its newline; callable from any thread, never waits."""
        with self._changed:
            if len(self._lines) >= LINES_MAX:
                self._lost += 1
                return
            self._lines.append(line)
            if self._thread is None:
                thread = threading.Thread(target=self._write, name="log", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no thread to spare now: the next line tries again
                    return
                self._thread = thread
            self._changed.notify_all()

    def flush(self, within_s: float) -> bool:
        """Wait until all lines are written, at most within_s; false when some are not."""
        until = time.monotonic() + within_s
        with self._changed:
            while self._lines or self._busy:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(left_s)
            return not self._lost

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    self._changed.wait()
                lines, self._lines = list(self._lines), deque()
                self._busy = True
            lost = 0 if self._written("".join(lines)) else len(lines)
            with self._changed:
                self._lost += lost
                if self._lost and not lost:
                    self._lines.append(self._told_of_loss(self._lost))
                    self._lost = 0
                self._busy = False
                self._changed.notify_all()

    def _written(self, text: str) -> bool:
        left = text.encode(errors="backslashreplace")
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # O_NONBLOCK was set on the file that the program shares
                select.select([], [self._fd], [])
            except OSError:
                return False
        return True
