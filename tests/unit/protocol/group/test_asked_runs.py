"""X2, X4: what becomes of a request, by what one read shows; and of every order of events."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.protocol.group.asked_runs import OPEN, RecordSeen, RunState, is_due, state_of

SLOT = datetime(2026, 5, 4, 12, tzinfo=UTC)
LATER = SLOT + timedelta(minutes=1)
ASKED = RecordSeen(reserved=SLOT, expired=False, fired=None, outcome="", holding_over=True)
RUNS = replace(ASKED, fired=SLOT, outcome="running", holding_over=False)


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (ASKED, RunState.ASKED),
        (replace(ASKED, expired=True), RunState.EXPIRED),
        (RUNS, RunState.RUNNING),
        (replace(RUNS, expired=True), RunState.RUNNING),
        (replace(RUNS, holding_over=True), RunState.DIED),
        (replace(RUNS, outcome="ok", holding_over=True), RunState.OK),
        (replace(RUNS, outcome="failed"), RunState.FAILED),
        (replace(RUNS, outcome="died"), RunState.DIED),
        # A newer request followed one that nobody began.
        (replace(ASKED, reserved=LATER), RunState.EXPIRED),
    ],
)
def test_state_of_a_request(seen: RecordSeen, state: RunState) -> None:
    assert state_of(SLOT, seen, None) is state


def test_end_of_a_run_that_newer_ones_have_followed_is_that_of_its_event() -> None:
    assert state_of(SLOT, replace(RUNS, reserved=LATER, fired=LATER), "failed") is RunState.FAILED


@dataclass
class Group:
    """One task: its record, and the nodes that served its schedule in turn.

    The claim is that of the database; `broken` plants an error in it.
    """

    broken: str = ""
    seen: RecordSeen = ASKED
    term: int = 1
    fired_under: int = 0
    looked: RecordSeen = ASKED  #: the record as the present holder read it last
    starts: list[int] = field(default_factory=list)
    states: list[RunState] = field(default_factory=list)

    def do(self, step: str) -> None:
        """Take one step, and let the asker look."""
        match step:
            case "look":
                self.looked = self.seen
            case "claim":
                self._claim()
            case "end" if self.seen.outcome == "running" and not self.seen.holding_over:
                self.seen = replace(self.seen, outcome="ok")
            case "die":
                self.term += 1
                self.seen = replace(self.seen, holding_over=True)
            case "settle" if self.seen.outcome == "running" and self.fired_under < self.term:
                again = self.broken == "made again"
                fired = None if again else self.seen.fired
                self.seen = replace(self.seen, outcome="" if again else "died", fired=fired)
            case "late":
                self.seen = replace(self.seen, expired=True)
        self.states.append(state_of(SLOT, self.seen, None))

    def _claim(self) -> None:
        # Who claims has seen the request before, however long ago.
        if not is_due(self.looked):
            return
        seen = self.looked if self.broken == "claimed on a look" else self.seen
        if self.broken == "claimed too late":
            seen = replace(seen, expired=False)
        if is_due(seen):
            self.starts.append(self.term)
            self.fired_under = self.term
            self.seen = replace(self.seen, fired=SLOT, outcome="running", holding_over=False)


STEPS = ("look", "claim", "end", "die", "settle", "late")


def wrongs(broken: str) -> set[str]:
    """Try each order of five steps; return what was wrong in any."""
    found = set()
    for steps in itertools.product(STEPS, repeat=5):
        group = Group(broken)
        for step in steps:
            group.do(step)
        if len(group.starts) > 1:
            found.add("started twice")
        ended = [state for state in group.states if state not in OPEN]
        if len(set(ended)) > 1:
            found.add("two ends were told")
        if ended and OPEN.intersection(group.states[group.states.index(ended[0]) :]):
            found.add("went on after its end")
    return found


def test_in_every_order_a_request_is_started_once_and_has_one_end() -> None:
    """X2, X4."""
    assert wrongs("") == set()


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ("claimed on a look", "started twice"),
        ("made again", "started twice"),
        ("claimed too late", "went on after its end"),
    ],
)
def test_planted_errors_are_found(broken: str, found: str) -> None:
    assert found in wrongs(broken)
