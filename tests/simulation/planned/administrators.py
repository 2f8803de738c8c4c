"""Administrators who ask for planned changes at random, and change their minds (rules A)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coordinator.protocol.messages.planned import HANDOVERS, SETTINGS, PlannedKind
from coordinator.protocol.rules.timing import RATE_ERROR
from tests.simulation.plans import faults
from tests.simulation.plans.stories import HOLDER, Fault
from tests.simulation.world.settings import GROUP, WorldSettings
from tests.support.fakes import memory_planned

if TYPE_CHECKING:
    from tests.simulation.world.world import World

#: A pause with an end lasts so long at the most, and a switchover waits for its time as long.
SPAN_MAX_S = 6.0
#: After its time a switchover that is still open runs out.
HANDOVER_LASTS_S = 60.0
#: Deeds of an administrator to a group with one program, and to one that spreads tasks.
OF_PROGRAMS = (
    *("switchover", "switchover to", "switchover to", "switchover at", "cancel"),
    *("resign", "pause work", "pause takeovers", "resume", "drain", "undrain", "priority"),
    *("livenessCheckInterval", "livenessCheckInterval", "take back"),
)
#: An interval that is set is one of these multiples of the longest of the files.
SHARES = (0.5, 0.8, 1.0, 1.5, 2.0)
SET = PlannedKind.LIVENESS.value
#: An interval is set, and soon after that its holder is cut off, or the database forgets it.
SET_AND_CUT, SET_AND_LOSE = f"{SET} and cut", f"{SET} and lose"
#: Mark of the backup before an interval is set; those of the faults are others.
MARK = -1_000_000
OF_TASKS = (
    *("livenessCheckInterval", "take back"),
    *("pause work", "pause takeovers", "resume", "drain", "drain", "undrain", "priority"),
)
ENDS = {
    "cancel": HANDOVERS,
    "resume": (PlannedKind.PAUSE_WORK, PlannedKind.PAUSE_TAKEOVERS),
    "undrain": (PlannedKind.DRAIN,),
    "take back": SETTINGS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that an administrator does; for_s: how long it stands, None: until it is ended."""

    at: float
    kind: str
    for_s: float | None = None
    in_s: float | None = None


def acts(settings: WorldSettings, kinds: tuple[str, ...] = ()) -> list[Act]:
    """Draw what the administrators of a world do; `kinds`: nothing else."""
    rng = random.Random(f"administrators/{settings.seed}")
    of_tasks = settings.observer_policy is not None
    kinds = kinds or (OF_TASKS if of_tasks else OF_PROGRAMS)
    drawn = []
    for _ in range(rng.randint(3, 9)):
        at = rng.uniform(2.0, settings.faults_until_s)
        kind = rng.choice(kinds)
        ends = kind.startswith("pause") and rng.random() < 0.6
        drawn.append(
            Act(
                at=at,
                kind=kind,
                for_s=rng.uniform(0.5, SPAN_MAX_S) if ends else None,
                in_s=rng.uniform(0.2, SPAN_MAX_S) if kind == "switchover at" else None,
            )
        )
    return drawn


def schedule(world: World, planned: list[Act]) -> None:
    """Put what administrators do into the world's queue."""
    for act in planned:
        world.at(act.at, _do, world, act)


def _do(world: World, act: Act) -> None:
    """Ask, or end, unless the database is away: the command fails then, and nothing is done."""
    if not world.server.up:
        world.history.note(world.now, "administrator", act.kind, "unreachable")
        return
    if act.kind == SET_AND_LOSE:
        world.server.keep(MARK)
    done = _end(world, act) if act.kind in ENDS else _ask(world, act)
    if act.kind == SET_AND_CUT:
        _soon(world, Fault(world.now + world.rng.uniform(0.01, 3.0), "cut", HOLDER, for_s=12.0))
    if act.kind == SET_AND_LOSE:
        after_s = world.rng.uniform(0.01, 3.0)
        _soon(world, Fault(world.now + after_s, "failover", for_s=0.2, mark=MARK))
        cut = Fault(world.now + after_s + 0.1, "cut", HOLDER, for_s=12.0)
        _soon(world, cut)
    world.history.note(world.now, "administrator", act.kind, done)
    world.push_all()


def _soon(world: World, fault: Fault) -> None:
    if fault.at < world.calm_at - 3.0:
        world.at(fault.at, faults.apply, world, fault)


def _ask(world: World, act: Act) -> bool:
    names = [node.name for node in world.settings.nodes]
    node = world.rng.choice(names)
    kind, value = PlannedKind(act.kind.split(" to")[0].split(" at")[0].split(" and ")[0]), None
    match act.kind:
        case "switchover" | "switchover at" | "pause work" | "pause takeovers":
            target = None
        case _ if kind is PlannedKind.LIVENESS:
            longest_s = max(each.timing.liveness_s for each in world.settings.nodes)
            target, value = None, round(1000 * longest_s * world.rng.choice(SHARES))
        case "priority":
            target, value = node, world.rng.choice((0, 1, 2, 5))
        case _:
            target = node
    for_s = HANDOVER_LASTS_S if kind in HANDOVERS else act.for_s
    try:
        memory_planned.ask(
            world.server.database, GROUP, kind, target, value=value, in_s=act.in_s, for_s=for_s
        )
    except memory_planned.AskRefusedError:
        return False
    return True


def _end(world: World, act: Act) -> bool:
    database = world.server.database
    ended = [
        row
        for row in memory_planned.open_rows(database, GROUP)
        if row.kind in ENDS[act.kind] and not row.agreed
    ]
    for row in ended:
        memory_planned.end_by_person(database, GROUP, row.id)
    return bool(ended)


def calm(world: World) -> None:
    """End what would stand for ever; what has an end has to find it by itself."""
    database = world.server.database
    for row in tuple(memory_planned.open_rows(database, GROUP)):
        if row.until_at is None:
            memory_planned.end_by_person(database, GROUP, row.id)
    world.push_all()


def calm_within_s(settings: WorldSettings) -> float:
    """Return by how much later a world is calm in which somebody asks.

    A pause or a switchover's time passes first. Then a program ends, and the target's turn and the
    former holder's pass (A5): two heartbeats each.
    """
    slowest_s = max(
        node.timing.stop_timeout_s + 6 * node.timing.heartbeat_s for node in settings.nodes
    )
    # Intervals that were set are waited out in the place of those of the files.
    more_s = 2.0 * (max(SHARES) - 1.0) * settings.longest_liveness_s
    return SPAN_MAX_S + more_s + (SPAN_MAX_S + slowest_s) / (1 - RATE_ERROR)
