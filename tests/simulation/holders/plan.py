"""Random plan for processes that hold tokens: wishes, faults, and a calm end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from coordinator.protocol.holders.events import BodyEnded
from tests.simulation.holders.world import GROUP, QUIET_S, TIMING, Process, World

PROCESSES = 3
TOKENS = ("orders/a", "orders/b", GROUP)
PLAN_S = 60.0
WISHES = 40


def play(seed: int) -> list[str]:
    """Play one plan, and return what was wrong."""
    world = World(seed)
    for number in range(PROCESSES):
        Process(world, f"node.{number}")
    chance = world.random
    for number in range(WISHES):
        process = chance.choice(world.processes)
        token, seconds = chance.choice(TOKENS), chance.choice((0.0, 1.0, 5.0, 40.0))
        world.after(
            chance.uniform(0, PLAN_S),
            lambda p=process, n=number, t=token, s=seconds: p.wish(n, t, s, waits=s > 0),
        )
    for _ in range(chance.randint(0, 4)):
        world.after(chance.uniform(1, PLAN_S), lambda: _fault(world))
    world.run(PLAN_S)
    _calm(world)
    world.run(PLAN_S + QUIET_S)
    return world.faults + _left(world)


def _fault(world: World) -> None:
    chance, database = world.random, world.database
    process = chance.choice(world.processes)
    match chance.choice(("freeze", "kill", "break", "failover", "restart", "end")):
        case "freeze":
            process.frozen = True
            seconds = chance.uniform(0.1, 2 * TIMING.liveness_s)
            world.after(seconds, lambda: setattr(process, "frozen", False))
        case "kill":
            process.dead = True
        case "break":
            database.break_connections()
        case "failover":
            earlier = database.snapshot()
            timeline = database.identity.timeline + 1
            world.after(chance.uniform(0, 1.0), lambda: database.restore(earlier, timeline))
        case "restart":
            database.restart()
        case "end":
            for key, row in list(database.nodes.items()):
                if key[1] == process.name and row.session and not row.ended:
                    # As a waiter that has watched it for its whole interval: not before its trust.
                    frozen_until = process.holders.node.trusted_until
                    if process.now() >= frozen_until:
                        database.nodes[key] = replace(row, ended=True)


def _calm(world: World) -> None:
    """End faults and bodies; what waits then is answered, and nothing stays held."""
    world.calm = True
    for process in world.processes:
        process.frozen = False
    for body in list(world.bodies):
        body.stubborn = False
        body.process.end(body)
    for process in world.processes:
        for wish in process.holders.wishes:
            if not process.dead:
                world.after(30.0, lambda p=process, n=wish.number: _give_up(p, n))


def _give_up(process: Process, number: int) -> None:
    if process.world.answers[number] == 0:
        process.world.answers[number] = 1
        process.hear(lambda now: BodyEnded(now, number))


def _left(world: World) -> list[str]:
    dead = {process.name for process in world.processes if process.dead}
    left = [
        f"U2: {name} is still held"
        for name in world.kept()
        if world.database.tokens[name].node not in dead
    ]
    twice = [
        f"wish {n} was answered {count} times" for n, count in world.answers.items() if count > 1
    ]
    waiting = [
        f"wish {wish.number} waits for ever"
        for process in world.processes
        if not process.dead
        for wish in process.holders.wishes
    ]
    return left + twice + waiting


# --- stories: one fault, at every phase ----------------------------------------------------------


def frozen_holder(seed: int) -> list[str]:
    """Play a holder that stands still until another one has its token, and then goes on."""
    world, (holder, other) = _two(seed)
    world.stubborn_share = 1.0
    world.after(3.0, lambda: setattr(holder, "frozen", True))
    back = 3.0 + world.random.uniform(1.0, 2.5) * TIMING.liveness_s
    world.after(back, lambda: setattr(holder, "frozen", False))
    other.wish(2, TOKENS[0], 100.0)
    world.run(40.0)
    return world.faults


def cut_holder(seed: int) -> list[str]:
    """Play a holder that is cut off for about as long as its trust lasts."""
    world, (holder, other) = _two(seed)
    world.calm = True
    other.wish(2, TOKENS[0], 100.0)
    world.after(3.0, lambda: setattr(holder, "cut", True))
    back = 3.0 + TIMING.lease_s + world.random.uniform(-0.3, 0.1)
    world.after(back, lambda: setattr(holder, "cut", False))
    world.run(30.0)
    return world.faults


def body_that_goes_on(seed: int) -> list[str]:
    """Play a body that outlives its session, in a process that waits for the same name again."""
    world, (holder, _) = _two(seed)
    world.stubborn_share = 1.0
    holder.wish(2, TOKENS[0], 100.0)
    world.after(3.0, lambda: setattr(holder, "cut", True))
    world.after(3.0 + TIMING.liveness_s, lambda: setattr(holder, "cut", False))
    world.run(40.0)
    return world.faults


def _two(seed: int) -> tuple[World, tuple[Process, Process]]:
    """Return a world in which the first of two processes has a token for long."""
    world = World(seed)
    world.bodies_s, world.stubborn_share = (60.0,), 0.0
    holder, other = Process(world, "node.0"), Process(world, "node.1")
    holder.wish(1, TOKENS[0], 100.0)
    world.run(world.random.uniform(0.5, 1.5))
    return world, (holder, other)


STORIES: tuple[Callable[[int], list[str]], ...] = (
    play,
    frozen_holder,
    cut_holder,
    body_that_goes_on,
)
