"""Event loop of the guardian: descriptors, signals, and a deadline on a suspend-proof clock."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable

from coordinator.runtime.linux import syscalls

_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGQUIT,
    signal.SIGCHLD,
)
#: Signals read in one turn; more than the pipe will ever hold.
_SIGNALS_PER_TURN = 512


class Loop:
    """A selector whose timeout goes on while the machine is suspended."""

    def __init__(self) -> None:
        self._alarm = syscalls.Alarm()
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        self.watch(self._alarm.fileno(), self._alarm.silence)

    def watch(self, fd: int, on_ready: Callable[[], None], mask: int = select.EPOLLIN) -> None:
        """Call on_ready whenever fd is readable, or ready for the events of the mask."""
        self._watched[fd] = on_ready
        self._epoll.register(fd, mask)

    def unwatch(self, fd: int) -> None:
        """Remove an open descriptor; no error if it is not watched."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def rewatch(self, fd: int, mask: int) -> None:
        """Change the events of a descriptor; no error if it is not watched."""
        if fd in self._watched:
            self._epoll.modify(fd, mask)

    def turn(self, until: float, first_fd: int) -> None:
        """Wait for a descriptor or the moment; call what is ready, first_fd before the rest."""
        self._alarm.set(until)
        ready = [fd for fd, _ in self._epoll.poll()]
        for fd in sorted(ready, key=lambda fd: fd != first_fd):
            on_ready = self._watched.get(fd)
            if on_ready is not None:  # an earlier callback may have closed it
                on_ready()

    def catch_signals(self, on_signals: Callable[[bytes], None]) -> None:
        """Have the numbers of arriving signals delivered in a turn of the loop."""
        read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for signum in _SIGNALS:
            signal.signal(signum, _noted)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        # Blocked since before this program was executed: any of them would have ended it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

        def arrived() -> None:
            with contextlib.suppress(BlockingIOError):
                on_signals(os.read(read_fd, _SIGNALS_PER_TURN))

        self.watch(read_fd, arrived)


def _noted(_signum: int, _frame: object) -> None:
    """Do nothing: the wakeup descriptor gets the number."""
