"""How many programs a node may run at the same time (docs/protocol.md, rule P12)."""

from __future__ import annotations

from coordinator.protocol.guardian.state import RUNS_MAX
from coordinator.runtime.linux import syscalls

#: What the guardian has open for one run: its line, its board, its cgroup, its keeper's word.
DESCRIPTORS_EACH = 5
#: What the guardian has open for itself: a dozen, and what it inherited.
DESCRIPTORS_OWN = 128
#: More descriptors are of no use to a guardian.
DESCRIPTORS_MAX = RUNS_MAX * DESCRIPTORS_EACH + DESCRIPTORS_OWN


def programs_max(descriptors: int | None = None) -> int:
    """Return how many programs a guardian with so many descriptors may run.

    descriptors: what it may raise its limit to; None: as this process may.
    """
    hard = syscalls.descriptor_limits()[1] if descriptors is None else descriptors
    return min(RUNS_MAX, max(0, hard - DESCRIPTORS_OWN) // DESCRIPTORS_EACH)
