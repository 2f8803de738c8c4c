"""The programs of a simulated machine: forked, let go, ended, killed, stopped with their host."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coordinator.protocol.guardian import events as words
from coordinator.protocol.node.state.side_runs import HungPolicy, Kind
from coordinator.protocol.rules.backstops import BACKSTOP_S
from coordinator.protocol.rules.timing import KILL_BOUND_S
from tests.simulation.world import gates, states
from tests.simulation.world.history import Hung, Ran
from tests.simulation.world.processes import LATE_MAX_S, Process

if TYPE_CHECKING:
    from tests.simulation.world.guardian import Guardian
    from tests.simulation.world.host import Host
    from tests.simulation.world.states import Read

#: Killing takes as long as the bound on it allows, less what goes by before anybody begins.
KILL_MAX_S = KILL_BOUND_S - LATE_MAX_S - 0.005
LATE_KILL_MAX_S = KILL_BOUND_S - BACKSTOP_S - LATE_MAX_S - 0.01
#: A program that obeys SIGTERM has ended after this.
TERM_MAX_S = 0.2
#: A health check of a program that lives has ended after this.
CHECK_MAX_S = 0.05
#: Longest time that a one-off command takes by itself.
ONE_OFF_MAX_S = 4.0
#: A program that reports progress does so this many times within the time it has for it.
REPORTS = 3


@dataclass(frozen=True, slots=True)
class Ordered:
    """Knowledge of the agent about a run when it ordered it.

    trusted_until: of its session, true time.
    """

    session: str
    trusted_until: float
    progress_s: float = 0.0
    is_checked: bool = False  #: it has health checks


NOT_ORDERED = Ordered("", float("inf"))


class Program:
    """The processes of one run."""

    __slots__ = (
        *("hung", "is_side", "key", "let_go", "number", "ordered", "ran", "task", "term", "until"),
        *("acting", "at_gate", "gated", "opened"),
    )

    def __init__(
        self, order: words.StartOrdered, ordered: Ordered, key: int, *, is_side: bool
    ) -> None:
        self.number, self.term, self.task = order.run, order.term, order.task
        self.ordered, self.key, self.until = ordered, key, ordered.trusted_until
        self.let_go = False
        self.gated = order.gated
        self.acting = not order.gated  #: its own code may do what needs the token
        self.at_gate = self.opened = False
        self.hung = False
        self.ran: Ran | None = None
        self.is_side = is_side  #: a health check or a hook, and no program

    def enter(self, session: str, trusted_until: float, hung: HungPolicy) -> None:
        """Belong to a session from now on, because the gate is open."""
        is_checked = hung.health is not None
        self.ordered = Ordered(session, trusted_until, hung.progress_s, is_checked)
        self.until = trusted_until

    @property
    def is_watched(self) -> bool:
        """Say whether somebody finds out that it has hung."""
        return bool(self.ordered.progress_s) or self.ordered.is_checked


class Programs:
    """Programs of a host: one of its group, or one for each task it runs."""

    def __init__(self, host: Host) -> None:
        self.host, self.world = host, host.world
        self.alive: dict[int, Program] = {}
        self.forked = Process()  #: the children between fork and exec, as a reader of their mail
        self.ordered: dict[int, Ordered] = {}
        self.read: dict[int, Read] = {}  #: the states with which runs begin
        self.entering: dict[int, tuple[str, float, HungPolicy]] = {}  #: runs whose gate is to open
        self.freeze_at_start_s = 0.0  #: the machine is to stop when a program starts next

    @property
    def running(self) -> bool:
        """Say whether a program's own code runs, or would if its host were not frozen."""
        return any(
            program.let_go and program.acting and not program.is_side
            for program in self.alive.values()
        )

    def _told(self, guardian: Guardian, most_s: float, event: words.Event) -> None:
        self.host.soon(most_s, guardian.deliver, guardian.take_in, event)

    def fork(self, guardian: Guardian, order: words.StartOrdered) -> None:
        """Fork, isolate, and wait for permission to exec."""
        self.world.keys += 1
        ordered = self.ordered.pop(order.run, NOT_ORDERED)
        is_side = bool(order.task) and self.world.settings.observer_policy is None
        self.alive[order.run] = Program(order, ordered, self.world.keys, is_side=is_side)
        self._told(guardian, 0.01, words.ProgramReady(order.run, 1, {}))
        if self.freeze_at_start_s and self.world.now < self.world.calm_at:
            for_s = min(self.freeze_at_start_s, self.world.calm_at - self.world.now)
            self.freeze_at_start_s = 0.0
            self.host.soon(0.006, self.host.freeze, for_s)

    def let_go(self, guardian: Guardian, number: int, until: float) -> None:
        """Permit the exec; the child looks at the clock once more."""
        self.host.soon(0.004, self.forked.deliver, self._exec, guardian, number, until)

    def _exec(self, guardian: Guardian, number: int, until: float) -> None:
        program = self.alive.get(number)
        if program is None or not guardian.alive:
            return
        if self.host.local() >= until:
            del self.alive[number]
            self._told(guardian, 0.002, words.ProgramRefused(number, "trust is over", 0))
            return
        program.let_go = True
        if program.gated:
            self._told(guardian, 0.002, words.ProgramStarted(number))
            gates.load(self, guardian, program)
            return
        if not self.host.thawing:
            self.begin_stretch(program)
        self._told(guardian, 0.002, words.ProgramStarted(number))
        if program.is_side:
            most_s = ONE_OFF_MAX_S if program.task == Kind.ONE_OFF else CHECK_MAX_S
            self.host.soon(most_s, self._check, guardian, program)
        elif program.ordered.progress_s:
            self.report(program)
        if self.world.settings.saves_states and not program.is_side:
            states.begin(self, program)

    def _check(self, guardian: Guardian, check: Program) -> None:
        """End a health check or a hook; a check of a program that has hung hangs as well."""
        hangs = check.task == Kind.HEALTH and any(it.hung for it in self.alive.values())
        if not hangs:
            self._end(guardian, check, 0)

    def report(self, program: Program) -> None:
        """Report progress, now and then, until the program hangs or is dead."""
        if self.alive.get(program.number) is not program or program.hung:
            return
        agent = self.host.agent
        if agent is not None and not self.host.frozen:
            self.host.soon(0.002, agent.deliver, agent.progressed, program.number)
        self.host.after(program.ordered.progress_s / REPORTS, self.report, program)

    def exit(self, *, hang: bool = False) -> bool:
        """Let one program end by itself, perhaps leaving children behind; or hang."""
        guardian = self.host.guardian
        there = [
            program
            for program in self.alive.values()
            if program.let_go and not program.is_side and (program.is_watched or not hang)
        ]
        if not there or guardian is None or self.host.frozen:
            return False
        program = there[0] if len(there) == 1 else self.world.rng.choice(there)
        if hang:
            program.hung = True
            self.world.history.hangs.append(Hung(self.world.now, self.host.name, program.key))
        elif self.host.settings.leaves_children:
            self._told(guardian, 0.002, words.ProgramEnded(program.number, 1, True))
        else:
            self._end(guardian, program, 1)
        return True

    def terminate(self, guardian: Guardian, number: int) -> None:
        """Get SIGTERM, and obey it or not."""
        program = self.alive.get(number)
        if program is not None and self.host.settings.obeys_term and not program.hung:
            self.host.soon(TERM_MAX_S, self._end, guardian, program, -signal.SIGTERM)

    def _end(self, guardian: Guardian, program: Program, status: int) -> None:
        if self.alive.get(program.number) is program and not self.host.frozen:
            self._gone(program)
            self._told(guardian, 0.002, words.ProgramEnded(program.number, status, False))

    def kill(self, number: int, *, by_agent: bool) -> None:
        """SIGKILL everything of a run; it takes a while, but none in a host that thaws."""
        program, guardian = self.alive.get(number), self.host.guardian
        if program is None:
            if guardian is not None and not by_agent:
                self._told(guardian, 0.002, words.ProgramGone(number))
        elif self.host.thawing or not program.let_go:
            self._killed(program)
        else:
            most_s = LATE_KILL_MAX_S if by_agent else KILL_MAX_S
            share = 1.0 if self.world.settings.slowest_kill else self.world.rng.random() ** 3
            self.host.after(most_s * share, self._killed, program)

    def _killed(self, program: Program) -> None:
        if self.alive.get(program.number) is program:
            self._gone(program)
            if self.host.guardian is not None:
                self._told(self.host.guardian, 0.002, words.ProgramGone(program.number))

    def _gone(self, program: Program) -> None:
        self._rest(program)
        del self.alive[program.number]

    def dead(self) -> None:
        """Note that nothing of any program exists any more."""
        self.rest()
        self.alive.clear()

    # --- stretches of running -------------------------------------------------------------------

    def extended(self, session: str, trusted_until: float) -> None:
        """Note until when, in true time, the runs of the session are trusted by now."""
        for program in self.alive.values():
            if program.ordered.session != session:
                continue
            program.until = trusted_until
            if program.ran is not None:
                program.ran.trusted_until = trusted_until

    def rest(self) -> None:
        """Stop running, because the programs are dead or their host frozen."""
        for program in self.alive.values():
            self._rest(program)

    def _rest(self, program: Program) -> None:
        if program.ran is not None:
            program.ran.end = self.world.now
            program.ran = None
            self.world.history.note(self.world.now, self.host.name, "rests", *_what(program))

    def go_on(self) -> None:
        """Run again, as the host does."""
        for program in self.alive.values():
            if program.let_go and program.acting:
                self.begin_stretch(program)

    def begin_stretch(self, program: Program) -> None:
        if program.is_side and program.task not in (Kind.BEFORE_START, Kind.ONE_OFF):
            return
        now, node = self.world.now, self.host.settings.name
        session, until = program.ordered.session, program.until
        program.ran = Ran(node, session, program.term, program.key, now, None, program.task, until)
        history = self.world.history
        (history.one_offs if program.task == Kind.ONE_OFF else history.runs).append(program.ran)
        self.world.history.note(now, self.host.name, "runs", *_what(program), program.key)


def _what(program: Program) -> tuple[object, ...]:
    return (program.task, program.term) if program.task else (program.term,)
