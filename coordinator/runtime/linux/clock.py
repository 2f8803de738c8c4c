"""The clock that measures trust."""

from __future__ import annotations

import time

#: CLOCK_BOOTTIME goes on while the machine is suspended, so trust has expired when it wakes up.
#: A system without it uses the monotonic clock.
_CLOCK_ID: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class BoottimeClock:
    """Seconds since the machine was started, the same in all of its processes."""

    __slots__ = ()

    def now(self) -> float:
        """Return the present moment."""
        return time.clock_gettime(_CLOCK_ID)
