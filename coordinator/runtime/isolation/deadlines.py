"""Deadlines of a node's runs, in memory that its processes share.

The guardian writes, agent and spare read. Nothing is sent, so nothing can be full, late or lost: a
reader sees the guardian's last decision even when the guardian is frozen or dead.
"""

from __future__ import annotations

import os

from coordinator.protocol.guardian.state import RUNS_MAX
from coordinator.protocol.guardian.wire import SLOT

#: Reads until two agree; a write takes less than a microsecond.
_LOOKS_MAX = 100


class Deadlines:
    """The guardian's end; every agent and spare inherits the descriptor."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("coord-deadlines", os.MFD_CLOEXEC)
        self._slots: dict[int, int] = {}
        self._free = list(range(RUNS_MAX - 1, -1, -1))

    def put(self, run: int, trusted_until: float) -> None:
        """Write the deadline of a run."""
        slot = self._slots.get(run)
        if slot is None:
            slot = self._slots[run] = self._free.pop()
        os.pwrite(self.fd, SLOT.pack(run, trusted_until), slot * SLOT.size)

    def drop(self, run: int) -> None:
        """Forget a run: nothing of it is left."""
        slot = self._slots.pop(run, None)
        if slot is not None:
            self._free.append(slot)
            os.pwrite(self.fd, SLOT.pack(0, 0), slot * SLOT.size)


def read(fd: int) -> dict[int, float]:
    """Return the deadlines by the number of the run; empty without a descriptor."""
    if fd < 0:
        return {}
    before = None
    for _ in range(_LOOKS_MAX):
        seen = os.pread(fd, RUNS_MAX * SLOT.size, 0)
        if seen == before:
            break
        before = seen
    whole = seen[: len(seen) - len(seen) % SLOT.size]
    return {int(run): until for run, until in SLOT.iter_unpack(whole) if run}
