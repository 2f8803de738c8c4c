"""Rules G1 to G5 for each of many runs, and G10, under any order of events and pauses."""

from __future__ import annotations

import math
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import machine as guardian_machine
from coordinator.protocol.guardian import run as guardian_run
from coordinator.protocol.guardian.events import Command, Event
from coordinator.protocol.guardian.state import Guard, Run

STOP_TIMEOUT_S = 0.5
#: Ticks between two moments of a test: more would be a guardian that never rests.
TICKS_MAX = 2_000
#: So many runs live at the same time at most: enough to meet, few enough to be often the same.
ALIVE_MAX = 4
moments = st.floats(0.0, 4.0)
#: The place of a run among those that there are, modulo their number.
places = st.integers(0, ALIVE_MAX - 1)
#: Events that end a node are rare, or little else would be seen.
luck = st.integers(0, 7)
BAD_LUCK = 7


@dataclass(slots=True)
class Seen:
    """Run as the test alone knows it, from what it told the guard and what it was ordered."""

    trust: float  #: from what the agent said
    agent: int  #: the agent that ordered it
    ready: bool = False
    alive: bool = False  #: let go, and no SIGKILL since
    exec_seen: bool = False
    told_to_stop: bool = False
    over: bool = False  #: no extension of trust reaches it any more


class Guarded(RuleBasedStateMachine):
    """A guardian on virtual time; the world obeys its commands at once."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.runs: dict[int, Seen] = {}  #: those of which a process exists
        self.asked: dict[int, Seen] = {}  #: by number, all that were ordered
        self.spare_knows: set[int] = set()
        self.numbers = self.agents = self.agent = 0
        self.owed = False  #: the agent has yet to hear the end of what it inherited
        self.quit = self.held_up = False
        self.answers: Counter[int] = Counter()
        self.started: Counter[int] = Counter()
        self.guard, commands = guardian_machine.begin(0.0)
        self.obey(commands)

    # --- the world ------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        self.guard, commands = guardian_machine.step(self.guard, event, self.now)
        self.held_up = False
        self.obey(commands)
        self.nothing_lives_without_trust()

    def obey(self, commands: tuple[Command, ...]) -> None:
        reports = [isinstance(command, words.Report) for command in commands]
        assert reports == sorted(reports)
        for command in commands:
            match command:
                case words.LaunchProgram(order):
                    assert order.run not in self.runs
                    self.runs[order.run] = self.asked[order.run]
                case words.LetGo(number, until):
                    self.let_go(number, until)
                case words.SignalProgram(number, signal.SIGTERM):
                    self.runs[number].told_to_stop = True
                case words.KillProgram(number):
                    self.runs[number].told_to_stop, self.runs[number].alive = True, False
                    self.runs[number].over = True
                case words.StartAgent() | words.PromoteSpare():
                    self.agents += 1
                    self.agent += 1
                    assert self.agents == 1
                    self.owed = bool(self.runs)
                    for seen in self.runs.values():
                        seen.over = True
                case words.KillAgent():
                    self.agents -= 1
                case words.TellAgent(message) if self.agents:
                    self.hear(message)
                case words.TellSpare(message):
                    self.hear_as_spare(message)
                case words.Quit():
                    assert not self.runs
                    self.quit = True

    def let_go(self, number: int, until: float) -> None:
        seen = self.runs[number]
        assert self.now < seen.trust - STOP_TIMEOUT_S
        assert until <= seen.trust
        assert not seen.told_to_stop
        assert number in self.spare_knows
        seen.alive = True

    def hear(self, message: words.Message) -> None:
        match message:
            case {"say": "stopping", "run": run}:
                self.runs[run].over = True
            case {"say": "ended", "run": words.EVERY_RUN}:
                assert not self.left_by_others() or self.guard.session is None
                self.owed = False
            case {"say": "started", "run": run}:
                assert self.asked[run].agent == self.agent
                self.started[run] += 1
            case {"say": "refused" | "ended" as say, "run": run}:
                assert self.asked[run].agent == self.agent
                self.answers[run] += 1
                assert run not in self.runs
                if say == "ended":
                    assert self.started[run] == 1

    def hear_as_spare(self, message: words.Message) -> None:
        match message:
            case {"say": "runs", "runs": runs}:
                self.spare_knows = {number for number, _ in runs}
            case {"say": "running", "run": number}:
                self.spare_knows.add(number)
            case {"say": "idle", "run": number}:
                self.spare_knows.discard(number)

    def left_by_others(self) -> list[int]:
        return [number for number, seen in self.runs.items() if seen.agent != self.agent]

    def one_of(self, place: int, fits: Callable[[Seen], bool] = lambda _: True) -> int:
        """Return one of the runs; 0 when there is none that fits."""
        fitting = [number for number, seen in self.runs.items() if fits(seen)]
        return fitting[place % len(fitting)] if fitting else 0

    # --- time -----------------------------------------------------------------------------------

    @rule(seconds=moments)
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(TICKS_MAX):
            due = guardian_machine.due(self.guard)
            if due > until:
                break
            self.now = max(self.now, due)
            self.feed(words.Ticked())
        else:
            raise AssertionError("never rests")
        self.now = until

    @rule(seconds=st.floats(0.1, 5.0))
    def guardian_is_held_up(self, seconds: float) -> None:
        """The next event is the first that it notices."""
        self.now += seconds
        self.held_up = True

    @precondition(lambda self: self.runs and self.with_agent())
    @rule(seconds=st.floats(0.1, 5.0), place=places)
    def extension_is_the_first_that_it_notices(self, seconds: float, place: int) -> None:
        self.guardian_is_held_up(seconds)
        self.agent_extends(lease_s=4.0, place=place)

    @rule(seconds=st.floats(0.1, 5.0), place=places)
    def forked_program_is_the_first_that_it_notices(self, seconds: float, place: int) -> None:
        if self.one_of(place, lambda seen: not seen.ready):
            self.guardian_is_held_up(seconds)
            self.program_is_ready(place)

    # --- the agent ------------------------------------------------------------------------------

    def with_agent(self) -> bool:
        return self.agents == 1 and not self.quit

    def with_room(self) -> bool:
        return self.with_agent() and len(self.runs) < ALIVE_MAX

    @precondition(with_agent)
    @rule()
    def agent_greets(self) -> None:
        self.feed(words.Greeted(2.0, STOP_TIMEOUT_S))

    @precondition(with_agent)
    @rule()
    def agent_pings(self) -> None:
        self.feed(words.Pinged(1))

    @precondition(with_room)
    @rule(lease_s=st.floats(-1.0, 5.0))
    def agent_starts(self, lease_s: float) -> None:
        self.numbers += 1
        self.asked[self.numbers] = Seen(self.now + lease_s, self.agent)
        self.feed(words.StartOrdered(self.numbers, 1, self.now + lease_s, STOP_TIMEOUT_S))

    @precondition(with_agent)
    @rule(lease_s=st.floats(-1.0, 5.0), place=places)
    def agent_extends(self, lease_s: float, place: int) -> None:
        number = self.one_of(place)
        self.trust_longer([number] if number else [], lease_s)
        self.feed(words.ExtendOrdered(number or self.numbers + 1, self.now + lease_s))

    @precondition(with_agent)
    @rule(lease_s=st.floats(-1.0, 5.0))
    def agent_extends_all(self, lease_s: float) -> None:
        self.trust_longer(list(self.runs), lease_s)
        self.feed(words.ExtendOrdered(words.EVERY_RUN, self.now + lease_s))

    def trust_longer(self, numbers: list[int], lease_s: float) -> None:
        for seen in map(self.runs.__getitem__, numbers):
            if self.now < seen.trust and not seen.over:
                seen.trust = max(seen.trust, self.now + lease_s)

    @precondition(with_agent)
    @rule(grace_s=moments, place=places)
    def agent_stops(self, grace_s: float, place: int) -> None:
        self.feed(words.StopOrdered(self.one_of(place), grace_s))

    @precondition(with_agent)
    @rule(place=places)
    def one_is_stopped_and_all_are_extended(self, place: int) -> None:
        self.agent_stops(4.0, place)
        self.agent_extends_all(5.0)

    @precondition(with_agent)
    @rule(luck=luck, place=places)
    def agent_kills(self, luck: int, place: int) -> None:
        if luck == BAD_LUCK:
            self.feed(words.KillOrdered(self.one_of(place)))

    @precondition(with_agent)
    @rule(session=st.sampled_from([None, "s"]))
    def agent_tells_session(self, session: str | None) -> None:
        self.feed(words.SessionTold(session, 1))

    @precondition(with_agent)
    @rule(luck=luck)
    def agent_exits(self, luck: int) -> None:
        if luck == BAD_LUCK:
            self.feed(words.ExitOrdered(5))

    @precondition(with_agent)
    @rule(failed=st.booleans(), luck=luck)
    def agent_dies(self, failed: bool, luck: int) -> None:
        if luck != BAD_LUCK:
            return
        self.agents -= 1
        self.feed(words.AgentLost())
        if failed and self.agents == 1:
            self.agents -= 1
            self.feed(words.PromotionFailed())

    @rule()
    def spare_dies(self) -> None:
        self.feed(words.SpareLost())

    @rule()
    def spare_misses_something(self) -> None:
        self.spare_knows.clear()
        self.feed(words.SpareMissed())

    @rule(signum=st.sampled_from([signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]), luck=luck)
    def signal_arrives(self, signum: int, luck: int) -> None:
        self.feed(words.SignalArrived(signal.SIGINT if luck == BAD_LUCK else signum))

    # --- the programs ---------------------------------------------------------------------------

    @precondition(with_room)
    @rule(lease_s=st.floats(1.0, 5.0))
    def program_comes_up(self, lease_s: float) -> None:
        self.agent_starts(lease_s)
        number = self.numbers
        if number in self.runs:
            self.runs[number].ready = True
            self.feed(words.ProgramReady(number, 42, {"level": "plain"}))
        if number in self.runs and self.runs[number].alive:
            self.runs[number].exec_seen = True
            self.feed(words.ProgramStarted(number))

    @rule(place=places)
    def program_is_ready(self, place: int) -> None:
        if number := self.one_of(place, lambda seen: not seen.ready):
            self.runs[number].ready = True
            self.feed(words.ProgramReady(number, 42, {"level": "plain"}))

    @rule(place=places)
    def program_is_executed(self, place: int) -> None:
        if number := self.one_of(place, lambda seen: seen.alive and not seen.exec_seen):
            self.runs[number].exec_seen = True
            self.feed(words.ProgramStarted(number))

    @rule(place=places)
    def program_is_refused(self, place: int) -> None:
        if number := self.one_of(place, lambda seen: seen.alive and not seen.exec_seen):
            self.runs[number].exec_seen, self.runs[number].alive = True, False
            self.feed(words.ProgramRefused(number, "not found", 127))

    @rule(left=st.booleans(), luck=luck, place=places)
    def program_ends(self, left: bool, luck: int, place: int) -> None:
        number = self.one_of(place, lambda seen: seen.exec_seen)
        if not number or (luck != BAD_LUCK and self.runs[number].alive):
            return
        if not left:
            del self.runs[number]
        self.feed(words.ProgramEnded(number, 0, left=left))

    @rule(luck=luck, place=places)
    def program_is_gone(self, luck: int, place: int) -> None:
        number = self.one_of(place)
        if not number or (luck != BAD_LUCK and self.runs[number].alive):
            return
        if self.runs[number].alive and not self.runs[number].exec_seen:
            self.runs[number].exec_seen = True
            self.feed(words.ProgramStarted(number))
        del self.runs[number]
        self.feed(words.ProgramGone(number))

    @rule()
    def word_of_an_old_run_arrives(self) -> None:
        self.feed(words.ProgramGone(-1))

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def nothing_lives_without_trust(self) -> None:
        for seen in self.runs.values():
            assert not seen.alive or self.now < seen.trust or self.held_up

    @invariant()
    def each_start_is_answered_at_most_once(self) -> None:
        assert all(count == 1 for count in self.answers.values())

    @invariant()
    def what_is_gone_was_answered(self) -> None:
        if self.agents == 1:
            for number, seen in self.asked.items():
                if seen.agent == self.agent and number not in self.runs:
                    assert self.answers[number] == 1

    @invariant()
    def the_end_of_an_inheritance_is_said_when_there_is_one(self) -> None:
        if self.agents == 1 and not self.left_by_others() and not self.guard.leaving:
            assert not self.owed

    @invariant()
    def the_spare_knows_what_to_kill(self) -> None:
        if not self.quit:
            assert {n for n, seen in self.runs.items() if seen.alive} <= self.spare_knows


Guarded.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestGuarded = Guarded.TestCase


# --- one rule broken ------------------------------------------------------------------------------

real_extend, real_due, real_inherit = guardian_run.extend, guardian_run.due, guardian_run.inherit
real_let_go, real_on_program = guardian_run._let_go, guardian_run.on_program


def _forgets_all_but_the_first(run: Run) -> float:
    """Break G1: keep the deadline of the first run only."""
    running = run.phase in ("launching", "running")
    return math.inf if running and run.number > 1 else real_due(run)


def _extends_what_stops(run: Run, until: float, now: float, orders: guardian_run.Orders) -> Run:
    """Break G2: let an extension reach a run that was told to stop."""
    extended = real_extend(run._replace(phase="running"), until, now, orders)
    return extended._replace(phase=run.phase, kill_at=extended.trusted_until)


def _lets_go_whatever(guarded: Guard, run: Run, now: float, orders: guardian_run.Orders) -> Guard:
    """Break G3: do not look at the deadline before the program is let go."""
    after = real_let_go(guarded, run._replace(trusted_until=now + 9.0), now, orders)
    return after.changed(after.run(run.number)._replace(trusted_until=run.trusted_until))  # type: ignore[union-attr]


def _ends_while_some_is_left(guarded: Guard, event: Any, now: float, orders: Any) -> Guard:
    """Break G4: take the end of the first process for the end of the run."""
    if isinstance(event, words.ProgramEnded):
        event = event._replace(left=False)
    return real_on_program(guarded, event, now, orders)


def _inherits_nothing(run: Run, now: float, orders: guardian_run.Orders) -> Run:
    """Break G5: tell a successor of each run that it has not ordered."""
    return real_inherit(run, now, orders)._replace(inherited=False)


def _in_any_order(orders: guardian_run.Orders) -> tuple[Command, ...]:
    """Break G10: report when there is something to report, before a spare is promoted."""
    return tuple(orders)


BROKEN = {
    "G1": ("due", _forgets_all_but_the_first),
    "G2": ("extend", _extends_what_stops),
    "G3": ("_let_go", _lets_go_whatever),
    "G4": ("on_program", _ends_while_some_is_left),
    "G5": ("inherit", _inherits_nothing),
    "G10": ("reports_last", _in_any_order),
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    attribute, variant = BROKEN[name]
    real = getattr(guardian_run, attribute)
    setattr(guardian_run, attribute, variant)
    try:
        yield
    finally:
        setattr(guardian_run, attribute, real)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found(name: str):
    """Without shrinking: that it is found is enough."""
    search = settings(
        max_examples=2_000,
        stateful_step_count=40,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    with broken(name), pytest.raises(AssertionError):
        run_state_machine_as_test(Guarded, settings=search)
