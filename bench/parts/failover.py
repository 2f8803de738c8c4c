"""The failover matrix: real processes, real signals, and how long nobody ran the program.

All times come from the lines that the program itself writes every 5 ms by the kernel's clock, so
neither a contestant nor this benchmark judges itself. An overlap is a line of the old program
after the first line of the new one.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import BenchError, Figures, Run, boottime, family_of, pause, until
from bench.parts import sleepers
from bench.parts.losses import NONE_MAX, SEED, SUCCESSOR_MAX_S, WATCH_S, Loss, figures
from bench.peers.contestants import HEARTBEAT_S, LIVENESS_S, NAMES, Contestant
from bench.peers.entries import Entry, Place
from tests.support.machines import image as machine_image
from tests.support.networks import machines as networks
from tests.support.networks.machines import Network
from tests.support.servers.postgres import Server

READY_MAX_S = 60.0
#: Killed processes are gone after this, and their last writes no longer look like life.
GONE_S = 0.3


#: In the place of a signal: the cable is cut; the machine is suspended by its own kernel, or
#: stopped by its host, so that its clocks stand still.
CUT, SLEEP, STANDSTILL = 0, -1, -2


@dataclass(frozen=True)
class Hurt:
    """One way to lose a holder."""

    key: str
    title: str
    who: str
    signum: int  #: a signal, or what is done to its machine
    silent: bool = False  #: its session goes on until somebody ends it: what beats it had stay


HURTS = (
    Hurt("machine", "machine dies (SIGKILL to all)", "all", signal.SIGKILL, silent=True),
    Hurt("guardian", "SIGKILL guardian", "guardian", signal.SIGKILL),
    Hurt("agent", "SIGKILL agent / lock holder", "agent", signal.SIGKILL),
    Hurt("program", "SIGKILL program", "program", signal.SIGKILL),
    Hurt("pause", "machine pauses (SIGSTOP to all)", "all", signal.SIGSTOP, silent=True),
    Hurt("stop-guardian", "SIGSTOP guardian", "guardian", signal.SIGSTOP),
    Hurt("stop-agent", "SIGSTOP agent / lock holder", "agent", signal.SIGSTOP),
    Hurt("stop-program", "SIGSTOP program", "program", signal.SIGSTOP),
    Hurt("graceful", "graceful stop (SIGTERM)", "first", signal.SIGTERM),
    Hurt("partition", "network cut", "all", CUT, silent=True),
    Hurt("suspend", "machine is suspended to memory, and wakes", "machine", SLEEP),
    Hurt("vm-pause", "virtual machine is paused by its host, and goes on", "machine", STANDSTILL),
)


def failover(
    server: Server,
    entries: tuple[Entry, ...],
    hurts: tuple[Hurt, ...],
    *,
    runs: int,
    peer_runs: int,
) -> Figures:
    """Return {contestant: {fault: figures}}; a reason in the place of what cannot be."""
    found: Figures = {"liveness_s": LIVENESS_S, "heartbeat_s": HEARTBEAT_S, "cells": {}}
    for entry in entries:
        missing = entry.missing()
        if missing:
            found["cells"][entry.key] = {"title": entry.title, "skipped": missing}
            continue
        wanted = runs if entry.key == "coord" else peer_runs
        cells = {}
        for hurt in hurts:
            print(f"bench: failover: {entry.key}, {hurt.key}", file=sys.stderr, flush=True)
            cells[hurt.key] = _tried(server, entry, hurt, wanted)
        found["cells"][entry.key] = {"title": entry.title, "faults": cells}
    return found


def _tried(server: Server, entry: Entry, hurt: Hurt, runs: int) -> Figures:
    """Measure a cell; what goes wrong in it is its figure, and the others go on."""
    try:
        return _cell(server, entry, hurt, runs)
    except (BenchError, AssertionError, OSError, subprocess.SubprocessError) as error:
        return {"skipped": f"failed: {(str(error) or repr(error)).splitlines()[0]}"}


def _cell(server: Server, entry: Entry, hurt: Hurt, runs: int) -> Figures:
    """Lose the holder `runs` times, on a fresh group."""
    missing = machine_image.lacking() if hurt.signum in (SLEEP, STANDSTILL) else ""
    if hurt.signum <= CUT:
        missing = missing or networks.available()
    if missing:
        return {"skipped": missing}
    if hurt.signum in (SLEEP, STANDSTILL):
        return sleepers.cell(entry, by_host=hurt.signum == STANDSTILL, runs=runs)
    if hurt.who == "guardian" and entry.key != "coord":
        return {"skipped": "has none"}
    losses: list[Loss] = []
    with _place(server, hurt) as place, entry.contestant(place) as contestant:
        for node in NAMES:
            contestant.start(node)
        rng = random.Random(SEED)
        for _ in range(runs):
            losses.append(_lose(contestant, hurt, place.net, rng))
            if sum(loss.gap_s is None for loss in losses) >= NONE_MAX:
                break
    return figures(losses)


@contextmanager
def _place(server: Server, hurt: Hurt) -> Iterator[Place]:
    """Give a folder and a server; behind a router when a cable is to be cut."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coord-bench-")))
        if hurt.signum != CUT:
            yield Place(folder, server, None)
            return
        net = stack.enter_context(networks.network())
        far = stack.enter_context(networks.database_machine(net))
        for node in NAMES:
            net.add(node)
        yield Place(folder, far, net)


def _lose(contestant: Contestant, hurt: Hurt, net: Network | None, rng: random.Random) -> Loss:
    """Wait until all stand ready, lose the holder, watch, and mend."""
    old = _ready(contestant)
    pause(rng.uniform(2 * HEARTBEAT_S, 3 * HEARTBEAT_S))  # any phase of a heartbeat
    pids = contestant.pids(old.node)
    everybody = family_of(pids["guardian" if "guardian" in pids else "agent"])
    targets = everybody if hurt.who == "all" else [_one(hurt, pids)]
    with _held(targets) as held, _held(everybody) as family:
        hurt_at = boottime()
        _strike(hurt, held, net, old.node)

        def successor() -> Run | None:
            return next((run for run in contestant.tail.read() if run.first > hurt_at), None)

        new = until(successor, SUCCESSOR_MAX_S)
        from_beat_s = None
        if isinstance(new, Run) and contestant.last_beat and hurt.silent:
            from_beat_s = new.first_wall - contestant.last_beat_wall(old.node)
        pause(WATCH_S / 2)
        _mend(contestant, hurt, held, family, net, old.node)
    contestant.tail.read()
    if not isinstance(new, Run):
        return Loss(None, None, None, 0, 0.0)
    at = bisect_left(old.moments, new.first)
    late = old.moments[at:]
    before = old.moments[at - 1]
    return Loss(
        gap_s=new.first - before,
        after_s=new.first - hurt_at,
        from_beat_s=from_beat_s,
        late_lines=len(late),
        overlap_s=late[-1] - late[0] if late else 0.0,
    )


def _ready(contestant: Contestant) -> Run:
    """Start what has ended, until all stand ready."""

    def whole() -> Run | None:
        for node in NAMES:
            if not contestant.alive(node):
                contestant.start(node)
        return contestant.ready()

    found = until(whole, READY_MAX_S)
    if not isinstance(found, Run):
        raise BenchError("the nodes did not come back")
    return found


def _one(hurt: Hurt, pids: dict[str, int]) -> int:
    """Return the process that is hurt."""
    who = hurt.who
    if who == "first":
        who = "guardian" if "guardian" in pids else "agent"
    if who not in pids:
        raise BenchError(f"there is no {who} to be hurt")
    return pids[who]


def _strike(hurt: Hurt, held: list[int], net: Network | None, node: str) -> None:
    if hurt.signum == CUT:
        assert net is not None
        net.cut(node)
        return
    if hurt.who == "all":
        # A machine stops at one moment; signals come one after the other, so freeze first.
        for descriptor in held:
            _signal(descriptor, signal.SIGSTOP)
    if (hurt.who, hurt.signum) != ("all", signal.SIGSTOP):
        for descriptor in held:
            _signal(descriptor, hurt.signum)


def _mend(
    contestant: Contestant,
    hurt: Hurt,
    held: list[int],
    family: list[int],
    net: Network | None,
    node: str,
) -> None:
    """Undo the fault, and watch what the old program does then; peers are cleaned up after."""
    if hurt.signum == CUT:
        assert net is not None
        net.heal(node)
    if hurt.signum == signal.SIGSTOP:
        for descriptor in held:
            _signal(descriptor, signal.SIGCONT)
    pause(WATCH_S)
    contestant.tail.read()
    if not contestant.last_beat:
        # Nobody else ends what a lock script left running.
        for descriptor in family:
            _signal(descriptor, signal.SIGKILL)
        pause(GONE_S)


@contextmanager
def _held(pids: list[int]) -> Iterator[list[int]]:
    """Hold processes by descriptors, so that no signal meets another of the same number."""
    opened = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            opened.append(os.pidfd_open(pid))
    try:
        yield opened
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _signal(descriptor: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signum)
