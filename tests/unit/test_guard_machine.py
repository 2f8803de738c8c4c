"""Rules G1, G2, G3 and G4 under any order of events and any pauses of the guardian."""

from __future__ import annotations

import signal
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from coordinator.protocol import guard
from coordinator.protocol import guard_words as words
from coordinator.protocol.guard_words import Command, Event

STOP_TIMEOUT_S = 0.5
#: Ticks between two moments of a test: more would be a guardian that never rests.
TICKS_MAX = 2_000
moments = st.floats(0.0, 4.0)
#: What ends a node happens once in a while, or little else would be seen.
luck = st.integers(0, 7)
BAD_LUCK = 7


class Guarded(RuleBasedStateMachine):
    """A guardian on virtual time; the world obeys its commands at once."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.guard, commands = guard.begin(0.0)
        self.runs = 0
        self.trust = 0.0  #: kept by the test alone, from what the agent said
        self.told_to_stop = False
        self.launched = self.ready = self.alive = self.exec_seen = False
        self.exists = False  #: a process of the run is still there
        self.agents = 0
        self.quit = self.held_up = False
        self.answers: Counter[int] = Counter()
        self.started: Counter[int] = Counter()
        self.obey(commands)

    # --- the world ------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        self.guard, commands = guard.step(self.guard, event, self.now)
        self.held_up = False
        self.obey(commands)
        self.nothing_lives_without_trust()

    def obey(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            match command:
                case words.LaunchProgram():
                    assert not self.exists
                    self.launched = self.exists = True
                    self.ready = self.alive = self.exec_seen = self.told_to_stop = False
                case words.LetGo(_, until):
                    assert self.now < self.trust - STOP_TIMEOUT_S
                    assert until <= self.trust
                    assert self.exists
                    assert not self.told_to_stop
                    self.alive = True
                case words.SignalProgram(_, signal.SIGTERM):
                    self.told_to_stop = True
                case words.KillProgram():
                    self.told_to_stop, self.alive = True, False
                case words.StartAgent() | words.PromoteSpare():
                    self.agents += 1
                    assert self.agents == 1
                case words.KillAgent():
                    self.agents -= 1
                case words.TellAgent(message):
                    self.hear(message)
                case words.Quit():
                    assert not self.exists
                    self.quit = True

    def hear(self, message: words.Message) -> None:
        match message:
            case {"say": "started", "run": run}:
                self.started[run] += 1
            case {"say": "refused" | "ended" as say, "run": run}:
                self.answers[run] += 1
                if run == self.runs and self.launched:
                    assert not self.exists
                if say == "ended" and run:
                    assert self.started[run] == 1

    def vanish(self) -> None:
        self.exists = self.alive = self.launched = False

    # --- time -----------------------------------------------------------------------------------

    @rule(seconds=moments)
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(TICKS_MAX):
            due = guard.due(self.guard)
            if due > until:
                break
            self.now = max(self.now, due)
            self.feed(words.Ticked())
        else:
            raise AssertionError("never rests")
        self.now = until

    @rule(seconds=st.floats(0.1, 5.0))
    def guardian_is_held_up(self, seconds: float) -> None:
        """Whatever comes next is the first that it notices."""
        self.now += seconds
        self.held_up = True

    @precondition(lambda self: self.exists and self.with_agent())
    @rule(seconds=st.floats(0.1, 5.0))
    def extension_is_the_first_that_it_notices(self, seconds: float) -> None:
        self.guardian_is_held_up(seconds)
        self.agent_extends(lease_s=4.0, back=0)

    @precondition(lambda self: self.exists and not self.ready)
    @rule(seconds=st.floats(0.1, 5.0))
    def forked_program_is_the_first_that_it_notices(self, seconds: float) -> None:
        self.guardian_is_held_up(seconds)
        self.program_is_ready()

    # --- the agent ------------------------------------------------------------------------------

    def with_agent(self) -> bool:
        return self.agents == 1 and not self.quit

    @precondition(with_agent)
    @rule()
    def agent_greets(self) -> None:
        self.feed(words.Greeted(2.0, STOP_TIMEOUT_S))

    @precondition(with_agent)
    @rule()
    def agent_pings(self) -> None:
        self.feed(words.Pinged(1))

    @precondition(with_agent)
    @rule(lease_s=st.floats(-1.0, 5.0))
    def agent_starts(self, lease_s: float) -> None:
        if not self.exists:
            self.runs += 1
            self.trust = self.now + lease_s
        number = self.runs if not self.exists else self.runs + 1000
        self.feed(words.StartOrdered(number, 1, self.now + lease_s, STOP_TIMEOUT_S))

    @precondition(with_agent)
    @rule(lease_s=st.floats(-1.0, 5.0), back=st.integers(0, 1))
    def agent_extends(self, lease_s: float, back: int) -> None:
        until = self.now + lease_s
        if back == 0 and self.now < self.trust and not self.told_to_stop:
            self.trust = max(self.trust, until)
        self.feed(words.ExtendOrdered(self.runs - back, until))

    @precondition(with_agent)
    @rule(grace_s=moments)
    def agent_stops(self, grace_s: float) -> None:
        self.feed(words.StopOrdered(self.runs, grace_s))

    @precondition(with_agent)
    @rule(luck=luck)
    def agent_kills(self, luck: int) -> None:
        if luck == BAD_LUCK:
            self.feed(words.KillOrdered(self.runs))

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

    @rule(signum=st.sampled_from([signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]), luck=luck)
    def signal_arrives(self, signum: int, luck: int) -> None:
        self.feed(words.SignalArrived(signal.SIGINT if luck == BAD_LUCK else signum))

    # --- the program ----------------------------------------------------------------------------

    @precondition(lambda self: self.with_agent() and not self.exists)
    @rule(lease_s=st.floats(1.0, 5.0))
    def program_comes_up(self, lease_s: float) -> None:
        self.agent_starts(lease_s)
        if self.exists:
            self.program_is_ready()
        if self.alive:
            self.program_is_executed()

    @precondition(lambda self: self.exists and not self.ready)
    @rule()
    def program_is_ready(self) -> None:
        self.ready = True
        self.feed(words.ProgramReady(self.runs, 42, {"level": "plain"}))

    @precondition(lambda self: self.alive and not self.exec_seen)
    @rule()
    def program_is_executed(self) -> None:
        self.exec_seen = True
        self.feed(words.ProgramStarted(self.runs))

    @precondition(lambda self: self.alive and not self.exec_seen)
    @rule()
    def program_is_refused(self) -> None:
        self.exec_seen, self.alive = True, False
        self.feed(words.ProgramRefused(self.runs, "not found", 127))

    @precondition(lambda self: self.exists and self.exec_seen)
    @rule(left=st.booleans(), luck=luck)
    def program_ends(self, left: bool, luck: int) -> None:
        if luck != BAD_LUCK and self.alive:
            return
        if not left:
            self.vanish()
        self.feed(words.ProgramEnded(self.runs, 0, left=left))

    @precondition(lambda self: self.exists)
    @rule(luck=luck)
    def program_is_gone(self, luck: int) -> None:
        if luck != BAD_LUCK and self.alive:
            return
        if self.alive and not self.exec_seen:
            self.program_is_executed()
        self.vanish()
        self.feed(words.ProgramGone(self.runs))

    @rule()
    def word_of_an_old_run_arrives(self) -> None:
        self.feed(words.ProgramGone(self.runs - 1))

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def nothing_lives_without_trust(self) -> None:
        assert not self.alive or self.now < self.trust or self.held_up

    @invariant()
    def each_start_is_answered_at_most_once(self) -> None:
        assert all(count == 1 for run, count in self.answers.items() if 0 < run < 1000)

    @invariant()
    def what_is_gone_was_answered(self) -> None:
        if self.agents == 1 and not self.exists and self.runs:
            assert self.answers[self.runs] == 1


Guarded.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestGuarded = Guarded.TestCase
