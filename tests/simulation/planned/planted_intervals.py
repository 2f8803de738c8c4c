"""Bugs planted in the rules of the group's interval (I); the simulation must find each of them."""

from __future__ import annotations

from typing import Any

from coordinator.protocol.group.interval import Target
from coordinator.protocol.node.planned import interval
from tests.simulation.planned import administrators
from tests.simulation.planned.planted import PlantedInPlans
from tests.simulation.world.settings import Bias

ACTS = (administrators.SET, administrators.SET_AND_CUT, administrators.SET_AND_CUT)
LOSES = (administrators.SET, administrators.SET_AND_LOSE, administrators.SET_AND_LOSE)


def _at_once(target: Target, **_: object) -> float:
    """Show a shorter interval while trust by a longer one stands."""
    return float("-inf")


def _longer_at_once(target: Target, **_: object) -> float:
    """Hold a longer deadline before the own row shows it."""
    return target.liveness_s


def _longer_once_agreed(target: Target, *, now_s: float, told: int | None) -> float:
    """Forget, after a new session, that the row shows the file's interval again."""
    return target.liveness_s if target.agreed else min(now_s, target.liveness_s)


def _longer_once_told(target: Target, *, now_s: float, told: int | None) -> float:
    """Hold a longer deadline that other nodes have not heard of."""
    return target.liveness_s if told == target.change else min(now_s, target.liveness_s)


_real_adopt = interval.adopt


def _nothing_lost(*given: Any, moved: bool) -> Any:
    """Take what was told for told, although the commit was lost with a failover."""
    return _real_adopt(*given, moved=False)


PLANTED_INTERVALS: dict[str, PlantedInPlans] = {
    "short-at-once": PlantedInPlans(
        rule="I3: a row shows a shorter interval when no longer trust is left",
        acts=ACTS,
        patches=((interval, "tell_at", _at_once),),
    ),
    "long-at-once": PlantedInPlans(
        rule="I4: a lease gets longer when the own row shows it",
        acts=ACTS,
        patches=((interval, "trusted_s", _longer_at_once),),
    ),
    "long-once-agreed": PlantedInPlans(
        rule="I4: a new session begins with the interval of its file",
        acts=ACTS,
        patches=((interval, "trusted_s", _longer_once_agreed),),
    ),
    "long-once-told": PlantedInPlans(
        rule="I4: a lease gets longer when every live node has told",
        acts=LOSES,
        patches=((interval, "trusted_s", _longer_once_told),),
    ),
    "told-and-lost": PlantedInPlans(
        rule="I5: another identity of the database may lack what was told",
        acts=LOSES,
        patches=((interval, "adopt", _nothing_lost),),
    ),
}

#: Worlds with room for a shorter interval, and clocks as wrong as they may be.
BIAS = Bias(timing=(6.0, 0.5), extreme=True)
#: Variants that the simulation shows, with the seed of a world that does; transcripts show all.
SIMULATED = {"long-at-once": 46, "short-at-once": 98}
