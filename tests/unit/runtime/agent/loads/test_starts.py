"""Starts of programs that read the state of their token, and those that need not (rule Y4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from coordinator.protocol.messages.requests import Answer
from coordinator.protocol.node.events import Event, StartProgram
from coordinator.protocol.node.state.node import Node, Policy
from coordinator.protocol.rules.saved_state import StateWanted
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.agent.loads.loader import Outcome
from coordinator.runtime.agent.loads.starts import LoadedStarts
from coordinator.runtime.linux.clock import BoottimeClock
from tests.simulation.plans.script import view

GROUP = "orders"
TIMING = Timing(liveness_s=6.0, heartbeat_s=1.0)


class Wishes:
    """Loader that only notes what it is asked for."""

    def __init__(self) -> None:
        self.on_outcome: Callable[[Outcome], Iterable[Event]] = lambda _: ()
        self.begun: list[tuple[int, StateWanted | None]] = []

    def begin(self, run: int, wanted: StateWanted | None) -> None:
        self.begun.append((run, wanted))


def test_the_first_program_of_a_term_without_a_state_needs_no_reading_and_the_second_does():
    """Y4: the first one may have saved a state."""
    loader = Wishes()
    starts = LoadedStarts(loader, BoottimeClock(), TIMING, lambda *_: None, lambda _: None)
    node = Node(policy=Policy(node="a", group=GROUP, seed="x"), timing=TIMING, session="s")
    starts.note(Answer(done=True, view=view(), term=7, stateless=((GROUP, 7),)))

    starts.begin(StartProgram(1, 7, 100.0), node)
    starts.begin(StartProgram(2, 7, 100.0), node)

    assert loader.begun == [(1, None), (2, StateWanted(token=GROUP, term=7, session="s"))]


def test_what_was_told_of_another_term_counts_for_nothing():
    """Y4"""
    loader = Wishes()
    starts = LoadedStarts(loader, BoottimeClock(), TIMING, lambda *_: None, lambda _: None)
    node = Node(policy=Policy(node="a", group=GROUP, seed="x"), timing=TIMING, session="s")
    starts.note(Answer(done=True, view=view(), term=7, stateless=((GROUP, 7),)))

    starts.begin(StartProgram(1, 8, 100.0), node)

    assert loader.begun == [(1, StateWanted(token=GROUP, term=8, session="s"))]
