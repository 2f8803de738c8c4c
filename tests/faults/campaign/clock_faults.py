"""Wrong clocks: a node's wall clock is stepped, or all its clocks run fast or slow."""

from __future__ import annotations

from tests.faults.campaign.ground import NAMES, Ground
from tests.faults.campaign.limits import HEARTBEAT_S
from tests.faults.campaign.network_faults import stall
from tests.support.machines.faketime import Clocks

HOUR_S = 3600.0
#: Each node's clocks; whichever node holds, another one differs from it by 10 or 20 %.
RATES = {"node-1": 0.9, "node-2": 1.1, "node-3": 1.0}


def step(ground: Ground) -> None:
    """An hour forward or back, and some heartbeats later to where it was."""
    clocks = ground.parts[f"clocks {ground.rng.choice(NAMES)}"]
    assert isinstance(clocks, Clocks)
    clocks.step(ground.rng.choice((HOUR_S, -HOUR_S)))
    ground.run_on(2 * HEARTBEAT_S)
    clocks.step(0.0)


def stall_at_wrong_rates(ground: Ground) -> None:
    """A node loses its path while its clocks and the watchers' run at different rates."""
    stall(ground)
