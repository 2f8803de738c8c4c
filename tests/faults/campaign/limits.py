"""The intervals of the campaign's groups, and what is forgiven to the machine; in one place."""

from __future__ import annotations

from coordinator.protocol.rules.timing import lease_of

#: Short, so that many faults fit into minutes: a lease of 1.05 s.
LIVENESS_S, HEARTBEAT_S = 1.5, 0.3
LEASE_S = lease_of(LIVENESS_S)
#: Time that two shared cores may add to any wait: scheduling, a program's start; not the protocol.
MACHINE_S = 1.0
#: A token is taken so soon after its holder's last heartbeat, while a node and the database live.
BOUND_S = LIVENESS_S + HEARTBEAT_S + 0.1 + MACHINE_S
#: After a failover nodes find the new primary first, and then wait as E3 says.
FAILOVER_BOUND_S = BOUND_S + HEARTBEAT_S
#: Rows that were deleted come back with the first look that misses them, and the wait begins then.
WRECKED_BOUND_S = BOUND_S + HEARTBEAT_S
#: A gap is told from the program's end where its node could say it, else from a last heartbeat: of
#: a holder that was cut off it may lie a lease and the time to kill (0.2 s) before the end.
TOLD_LONG_S = LEASE_S + 0.2
#: A node dates an end when its guardian has seen that all of the program is dead: in a heartbeat.
#: Beyond it counts only what an observer has measured, of the machine and of the fault.
TOLD_SHORT_S = HEARTBEAT_S
#: Transactions of a node for each of its heartbeats, whatever state the tables are in.
ASKED_PER_HEARTBEAT_MAX = 4
#: A wholly frozen node may write for so long between its thaw and its death; no timer can be
#: faster than the kernel that wakes it, and only the fence closes that gap.
THAW_LINE_S = 0.05
#: The program writes a line so often; the end of a run is known to this.
STEP_S = 0.005
#: Nothing that the campaign waits for takes longer, also on a busy machine.
WAIT_S = 30.0
