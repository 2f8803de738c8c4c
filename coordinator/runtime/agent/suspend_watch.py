"""Noticing that the machine was suspended (rule T6).

CLOCK_BOOTTIME goes on meanwhile. But a kernel that has to ask a clock of whole seconds how long it
slept counts up to a second too little or too much, and more when the wall clock was corrected: a
sleep is not measured here, it is noticed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable

from coordinator.protocol.node.events import Event
from coordinator.runtime.linux import syscalls

#: The kernel's own count of sleeps: there is one that it took for none at all.
COUNT = "/sys/power/suspend_stats/success"
COUNT_LENGTH_MAX = 32
#: Between two clocks that are read one after the other; a process may be held up there.
NOISE_S = 0.05
#: A kernel counts a sleep a little after it has let the processes go on.
COUNTED_AFTER_S = 1.0


def asleep_s() -> float:
    """Return how long the machine has slept since it was started, as its kernel counts it."""
    while True:
        before = time.clock_gettime(time.CLOCK_MONOTONIC)
        moment = time.clock_gettime(time.CLOCK_BOOTTIME)
        if time.clock_gettime(time.CLOCK_MONOTONIC) - before < NOISE_S / 2:
            return moment - before


class SuspendWatch:
    """Something to listen to: it calls when the machine was suspended and is awake again.

    succeeds: the agent before this one may have died of a sleep that is still to be counted.
    """

    def __init__(self, on_suspended: Callable[[], None], *, succeeds: bool = False) -> None:
        self._on_suspended = on_suspended
        self._steps = syscalls.ClockSteps()
        self._count_fd = -1
        with contextlib.suppress(OSError):
            self._count_fd = os.open(COUNT, os.O_RDONLY | os.O_CLOEXEC)
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        self._counts_from = now + COUNTED_AFTER_S if succeeds else now
        self._asleep_s, self._count = asleep_s(), b""
        self._count = self._counted()

    def fileno(self) -> int:
        """Return a descriptor that is readable when the machine has woken."""
        return self._steps.fileno()

    def close(self) -> None:
        """Close what it looks at."""
        self._steps.close()
        if self._count_fd >= 0:
            os.close(self._count_fd)

    def events(self) -> Iterable[Event]:
        """Look whether it has slept since the last look; nothing comes of it but the call."""
        self._steps.silence()
        slept_s, count = asleep_s(), self._counted()
        counted = count != self._count
        if counted and time.clock_gettime(time.CLOCK_MONOTONIC) < self._counts_from:
            counted = False
        self._count = count
        if counted or slept_s > self._asleep_s + NOISE_S:
            self._asleep_s = slept_s
            self._on_suspended()
        return ()

    def _counted(self) -> bytes:
        """Return the kernel's count as it writes it; the last one where it cannot be read."""
        with contextlib.suppress(OSError):
            return os.pread(self._count_fd, COUNT_LENGTH_MAX, 0) or self._count
        return self._count
