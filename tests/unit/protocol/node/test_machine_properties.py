"""Orders that the machine never gives, for all events in all orders."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.protocol.messages.requests import Answer, Join, Leave, Release, Request, Take, View
from coordinator.protocol.node import machine
from coordinator.protocol.node.events import (
    Answered,
    Ask,
    Command,
    Event,
    ExtendTrust,
    Failed,
    Finish,
    KillProgram,
    Notified,
    ProgramEnded,
    ProgramRefused,
    ProgramStopping,
    ResignAsked,
    StartProgram,
    StopAsked,
    Ticked,
)
from coordinator.protocol.node.state.node import Node, OnExit, Policy
from tests.simulation.plans.script import TIMING, held, seen, view


def any_view(draw: st.DrawFn, node: Node) -> View:
    """Return a view: of this node's session, another's, or a released token; maybe unsettled."""
    mine = node.session or node.previous or "none"
    session = draw(st.sampled_from([mine, mine, "other", None]))
    term = draw(st.integers(0, 4))
    timeline = draw(st.sampled_from([1, 1, 1, 2]))
    token = held("x", node="n0" if session == mine else "b", term=term)
    token = type(token)(
        term=term, node=token.node, session=session, term_floor=draw(st.integers(0, 5))
    )
    row = None if session is None else seen(session, draw(st.integers(1, 3)))
    settled = draw(st.sampled_from([True, True, False]))
    return view(token, row, settled=settled, timeline=timeline)


def any_event(draw: st.DrawFn, node: Node, now: float, sent_at: float) -> Event:
    number = node.run.number if node.run is not None else draw(st.integers(0, 3))
    kind = draw(st.integers(0, 11))
    if kind <= 4 and node.pending is not None:
        request: Request = node.pending
        done = draw(st.sampled_from([True, True, True, False]))
        namesake = seen("old", draw(st.integers(1, 3))) if isinstance(request, Join) else None
        shown = any_view(draw, node)
        term = shown.token.term if isinstance(request, Take) and done else 0
        answer = Answer(done=done, view=shown, term=term, namesake=namesake)
        return Answered(now, request, answer, sent_at)
    match kind:
        case 5:
            return Failed(now, node.pending, "lost")
        case 6:
            return Failed(now, None, "closed")
        case 7:
            return Notified(now)
        case 8:
            why = draw(st.sampled_from(["itself", "stopped", "trust", "killed", "agent"]))
            return ProgramEnded(now, number, draw(st.sampled_from([0, 1, -9])), why)
        case 9:
            code = draw(st.sampled_from([0, 0, 127]))
            return ProgramRefused(now, number, "no", code)
        case 10:
            return ProgramStopping(now, number)
        case 11:
            rare = draw(st.integers(0, 5))
            if rare == 0:
                return StopAsked(now, "stop")
            return ResignAsked(now, "resign") if rare == 1 else Ticked(now)
        case _:
            return Ticked(now)


class Judge:
    """Orders so far, and what must not follow."""

    def __init__(self) -> None:
        self.over: set[int] = set()  #: runs in which trust is over (G2); an order to stop ends none
        self.trust_max = 0.0

    def look(self, before: Node, event: Event, after: Node, commands: tuple[Command, ...]) -> None:
        if isinstance(event, Answered):
            self.trust_max = max(self.trust_max, event.sent_at + TIMING.lease_s)
        if isinstance(event, ProgramStopping) and before.run and before.run.number == event.run:
            self.over.add(event.run)
        assert not before.finished or not commands, "a finished node orders nothing"
        for command in commands:
            self.look_at(before, event, after, command)

    def look_at(self, before: Node, event: Event, after: Node, command: Command) -> None:
        match command:
            case Ask(request):
                answered = isinstance(event, Answered | Failed)
                assert before.pending is None or answered, "one request at a time"
                if isinstance(request, Release | Leave | Join):
                    assert after.run is None, "nothing is given back while the program may live"
            case StartProgram(_, term, until):
                assert before.run is None or isinstance(event, ProgramEnded | ProgramRefused)
                assert after.view is not None
                assert after.view.settled
                assert after.view.token.session == after.session is not None
                assert after.view.token.term == term > before.given_up
                assert event.now < until <= self.trust_max
            case ExtendTrust(number, until):
                assert number not in self.over, "trust that is over is not extended"
                assert until <= self.trust_max, "trust runs from the question"
            case KillProgram(number):
                self.over.add(number)
            case Finish():
                assert after.run is None
            case _:
                pass


@st.composite
def lives(draw: st.DrawFn) -> bool:
    """Drive one machine through anything; a broken rule is an assertion."""
    policy = Policy(
        node="n0",
        group="G",
        seed="p",
        on_exit=draw(st.sampled_from([OnExit.RESTART, OnExit.RELEASE, OnExit.STOP])),
        once=draw(st.booleans()),
    )
    node, judge, now, sent_at = Node(policy=policy, timing=TIMING), Judge(), 0.0, 0.0
    for _ in range(draw(st.integers(5, 40))):
        now += draw(st.sampled_from([0.0, 0.01, 0.3, 1.0, 1.0, 3.0, 6.5]))
        event = any_event(draw, node, now, sent_at)
        after, commands = machine.step(node, event)
        judge.look(node, event, after, commands)
        assert machine.wake_at(after, now) > now
        if any(isinstance(command, Ask) for command in commands):
            sent_at = now
        node = after
    return True


@settings(max_examples=300)
@given(lives())
def test_what_the_machine_never_orders(lived: bool) -> None:
    assert lived
