"""Command on a terminal of its own: what it writes, what a person types, and the size."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from types import TracebackType

#: Far more than a command needs to draw, on a machine that does much else.
TIMEOUT_S = 60.0


class Terminal:
    """Command whose controlling terminal this is; use it as a context manager."""

    def __init__(
        self, command: list[str], environ: Mapping[str, str], *, rows: int = 24, columns: int = 80
    ) -> None:
        self._master, self._slave = os.openpty()
        self.resize(rows, columns)
        self.modes = self._modes()
        self.written = b""
        self.process = subprocess.Popen(
            command,
            env=dict(environ),
            cwd="/",
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )

    def __enter__(self) -> Terminal:
        """Return the terminal."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the command, if it still runs."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size, as a person who pulls at the window does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Type keys; Ctrl-C is b"\\x03"."""
        os.write(self._master, keys)

    def until(self, found: Callable[[bytes], bool]) -> bytes:
        """Read until what was written since the last call fulfils a condition; return it."""
        read, give_up_at = b"", time.monotonic() + TIMEOUT_S
        while not found(read):
            assert time.monotonic() < give_up_at, f"not written in time; last: {read[-2000:]!r}"
            if select.select([self._master], [], [], 1.0)[0]:
                read += os.read(self._master, 65536)
        self.written += read
        return read

    def end(self) -> int:
        """Read until the command has ended, and return its exit code."""
        self.until(lambda _: self.process.poll() is not None)
        while select.select([self._master], [], [], 0)[0]:
            self.written += os.read(self._master, 65536)
        return self.process.returncode

    def unchanged(self) -> bool:
        """Return True if the modes of the terminal are those of the start."""
        return self._modes() == self.modes

    def _modes(self) -> list[object]:
        return termios.tcgetattr(self._slave)


def _take_terminal() -> None:
    """Make the terminal the controlling one; a runner in the background may ignore signals."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP):
        signal.signal(signum, signal.SIG_DFL)
