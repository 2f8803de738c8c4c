"""Work of a process in which much code waits: an event costs the same for ten waits as for more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import FrameType

import pytest

from coordinator.protocol.holders.events import BodyEnded, Grant, Refuse, Wish, Wished
from coordinator.protocol.holders.machine import step, wake_at
from coordinator.protocol.holders.state import NO_PROGRAM, Holders, first_state
from coordinator.protocol.holders.waits import Waits, waits
from coordinator.protocol.messages.holder_requests import Exchange
from coordinator.protocol.messages.requests import Answer
from coordinator.protocol.node.events import Answered, Ask, Ticked
from coordinator.protocol.node.state.node import Policy
from tests.simulation.plans.script import TIMING, Script, view

NAMES = tuple(f"G/{number}" for number in range(10))


@dataclass
class Crowd:
    """A process with so many waits for ten names; each name is held by the first that waits."""

    count: int
    now: float = 0.0
    holders: Holders = field(init=False)
    granted: list[Grant] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        script = Script(Policy(node="n0", group="G", seed="s", priority=0))
        script.join(0.0, view())
        assert script.node.session is not None
        node = replace(script.node, restarts=NO_PROGRAM, pending=None)
        self.holders = replace(first_state(node.policy, TIMING), node=node)
        self.now = 0.1
        for number in range(1, self.count + 1):
            name = NAMES[number % len(NAMES)]
            self.hear(Wished(self.now, Wish(number=number, token=name, until=1000.0 + number)))
        self.settle()

    def hear(self, event: object) -> None:
        self.holders, commands = step(self.holders, event)  # type: ignore[arg-type]
        self.granted += [each for each in commands if isinstance(each, Grant)]
        self.refused += [each.number for each in commands if isinstance(each, Refuse)]
        assert sum(isinstance(each, Ask) for each in commands) <= 1

    def settle(self) -> None:
        """Answer exchanges until none is under way: what is wanted is taken, and free."""
        while isinstance(request := self.holders.node.pending, Exchange):
            taken = tuple((want.token, want.least_term) for want in request.wants)
            answer = Answer(done=True, view=view(), taken=taken)
            self.hear(Answered(self.now, request, answer, self.now))

    def next_grant(self) -> None:
        """Let the first body of the first name end, until the next one of that name begins."""
        one = next(held for held in self.holders.held.values() if held.token == NAMES[1])
        self.hear(BodyEnded(self.now, one.number))
        self.settle()


def steps_of(call: Callable[[], object]) -> int:
    """Count the instructions that the interpreter carries out in the protocol."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
        nonlocal count
        if event == "call" and "protocol" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("what", ["grant", "tick", "wish", "given up", "wake"])
def test_u3_an_event_costs_no_more_among_a_thousand_waits_than_among_fifty(what):
    """The number of names is the same: what grows with the waits is copied, not walked."""

    def measured(count: int) -> int:
        crowd = Crowd(count)
        last = Wished(crowd.now, Wish(number=count + 1, token=NAMES[0]))
        do: dict[str, Callable[[], object]] = {
            "grant": crowd.next_grant,
            "tick": lambda: crowd.hear(Ticked(crowd.now)),
            "wish": lambda: crowd.hear(last),
            "given up": lambda: crowd.hear(BodyEnded(crowd.now, count)),
            "wake": lambda: wake_at(crowd.holders, crowd.now),
        }
        return steps_of(do[what])

    few, many = measured(50), measured(1000)

    assert few > 10
    # A sorted place is found in a few comparisons more; all else is the same, step by step.
    assert many <= few + 200


def test_u3_each_name_goes_to_those_who_wait_for_it_in_their_order():
    crowd = Crowd(60)

    for _ in range(5):
        crowd.next_grant()

    assert [each.number for each in crowd.granted if each.token == NAMES[1]] == [
        1,
        11,
        21,
        31,
        41,
        51,
    ]


def test_a_wait_among_others_is_refused_when_its_time_is_over_and_wakes_the_process_for_it():
    crowd = Crowd(50)
    assert wake_at(replace(crowd.holders, wishes=waits()), 1010.0) > 1011.0

    crowd.now = 1000.0 + 12.5
    crowd.holders = replace(crowd.holders, node=replace(crowd.holders.node, pending=None))
    crowd.hear(Ticked(crowd.now))

    assert 11 in crowd.refused
    assert 12 in crowd.refused
    assert 13 not in crowd.refused


def test_waits_know_the_next_end_and_those_whose_time_is_over():
    some = waits(
        Wish(number=1, token="a", until=5.0),
        Wish(number=2, token="b", until=3.0),
        Wish(number=3, token="a"),
        Wish(number=4, token="b", until=9.0, waits=False),
    )

    assert [wish.number for wish in some] == [1, 2, 3, 4]
    assert [wish.number for wish in some.over(3.0)] == [2, 4]
    assert (some.next_end(0.0), some.next_end(3.0), some.next_end(9.0)) == (3.0, 5.0, float("inf"))
    assert some.first("a") == Wish(number=1, token="a", until=5.0)

    rest = some.without((1, 4, 2))

    assert [wish.number for wish in rest] == [3]
    assert [wish.number for wish in rest.firsts()] == [3]
    assert list(rest.over(1000.0)) == []
    assert rest.without((3,)) == Waits(queues={}, tokens={})
