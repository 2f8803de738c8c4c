"""Simulated machine with a limit on processes, a run that forks there, and the one who kills it.

A signal takes time: before the next one each running process forks if there is room.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from coordinator.protocol.guardian.chase import Chase, Process, Signal

Decide = Callable[[Chase, frozenset[Process]], tuple[Chase, Signal]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One machine and one run.

    eager: probability that a process forks when it has the time.
    rounds: of looking and signalling, before the world gives up.
    """

    seed: int
    limit: int = 40
    first: int = 30
    eager: float = 1.0
    is_fed: bool = False  #: a process that nobody may signal forks a child before each look
    rounds: int = 400


@dataclass(slots=True)
class Machine:
    """The processes of the run; `stopped` is a part of `alive`."""

    setting: Setting
    alive: set[Process] = field(default_factory=set)
    stopped: set[Process] = field(default_factory=set)
    born: int = 0

    def fork(self, chance: random.Random) -> None:
        """Let each running process fork as far as there is room."""
        for _ in range(len(self.alive) - len(self.stopped)):
            if len(self.alive) < self.setting.limit and chance.random() < self.setting.eager:
                self._bear()

    def bear(self, count: int) -> None:
        """Add processes that somebody else has forked."""
        for _ in range(count):
            self._bear()

    def signal(self, process: Process, signal: Signal) -> None:
        """Carry one signal out."""
        if signal is Signal.STOP:
            self.stopped |= {process} & self.alive
        else:
            self.alive.discard(process)
            self.stopped.discard(process)

    def _bear(self) -> None:
        self.born += 1
        self.alive.add((self.born, self.born))


@dataclass(frozen=True, slots=True)
class Killing:
    """End of a run, or the lack of one."""

    rounds: int | None  #: after these nothing was alive
    stops: int  #: rounds in which the processes were stopped
    stopped_before_growth: bool  #: a process was stopped though no round had found a new one


def kill(setting: Setting, decide: Decide = Chase.after_look) -> Killing:
    """Look and signal, round by round, until nothing of the run is alive."""
    chance = random.Random(setting.seed)
    machine, chase, stops, early = Machine(setting), Chase(), 0, False
    machine.bear(setting.first)
    known: set[Process] = set()
    for number in range(1, setting.rounds + 1):
        machine.bear(int(setting.is_fed))
        found = frozenset(machine.alive)
        chase, signal = decide(chase, found)
        if signal is Signal.STOP:
            stops += 1
            early |= not known or found <= known
        known |= found
        for process in sorted(found):
            machine.signal(process, signal)
            machine.fork(chance)
        if not machine.alive:
            return Killing(number, stops, early)
    return Killing(None, stops, early)
