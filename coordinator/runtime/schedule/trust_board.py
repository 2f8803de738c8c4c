"""Shared memory in which the guardian writes until when its program may be trusted.

The guardian shares 16 bytes with the program: two native doubles on CLOCK_BOOTTIME, trusted_until
and last_extended_at. Reading them costs no system call and no message, so a program can check
before every step. It is advice for a program that wants to end its work in order; the guardian
kills it at the deadline in any case.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import Protocol

from coordinator.errors import TokenLostError
from coordinator.ports import Clock
from coordinator.protocol.guardian.wire import BOARD
from coordinator.protocol.rules.trust import fresh_since


class Trust(Protocol):
    """Checks that a run makes before it starts anything."""

    def check(self) -> None:
        """Raise TokenLostError when trust is over."""
        ...

    def remaining_s(self) -> float:
        """Return the seconds until trust is over at present; negative when it is."""
        ...

    def fresh(self, lease_s: float, heartbeat_s: float) -> bool:
        """Say whether something new may be started."""
        ...


class TrustBoard:
    """Reader of the memory; a whole double is read at once, so values are never torn."""

    def __init__(self, doubles: Sequence[float], clock: Clock) -> None:
        self._doubles, self._clock = doubles, clock

    @classmethod
    def from_fd(cls, fd: int, clock: Clock) -> TrustBoard:
        """Map the memory that `fd` names; the descriptor is closed, the mapping stays.

        Errors: OSError or ValueError when the descriptor names no such memory.
        """
        board = mmap.mmap(fd, BOARD.size, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(fd)
        return cls(memoryview(board).cast("d"), clock)

    @property
    def trusted_until(self) -> float:
        """Moment on the board's clock after which the program must not act."""
        return self._doubles[0]

    @property
    def last_extended_at(self) -> float:
        """Moment at which the guardian last wrote."""
        return self._doubles[1]

    def remaining_s(self) -> float:
        """Return the seconds until trust is over at present; negative when it is."""
        return self.trusted_until - self._clock.now()

    def check(self) -> None:
        """Return while the token may be trusted.

        Errors: TokenLostError from trusted_until on.
        """
        over_s = -self.remaining_s()
        if over_s >= 0:
            raise TokenLostError(f"the token is lost: trust in it ended {over_s:.1f} s ago")

    def fresh(self, lease_s: float, heartbeat_s: float) -> bool:
        """Say whether something new may be started: not after two missed renewals (rule T5)."""
        return fresh_since(
            self.trusted_until,
            self.last_extended_at,
            self._clock.now(),
            lease_s=lease_s,
            heartbeat_s=heartbeat_s,
        )
