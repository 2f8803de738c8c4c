"""Signals of a process that runs its schedules in `run`; they mean what they mean to `coord run`.

TERM and INT end it after the runs that are going on, and a second INT does not wait. USR1 resigns,
USR2 logs the state, QUIT writes the stacks of all threads, and HUP is survived: there is nothing to
read again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coordinator.app.api.schedules.service import Schedules
from coordinator.runtime.holders.holding import LOGGER

_logger = logging.getLogger(LOGGER)

STOPPING = (signal.SIGTERM, signal.SIGINT)
TAKEN = (*STOPPING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
#: Byte that is no signal: no schedule is left.
_END = 0


class Pressed:
    """Reaction to the signals of one `run`."""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules
        self._stopping = False

    def take(self, signum: int) -> bool:
        """React to a signal; true for one that ends everything at once."""
        if signum in STOPPING:
            if self._stopping and signum == signal.SIGINT:
                return True
            self._stopping = True
            _logger.info("%s: stopping", signal.Signals(signum).name)
            self._schedules.tell_stop()
        elif signum == signal.SIGUSR1:
            _logger.info("SIGUSR1: the tokens are given back")
            self._schedules.resign()
        elif signum == signal.SIGUSR2:
            _logger.info("%s", self._schedules.describe())
        elif signum == signal.SIGQUIT:
            faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr, all_threads=True)
        return False


def wait_for_end(schedules: Schedules) -> None:
    """Wait until no schedule is left, and take the signals meanwhile.

    Called outside the main thread it takes no signal.
    Errors: KeyboardInterrupt at a second INT.
    """
    if threading.current_thread() is not threading.main_thread():
        over = threading.Event()
        schedules.on_end(over.set)
        over.wait()
        return
    pressed = Pressed(schedules)
    with _taken() as (reader, writer):
        schedules.on_end(lambda: _tell(writer))
        while True:
            came = reader.recv(64)
            if any(pressed.take(signum) for signum in came if signum != _END):
                raise KeyboardInterrupt
            if _END in came:
                return


@contextmanager
def _taken() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Take the signals as bytes of a socket; afterwards they are the application's again.

    The interpreter's own handler in C writes them, so none is lost between two bytecodes, and a
    signal that the kernel gives to another thread wakes this one too.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    woken = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    before: dict[int, Any] = {each: signal.signal(each, _nothing) for each in TAKEN}
    try:
        yield reader, writer
    finally:
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(woken)
        reader.close()
        writer.close()


def _tell(writer: socket.socket) -> None:
    with contextlib.suppress(OSError):  # after a second INT nobody reads, and it is closed
        writer.send(bytes([_END]))


def _nothing(_signum: int, _frame: object) -> None:
    """Do nothing: the byte in the socket is what counts."""
