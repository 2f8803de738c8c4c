"""Logs that take nothing: what stands behind the stderr of a node may hang, and nobody may wait."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Nothing takes longer, also on a busy machine.
WAIT_S = 15.0


def fill(write_fd: int) -> None:
    """Fill a pipe or a FIFO to the last byte."""
    os.set_blocking(write_fd, False)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write_fd, b"." * size)
    os.set_blocking(write_fd, True)


@contextmanager
def unread_pipe(_folder: Path) -> Iterator[int]:
    """A full pipe whose reader never reads."""
    read_fd, write_fd = os.pipe()
    fill(write_fd)
    try:
        yield write_fd
    finally:
        os.close(read_fd)
        os.close(write_fd)


@contextmanager
def stopped_terminal(_folder: Path) -> Iterator[int]:
    """A terminal at which somebody has pressed Ctrl-S."""
    keyboard, terminal = pty.openpty()
    os.write(keyboard, b"\x13")
    writable = select.poll()
    writable.register(terminal, select.POLLOUT)
    for _ in range(int(WAIT_S / 0.01)):
        if not writable.poll(0):
            break
        select.select([], [], [], 0.01)
    assert not writable.poll(0), "the terminal was not stopped"
    try:
        yield terminal
    finally:
        os.close(terminal)
        os.close(keyboard)


@contextmanager
def full_disk(_folder: Path) -> Iterator[int]:
    """A file system without room."""
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def fifo_of_a_stopped_reader(folder: Path) -> Iterator[int]:
    """A FIFO whose reader was stopped by a signal."""
    path = folder / "log.fifo"
    os.mkfifo(path)
    with subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL) as reader:
        write_fd = os.open(path, os.O_WRONLY)
        try:
            reader.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, reader.pid, os.WSTOPPED | os.WNOWAIT)
            fill(write_fd)
            yield write_fd
        finally:
            os.close(write_fd)
            reader.kill()


class Tap:
    """A pipe that is read into a file, until the test stops reading and fills it up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_fd, self.write_fd = os.pipe()
        self._may_read, self._idle = threading.Event(), threading.Event()
        self._over = False
        self._may_read.set()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def _pass_on(self) -> None:
        with self._path.open("ab", buffering=0) as log:
            while not self._over:
                if not self._may_read.is_set():
                    self._idle.set()
                    self._may_read.wait()
                if select.select([self._read_fd], [], [], 0.02)[0]:
                    log.write(os.read(self._read_fd, 65536))

    def stop(self) -> None:
        """Read no more, and leave no room."""
        self._idle.clear()
        self._may_read.clear()
        assert self._idle.wait(WAIT_S)
        # A description of its own: O_NONBLOCK must not become the node's.
        fd = os.open(f"/proc/self/fd/{self.write_fd}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(fd, b"." * 4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(fd, b".")
        os.close(fd)

    def go_on(self) -> None:
        """Read on."""
        self._may_read.set()

    def close(self) -> None:
        self._over = True
        self.go_on()
        self._thread.join(WAIT_S)
        os.close(self._read_fd)
        os.close(self.write_fd)


Log = Callable[[Path], contextlib.AbstractContextManager[int]]
LOGS: dict[str, Log] = {
    "pipe that nobody reads": unread_pipe,
    "terminal after Ctrl-S": stopped_terminal,
    "/dev/full": full_disk,
    "FIFO of a stopped reader": fifo_of_a_stopped_reader,
}
