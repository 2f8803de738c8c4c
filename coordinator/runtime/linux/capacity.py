"""Number of programs that a node may run at the same time (docs/protocol.md, rule P12)."""

from __future__ import annotations

from coordinator.protocol.guardian.state import RUNS_MAX
from coordinator.runtime.linux import syscalls

#: Descriptors of the guardian for one run: its socket, its trust memory, its cgroup, its status.
DESCRIPTORS_EACH = 5
#: Descriptors of the guardian for itself: a dozen, and those that it inherited.
DESCRIPTORS_OWN = 128
#: Largest number of descriptors that a guardian can use.
DESCRIPTORS_MAX = RUNS_MAX * DESCRIPTORS_EACH + DESCRIPTORS_OWN


def programs_max(descriptors: int | None = None) -> int:
    """Return how many programs a guardian with this many descriptors may run.

    descriptors: the limit that it may raise its own to; None: this process's hard limit.
    """
    hard = syscalls.descriptor_limits()[1] if descriptors is None else descriptors
    return min(RUNS_MAX, max(0, hard - DESCRIPTORS_OWN) // DESCRIPTORS_EACH)
