"""A holder's machine that sleeps, or is stopped by its host: a virtual one, with clocks of its own.

The first node's machine is emulated, the other is not, and both reach the server through the
same router. What the holder writes down it writes by the clock of its own machine; the two are
compared before each loss. A suspended kernel has stopped everything, its monotonic clock too, and
learns of the time that went by from the machine's own clock, which counts whole seconds. A machine
that its host has stopped learns nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from bench.measure import BenchError, Figures, Run, boottime, pause, until
from bench.parts.losses import NONE_MAX, SEED, SUCCESSOR_MAX_S, WATCH_S, Loss, figures
from bench.peers.contestants import HEARTBEAT_S, NAMES, Contestant
from bench.peers.entries import ROOT, Entry, Place, memory
from tests.support.machines import image as machine_image
from tests.support.machines.virtual import Machine, environ_of, machine
from tests.support.networks import machines as networks

SLEEPER, SUCCESSOR = NAMES[:2]
#: An emulated machine starts a program ten times slower, and a token may have to be waited for.
RUNS_MAX_S = 60.0
#: A program that has written within this time runs.
LATELY_S = 0.3


def cell(entry: Entry, *, by_host: bool, runs: int) -> Figures:
    """Lose the holder `runs` times with its machine, which comes back after the takeover."""
    losses: list[Loss] = []
    with _bedroom(entry) as room:
        rng = random.Random(SEED)
        for _ in range(runs):
            losses.append(room.lose(by_host, rng))
            if sum(loss.gap_s is None for loss in losses) >= NONE_MAX:
                break
    return figures(losses)


@contextmanager
def _bedroom(entry: Entry) -> Iterator[Bedroom]:
    """Give a server, a machine that can sleep, and another beside it."""
    with ExitStack() as stack:
        folder = stack.enter_context(memory())
        net = stack.enter_context(networks.network())
        far = stack.enter_context(networks.database_machine(net))
        for node in (SLEEPER, SUCCESSOR):
            net.add(node)
        disk = machine_image.build(folder, map(_found, entry.on_a_node))
        box = stack.enter_context(machine(net, SLEEPER, disk, folder))
        contestant = stack.enter_context(entry.contestant(Place(folder, far, net)))
        yield Bedroom(folder, box, contestant)


def _found(need: str) -> Path:
    """Return where something is that a node runs: a program, or a file of this tree."""
    return ROOT / need if (ROOT / need).exists() else Path(str(which(need)))


@dataclass
class Bedroom:
    """The machine that sleeps, and how its contestant is started on it."""

    folder: Path
    box: Machine
    contestant: Contestant
    pid: int | None = None  #: the node's first process in the machine; None before the first

    def lose(self, by_host: bool, rng: random.Random) -> Loss:
        """Let the machine hold, put it to sleep, wait for the successor, and wake it."""
        self._settle()
        pause(rng.uniform(2 * HEARTBEAT_S, 3 * HEARTBEAT_S))  # any phase of a heartbeat
        ahead_s = self.box.offset().ahead_s
        hurt_at = boottime()
        asleep_at = self.box.pause() if by_host else self.box.suspend()

        def successor() -> Run | None:
            return next((run for run in self.contestant.tail.read() if run.first > hurt_at), None)

        new = until(successor, SUCCESSOR_MAX_S)
        pause(WATCH_S / 2)
        if by_host:
            self.box.go_on()
        else:
            self.box.wake()
        self.box.ask("clocks")  # it is awake
        pause(2 * WATCH_S)
        told = self._lines(asleep_at + ahead_s)
        if not isinstance(new, Run):
            return Loss(None, None, None, 0, 0.0)
        edges = told["late"] or [0.0, 0.0]
        return Loss(
            gap_s=new.first - (told["before"] - ahead_s),
            after_s=new.first - hurt_at,
            from_beat_s=None,
            late_lines=told["count"],
            overlap_s=edges[1] - edges[0],
        )

    def _settle(self) -> None:
        """Have the machine hold, and the other stand by."""
        if self.pid is not None:
            # Our node stands by again; nobody else ends what a peer left running, or half ended.
            again = self.contestant.last_beat and self.box.ask("lives", pid=self.pid)
            again = again and not self._runs()
            self.contestant.leave(SUCCESSOR)
            if not again:
                self.box.ask("kill", pid=-1)
                self.pid = None
        # What it wrote before says nothing of now.
        self.box.ask("forget", record=self._record)
        if self.pid is None:
            command, environ = self.contestant.command_of(SLEEPER)
            self.pid = self.box.start(command, environ_of(environ), self.folder, Path(self._log))
        if not until(self._runs, RUNS_MAX_S):
            raise BenchError(f"the machine does not hold: {self.box.ask('log', path=self._log)}")
        self.contestant.start(SUCCESSOR)
        if not until(lambda: self.contestant.stands_by(SUCCESSOR) and self._runs(), RUNS_MAX_S):
            raise BenchError("nobody stands by")

    def _runs(self) -> bool:
        """Say whether the program runs on the machine."""
        now = self.box.ask("clocks")["boottime"]
        return int(self._lines(now - LATELY_S)["count"]) > 0

    def _lines(self, after: float) -> Figures:
        told: Figures = self.box.ask("lines", record=self._record, after=after)
        return told

    @property
    def _record(self) -> str:
        return str(self.folder / "record")

    @property
    def _log(self) -> str:
        return str(self.folder / f"{SLEEPER}.log")
