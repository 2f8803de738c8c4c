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
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contestants import HEARTBEAT_S, LIVENESS_S, NAMES, Contestant, Entry, Place
from bench.measure import BenchError, Figures, Run, boottime, family_of, pause, summary, until
from tests.support import networks
from tests.support.networks import Network
from tests.support.postgres import Server

READY_MAX_S = 60.0
#: Nobody waits longer for a successor; then it is "none".
SUCCESSOR_MAX_S = 15.0
#: A cell that has shown so many times that nobody takes over is not tried again.
NONE_MAX = 2
#: After a thaw, and after a takeover, the old program is watched for so long.
WATCH_S = 1.0
SEED = 20


@dataclass(frozen=True)
class Hurt:
    """One way to lose a holder."""

    key: str
    title: str
    who: str
    signum: int  #: 0: its cable is cut
    silent: bool = False  #: its session goes on until somebody ends it: what beats it had stay


HURTS = (
    Hurt("machine", "machine dies (SIGKILL to all)", "all", signal.SIGKILL, silent=True),
    Hurt("guardian", "SIGKILL guardian", "guardian", signal.SIGKILL),
    Hurt("agent", "SIGKILL agent / lock holder", "agent", signal.SIGKILL),
    Hurt("program", "SIGKILL program", "program", signal.SIGKILL),
    Hurt("pause", "machine pauses (SIGSTOP to all)", "all", signal.SIGSTOP, silent=True),
    Hurt("stop-guardian", "SIGSTOP guardian", "guardian", signal.SIGSTOP),
    Hurt("stop-agent", "SIGSTOP agent / lock holder", "agent", signal.SIGSTOP),
    Hurt("graceful", "graceful stop (SIGTERM)", "first", signal.SIGTERM),
    Hurt("partition", "network cut", "all", 0, silent=True),
)


@dataclass(frozen=True)
class Loss:
    """One loss of the holder; seconds, None where nobody took over."""

    gap_s: float | None  #: last line of the old to first line of the new
    after_s: float | None  #: from the fault to the first line of the new
    from_beat_s: float | None  #: from the old one's last heartbeat
    late_lines: int  #: lines of the old after the first of the new
    overlap_s: float  #: from the first to the last of them


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
    except (BenchError, AssertionError, OSError) as error:
        return {"skipped": f"failed: {str(error).splitlines()[0]}"}


def _cell(server: Server, entry: Entry, hurt: Hurt, runs: int) -> Figures:
    """Lose the holder `runs` times, on a fresh group."""
    if hurt.signum == 0 and networks.available():
        return {"skipped": networks.available()}
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
    return _figures(losses)


@contextmanager
def _place(server: Server, hurt: Hurt) -> Iterator[Place]:
    """Give a folder and a server; behind a router when a cable is to be cut."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coord-bench-")))
        if hurt.signum != 0:
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
    targets = everybody if hurt.who == "all" else [pids[_role(hurt, pids)]]
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


def _role(hurt: Hurt, pids: dict[str, int]) -> str:
    if hurt.who == "first":
        return "guardian" if "guardian" in pids else "agent"
    return hurt.who


def _strike(hurt: Hurt, held: list[int], net: Network | None, node: str) -> None:
    if hurt.signum == 0:
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
    if hurt.signum == 0:
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


def _figures(losses: list[Loss]) -> Figures:
    """Return the summary of a cell."""
    return {
        "runs": len(losses),
        "none": sum(loss.gap_s is None for loss in losses),
        "gap": summary([loss.gap_s for loss in losses if loss.gap_s is not None]),
        "after": summary([loss.after_s for loss in losses if loss.after_s is not None]),
        "from_beat": summary([loss.from_beat_s for loss in losses if loss.from_beat_s is not None]),
        "overlaps": sum(loss.late_lines > 0 for loss in losses),
        "late_lines_max": max((loss.late_lines for loss in losses), default=0),
        "overlap_s_max": max((loss.overlap_s for loss in losses), default=0.0),
        "losses": [
            [loss.gap_s, loss.after_s, loss.from_beat_s, loss.late_lines, loss.overlap_s]
            for loss in losses
        ],
    }
