"""Machines that start `coord once` for slot after slot, on one record and one token (M6 to M8).

The decisions are those of the product; the database is a record whose changes are atomic. A machine
is a generator: it yields the seconds until its next step.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Generator
from dataclasses import dataclass, field

from coordinator.protocol.rules.once_per_slot import (
    SlotSeen,
    decide,
    fired,
    nearest,
    reserved_for_s,
    retry_left_s,
    spread_s,
)

SLOT_S, SLOTS, MACHINES, SKEW_S = 60.0, 6, 8, 25.0
LIVENESS_S, LOOK_S, EARLY_S, LATE_S = 6.0, 1.0, 120.0, 30.0
Steps = Generator[float, None, None]


@dataclass(slots=True)
class Token:
    """The group's token: who holds it, and since when its holder is silent."""

    term: int = 0
    holder: str = ""
    dead_at: float | None = None


@dataclass(slots=True)
class Record:
    """The group's record of its slots."""

    slot: float | None = None
    running: bool = False
    term: int = 0
    reserved_slot: float = -1.0
    reserved_by: str = ""
    reserved_until: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A world. faults: share of the nodes that die; planted: the rule that is broken."""

    seed: int
    faults: float = 0.0
    retry_after_s: float | None = None
    start_max_s: float = 8.0
    machines: int = MACHINES
    planted: str = ""


@dataclass(slots=True)
class World:
    """State of a world, and what happened: (slot, machine) of each start and each written end."""

    setting: Setting
    rng: random.Random
    now: float = 0.0
    token: Token = field(default_factory=Token)
    record: Record = field(default_factory=Record)
    starts: list[tuple[float, str]] = field(default_factory=list)
    ends: list[tuple[float, str]] = field(default_factory=list)
    deaths: int = 0
    starting: int = 0

    def free(self) -> bool:
        """Return True if a standby may take the token: released, or silent for long enough."""
        dead_at = self.token.dead_at
        return not self.token.holder or (
            dead_at is not None and self.now >= dead_at + LIVENESS_S * 1.2
        )

    def dies(self) -> bool:
        """Draw whether a node dies at this moment."""
        died = self.rng.random() < self.setting.faults
        self.deaths += died
        return died


def run(setting: Setting) -> World:
    """Run a world to its end."""
    world = World(setting, random.Random(f"once/{setting.seed}"))
    queue: list[tuple[float, int, Steps]] = []
    for number in range(setting.machines):
        skew_s = world.rng.uniform(-SKEW_S, SKEW_S)
        for slot in range(1, SLOTS + 1):
            at = slot * SLOT_S + skew_s + world.rng.uniform(0.0, 2.0)
            queue.append((at, len(queue), _machine(world, f"m{number}")))
    heapq.heapify(queue)
    count = len(queue)
    while queue:
        world.now, _, steps = heapq.heappop(queue)
        try:
            wait_s = next(steps)
        except StopIteration:
            continue
        count += 1
        heapq.heappush(queue, (world.now + wait_s, count, steps))
    return world


def _machine(world: World, name: str) -> Steps:
    """Take a machine's part in the slot that the database's clock names."""
    last = world.now // SLOT_S * SLOT_S
    which = nearest(world.now - last, last + SLOT_S - world.now, EARLY_S, LATE_S)
    if which == "none" or (which == "last" and last == 0):
        return
    slot = last if which == "last" else last + SLOT_S
    yield max(0.0, slot - world.now)
    begun_at, held_back = world.now, False
    while True:
        seen = _seen(world, slot)
        decision = decide(seen, world.setting.retry_after_s, world.now - begun_at)
        if decision == "run" and not held_back:
            held_back = True
            yield spread_s(name, str(slot), seen.next_in_s)
        elif decision == "run":
            if _reserve(world, name, slot):
                yield from _node(world, name, slot, retry_left_s(seen, world.setting.retry_after_s))
                return
        elif decision == "wait":
            yield LOOK_S
        else:
            return


def _reserve(world: World, name: str, slot: float) -> bool:
    record = world.record
    if record.reserved_slot >= slot and record.reserved_until > world.now:
        return False
    for_s = reserved_for_s(slot + SLOT_S - world.now)
    if world.setting.planted == "reserves-for-ever":
        for_s = float("inf")
    record.reserved_slot, record.reserved_by = slot, name
    record.reserved_until = world.now + for_s
    return True


def _node(world: World, name: str, slot: float, retry_s: float | None) -> Steps:
    """Begin a node, wait for the token, claim, and run the command."""
    # All machines share two cores, as in tests/faults/test_once_machines.py.
    world.starting += 1
    yield world.rng.uniform(0.5, world.setting.start_max_s) * max(1.0, world.starting / 2)
    world.starting -= 1
    if world.dies():
        return
    while not world.free():
        if world.now >= slot + SLOT_S or world.setting.planted == "leaves-when-held":
            return
        yield world.rng.uniform(0.05, 1.0)
    token = world.token
    token.term, token.holder, token.dead_at = token.term + 1, name, None
    term = token.term
    yield world.rng.uniform(0.05, world.setting.start_max_s / 2)  # its process starts and claims
    if world.dies():
        token.dead_at = world.now
        return
    yield from _claim_and_run(world, name, slot, retry_s)
    if token.term == term and token.dead_at is None:
        token.holder = ""


def _claim_and_run(world: World, name: str, slot: float, retry_s: float | None) -> Steps:
    record, token = world.record, world.token
    died = record.slot == slot and record.running and record.term < token.term
    is_new = record.slot is None or record.slot < slot
    if died and retry_s is not None:
        yield retry_s
    elif not is_new and world.setting.planted != "claims-without-looking":
        return
    record.slot, record.running, record.term = slot, True, token.term
    world.starts.append((slot, name))
    yield world.rng.uniform(0.1, 20.0)
    if world.dies():
        token.dead_at = world.now
        return
    record.running = False
    world.ends.append((slot, name))
    yield 0.1  # from the end to the release


def _seen(world: World, slot: float) -> SlotSeen:
    record, token, now = world.record, world.token, world.now
    lives = bool(token.holder) and (token.dead_at is None or now < token.dead_at + LIVENESS_S)
    dead_for_s = 0.0 if token.dead_at is None else max(0.0, now - token.dead_at - LIVENESS_S)
    return SlotSeen(
        fired=("never" if record.slot is None else fired(slot - record.slot, record.slot - now)),
        running=record.running,
        record_term=record.term,
        token_term=token.term,
        lives=lives,
        dead_for_s=dead_for_s,
        next_in_s=slot + SLOT_S - now,
        reserved=record.reserved_slot >= slot and record.reserved_until > now,
        expected=token.holder != "" and token.holder == record.reserved_by,
    )
