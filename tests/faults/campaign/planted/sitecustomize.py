"""Breaks one rule in every Python process of a node: PYTHONPATH names this directory.

COORD_PLANTED=lease     trust outlasts the others' wait: the lease is twice livenessCheckInterval
COORD_PLANTED=deadline  guardian and spare let the deadline pass, and kill nothing for it
COORD_PLANTED=sleep     nobody notices that the machine was suspended
COORD_PLANTED=clock     besides, trust is measured by a clock that stands still meanwhile

The campaign must find the first two, and test_sleeping_machines the others. A rule that cannot be
broken here any more is an error.
"""

import math
import os
import time

planted = os.environ.get("COORD_PLANTED", "")

if planted == "lease":
    from coordinator.protocol.rules import timing

    assert timing.lease_of(1.0) < 1.0
    timing.lease_of = lambda liveness_s: 2 * liveness_s
elif planted == "deadline":
    from coordinator.protocol.guardian import run as guardian_run
    from coordinator.protocol.rules import backstops

    assert callable(guardian_run.keep_trust)
    assert callable(guardian_run.due)
    guardian_run.keep_trust = lambda run, _now, _orders: run
    guardian_run.due = lambda _run: math.inf
    assert backstops.late({1: 0.0}, 1.0) == {1}
    backstops.late = lambda _deadlines, _now: set()
elif planted in ("sleep", "clock"):
    from coordinator.runtime.agent import suspend_watch
    from coordinator.runtime.linux import clock, syscalls

    assert callable(suspend_watch.SuspendWatch.events)
    suspend_watch.SuspendWatch.events = lambda watch: watch._steps.silence() or ()
    if planted == "clock":
        assert clock._CLOCK_ID == syscalls._CLOCK_BOOTTIME == time.CLOCK_BOOTTIME
        clock._CLOCK_ID = syscalls._CLOCK_BOOTTIME = time.CLOCK_MONOTONIC
