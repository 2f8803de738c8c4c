"""Logs that take nothing: what stands behind the stderr of a node may hang, and nobody may wait."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
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


Log = Callable[[Path], contextlib.AbstractContextManager[int]]
LOGS: dict[str, Log] = {
    "pipe that nobody reads": unread_pipe,
    "terminal after Ctrl-S": stopped_terminal,
    "/dev/full": full_disk,
    "FIFO of a stopped reader": fifo_of_a_stopped_reader,
}
