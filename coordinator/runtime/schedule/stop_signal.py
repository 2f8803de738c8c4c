"""Delivery of SIGTERM to a program that runs the user's code in its main thread.

A handler of Python runs in the main thread, when that thread returns to the interpreter. The thread
may hold the very lock that the handler needs. It also stays blocked on a lock when the kernel
delivered the signal to another thread (as it does when one more is pending). So the effective
handler is the interpreter's own in C, which writes the signal's number into a pipe, and a thread
reads the pipe.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

Handler = Callable[[int, object], None]

STOPPING = (signal.SIGTERM, signal.SIGINT)
#: Signals that the guardian passes on, and that would end a program without a handler.
PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StopSignal:
    """The request that everything ends soon: an event to check, and callbacks."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []

    def set(self) -> None:
        """Set the event and call all callbacks, once; never from a signal handler: it locks."""
        with self._lock:
            if self.event.is_set():
                return
            self.event.set()
            callbacks = tuple(self._callbacks)
        for callback in callbacks:
            callback()

    @contextmanager
    def calling(self, callback: Callable[[], object]) -> Iterator[None]:
        """Have `callback` called when the signal is set; at once when it already is."""
        with self._lock:
            self._callbacks.append(callback)
            already = self.event.is_set()
        if already:
            callback()
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)


def listen(stop: StopSignal) -> Handler:
    """Set `stop` on SIGTERM and SIGINT, and survive the signals that are passed on.

    Called once, by the main thread, before the user's module is loaded, which may change handlers.
    Returns the handler, so that it can be told from one of the user's.
    """
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)

    def on_stop(signum: int, frame: object) -> None:  # noqa: ARG001
        # Written again, because asyncio may have replaced the wakeup descriptor.
        os.write(write_fd, bytes([signum]))

    def watch() -> None:
        while not set(os.read(read_fd, 64)).intersection(STOPPING):
            pass
        stop.set()
        if signal.getsignal(signal.SIGTERM) is _leave:
            # This wakes the main thread; `_leave` can only be called once.
            signal.pthread_kill(_main_thread(), signal.SIGTERM)

    threading.Thread(target=watch, name="stop", daemon=True).start()
    for signum in STOPPING:
        signal.signal(signum, on_stop)
    for signum in PASSED_ON:
        # Not SIG_IGN, which the user's own children would inherit.
        signal.signal(signum, _pass)
    return on_stop


def leave_when_told(on_stop: Handler) -> None:
    """Let SIGTERM end code that cannot check a stop event, like any program that cleans up.

    SystemExit is raised in the main thread, so that its `finally` blocks run.
    """
    for signum in STOPPING:
        if signal.getsignal(signum) is on_stop:
            signal.signal(signum, _leave)


def _leave(signum: int, frame: object) -> NoReturn:  # noqa: ARG001
    for each in STOPPING:
        signal.signal(each, _pass)  # a second one must not interrupt the cleaning up
    raise SystemExit(0)


def _pass(signum: int, frame: object) -> None:
    """Do nothing."""


def _main_thread() -> int:
    ident = threading.main_thread().ident
    assert ident is not None, "the main thread has started"
    return ident
