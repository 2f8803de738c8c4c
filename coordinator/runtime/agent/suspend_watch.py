"""Detection of suspends of the machine (rule T6).

CLOCK_BOOTTIME goes on during a suspend. But a kernel that reads the length of a sleep from a clock
of whole seconds counts up to a second too little or too much, and more when the wall clock was
corrected. So a sleep is detected here, not measured.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable

from coordinator.protocol.node.events import Event
from coordinator.runtime.linux import syscalls

#: The kernel's own count of sleeps: it also shows a sleep that the clocks took for none.
COUNT = "/sys/power/suspend_stats/success"
COUNT_LENGTH_MAX = 32
#: Difference of two clocks read one after the other; a process may be delayed in between.
NOISE_S = 0.05
#: Seconds after a sleep within which the kernel counts it; processes already run by then.
COUNTED_AFTER_S = 1.0


def asleep_s() -> float:
    """Return the seconds that the machine has slept since its start, as its kernel counts them."""
    while True:
        before = time.clock_gettime(time.CLOCK_MONOTONIC)
        moment = time.clock_gettime(time.CLOCK_BOOTTIME)
        if time.clock_gettime(time.CLOCK_MONOTONIC) - before < NOISE_S / 2:
            return moment - before


class SuspendWatch:
    """A source for the loop that calls back when the machine was suspended and is awake again.

    succeeds: the previous agent may have died because of a sleep that is not counted yet.
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
        """Close the descriptors."""
        self._steps.close()
        if self._count_fd >= 0:
            os.close(self._count_fd)

    def events(self) -> Iterable[Event]:
        """Check for a sleep since the last check; yields no events, only calls back."""
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
        """Return the kernel's count as text; the last one when it cannot be read."""
        with contextlib.suppress(OSError):
            return os.pread(self._count_fd, COUNT_LENGTH_MAX, 0) or self._count
        return self._count
