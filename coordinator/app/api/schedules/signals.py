"""Signals of a process that runs its schedules in `run`; they mean what they mean to `coord run`.

TERM and INT end it after the runs that are going on, and a second INT does not wait. USR1 resigns,
USR2 logs the state, QUIT writes the stacks of all threads, and HUP is survived: there is nothing to
read again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import math
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coordinator.app.api.schedules.service import Schedules
from coordinator.runtime.holders.holding import LOGGER
from coordinator.runtime.linux.clock import BoottimeClock

_logger = logging.getLogger(LOGGER)

STOPPING = (signal.SIGTERM, signal.SIGINT)
TAKEN = (*STOPPING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
#: Bytes that are no signals: no schedule is left; the schedules were told to stop.
_END, _TOLD = 0, 255


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


def wait_for_end(schedules: Schedules, timeout_s: float) -> bool:
    """Wait until no schedule is left, and take the signals meanwhile.

    Returns false when a run went on for longer than `timeout_s` after a signal or a stop. Called
    outside the main thread it takes no signal.
    Errors: KeyboardInterrupt at a second INT.
    """
    if threading.current_thread() is not threading.main_thread():
        return _wait_without_signals(schedules, timeout_s)
    pressed, clock, until = Pressed(schedules), BoottimeClock(), math.inf
    with _taken() as (reader, writer), schedules.calling_at_stop(lambda: _tell(writer, _TOLD)):
        schedules.on_end(lambda: _tell(writer, _END))
        while True:
            came = _received(reader, until - clock.now())
            if any(pressed.take(signum) for signum in came if signum not in (_END, _TOLD)):
                raise KeyboardInterrupt
            if _END in came:
                return True
            if not came:
                return False
            if _TOLD in came:
                until = min(until, clock.now() + timeout_s)


def _wait_without_signals(schedules: Schedules, timeout_s: float) -> bool:
    told, over = threading.Event(), threading.Event()
    schedules.on_end(over.set)
    schedules.on_end(told.set)
    with schedules.calling_at_stop(told.set):
        told.wait()
        return over.wait(timeout_s)


def _received(reader: socket.socket, within_s: float) -> bytes:
    """Return the bytes that come; empty when none came in time."""
    poll = select.poll()  # descriptors above 1023, too
    poll.register(reader, select.POLLIN)
    within_ms = None if within_s == math.inf else max(0, math.ceil(within_s * 1000))
    return reader.recv(64) if poll.poll(within_ms) else b""


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


def _tell(writer: socket.socket, byte: int) -> None:
    with contextlib.suppress(OSError):  # after a second INT nobody reads, and it is closed
        writer.send(bytes([byte]))


def _nothing(_signum: int, _frame: object) -> None:
    """Do nothing: the byte in the socket is what counts."""
