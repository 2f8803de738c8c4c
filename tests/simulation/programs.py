"""The program of a simulated machine: forked, let go, ended, killed, and stopped with its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.protocol import guard_words as words
from tests.simulation.history import Ran
from tests.simulation.processes import Process

if TYPE_CHECKING:
    from tests.simulation.guardian import Guardian
    from tests.simulation.host import Host

SIGTERM = 15
#: With host.LATE_MAX_S and the agent's SECOND_BELT_S within protocol.timing.KILL_BOUND_S.
KILL_MAX_S = 0.175
BELT_KILL_MAX_S = 0.12
#: A program that obeys SIGTERM has ended after this.
TERM_MAX_S = 0.2


class Program:
    """The processes of one run."""

    __slots__ = ("key", "let_go", "number", "ran", "session", "term")

    def __init__(self, number: int, term: int, session: str, key: int) -> None:
        self.number, self.term, self.session, self.key = number, term, session, key
        self.let_go = False
        self.ran: Ran | None = None


class Programs:
    """What a host does with its program; there is one at a time, or none."""

    def __init__(self, host: Host) -> None:
        self.host, self.world = host, host.world
        self.now: Program | None = None
        self.forked = Process()  #: the child between fork and exec, as a reader of its mail
        self.sessions: dict[int, str] = {}  #: under which session each run was ordered

    @property
    def running(self) -> bool:
        """Say whether the program's own code runs, or would if its host were not frozen."""
        return self.now is not None and self.now.let_go

    def _told(self, guardian: Guardian, most_s: float, event: words.Event) -> None:
        self.host.soon(most_s, guardian.deliver, guardian.take_in, event)

    def fork(self, guardian: Guardian, order: words.StartOrdered) -> None:
        """Fork, isolate, and wait for permission to exec."""
        self.world.keys += 1
        session = self.sessions.get(order.run, "")
        self.now = Program(order.run, order.term, session, self.world.keys)
        self._told(guardian, 0.01, words.ProgramReady(order.run, 1, {}))

    def let_go(self, guardian: Guardian, number: int, until: float) -> None:
        """Permit the exec; the child looks at the clock once more."""
        self.host.soon(0.004, self.forked.deliver, self._exec, guardian, number, until)

    def _exec(self, guardian: Guardian, number: int, until: float) -> None:
        program = self.now
        if program is None or program.number != number or not guardian.alive:
            return
        if self.host.local() >= until:
            self.now = None
            self._told(guardian, 0.002, words.ProgramRefused(number, "trust is over", 0))
            return
        program.let_go = True
        if not self.host.thawing:
            self._begin_stretch(program)
        self._told(guardian, 0.002, words.ProgramStarted(number))

    def exit(self) -> None:
        """End by itself, perhaps leaving children behind."""
        program, guardian = self.now, self.host.guardian
        if program is None or guardian is None or not program.let_go or self.host.frozen:
            return
        if self.host.settings.leaves_children:
            self._told(guardian, 0.002, words.ProgramEnded(program.number, 1, True))
        else:
            self._end(guardian, program, 1)

    def terminate(self, guardian: Guardian, number: int) -> None:
        """Get SIGTERM, and obey it or not."""
        program = self.now
        if program is not None and program.number == number and self.host.settings.obeys_term:
            self.host.soon(TERM_MAX_S, self._end, guardian, program, -SIGTERM)

    def _end(self, guardian: Guardian, program: Program, status: int) -> None:
        if self.now is program and not self.host.frozen:
            self.dead()
            self._told(guardian, 0.002, words.ProgramEnded(program.number, status, False))

    def kill(self, *, by_agent: bool) -> None:
        """SIGKILL everything; it takes effect after a while, but at once in a host that thaws."""
        program, guardian = self.now, self.host.guardian
        if program is None:
            if guardian is not None and guardian.state.run is not None:
                self._told(guardian, 0.002, words.ProgramGone(guardian.state.run.number))
        elif self.host.thawing or not program.let_go:
            self._killed(program)
        else:
            most_s = BELT_KILL_MAX_S if by_agent else KILL_MAX_S
            share = 1.0 if self.world.settings.slowest_kill else self.world.rng.random() ** 3
            self.host.after(most_s * share, self._killed, program)

    def _killed(self, program: Program) -> None:
        if self.now is program:
            self.dead()
            if self.host.guardian is not None:
                self._told(self.host.guardian, 0.002, words.ProgramGone(program.number))

    def dead(self) -> None:
        """Note that nothing of the program exists any more."""
        self.rest()
        self.now = None

    # --- stretches of running -------------------------------------------------------------------

    def rest(self) -> None:
        """Stop running, because the program is dead or its host frozen."""
        program = self.now
        if program is not None and program.ran is not None:
            program.ran.end = self.world.now
            program.ran = None
            self.world.history.note(self.world.now, self.host.name, "rests", program.term)

    def go_on(self) -> None:
        """Run again, as the host does."""
        if self.now is not None and self.now.let_go:
            self._begin_stretch(self.now)

    def _begin_stretch(self, program: Program) -> None:
        now, node = self.world.now, self.host.settings.name
        program.ran = Ran(node, program.session, program.term, program.key, now)
        self.world.history.runs.append(program.ran)
        self.world.history.note(now, self.host.name, "runs", program.term, program.key)
