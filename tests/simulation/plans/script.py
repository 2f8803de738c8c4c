"""A machine on a script: what a transcript says happened, moment by moment, and what it ordered."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.requests import (
    Answer,
    Identity,
    Join,
    NodeSeen,
    Request,
    Take,
    TokenSeen,
    View,
)
from coordinator.protocol.node import machine
from coordinator.protocol.node.events import Answered, Ask, Command, Event, Failed, Ticked
from coordinator.protocol.node.state.node import Node, Policy
from coordinator.protocol.rules.timing import Timing

#: lease 4.73 s, stop timeout 1.36 s, attempt 1.18 s, longest gap in watching 4 s.
TIMING = Timing(liveness_s=6.0, heartbeat_s=1.0)
FREE = TokenSeen(term=0, node=None, session=None, term_floor=0)


def identity(timeline: int = 1, started_at: int = 1) -> Identity:
    return Identity(system_identifier=7, timeline=timeline, started_at=started_at)


def seen(
    session: str | None, beat: int = 1, *, ended: bool = False, age_s: float = 0.0
) -> NodeSeen:
    """Return a row of health_check."""
    return NodeSeen(session=session, beat=beat, liveness_s=6.0, ended=ended, age_s=age_s)


def view(
    token: TokenSeen = FREE,
    holder: NodeSeen | None = None,
    *,
    settled: bool = True,
    timeline: int = 1,
    started_at: int = 1,
) -> View:
    """Return what the database shows."""
    return View(
        identity=identity(timeline, started_at),
        settled=settled,
        token=token,
        holder=holder,
        group_version=-1,  # never newer than what the node knows: nobody asks for the roster
        longest_liveness_s=0.0 if settled else 6.0,
    )


def held(session: str, *, node: str = "other", term: int = 1, floor: int = 0) -> TokenSeen:
    """Return a token row that names a holder."""
    return TokenSeen(term=term, node=node, session=session, term_floor=floor)


class Script:
    """One node, driven by hand; every call returns the commands of its step."""

    def __init__(self, policy: Policy | None = None, timing: Timing = TIMING) -> None:
        policy = policy or Policy(node="n0", group="G", seed="script")
        self.node = Node(policy=policy, timing=timing)
        self.sent_at = 0.0

    def take_in(self, event: Event) -> tuple[Command, ...]:
        self.node, commands = machine.step(self.node, event)
        if any(isinstance(command, Ask) for command in commands):
            self.sent_at = event.now
        return commands

    def tick(self, now: float) -> tuple[Command, ...]:
        return self.take_in(Ticked(now))

    def answer(
        self,
        now: float,
        shown: View,
        *,
        done: bool = True,
        term: int = 0,
        beat: int = 0,
        namesake: NodeSeen | None = None,
    ) -> tuple[Command, ...]:
        """Answer the request that is under way."""
        request = self.pending
        answer = Answer(done=done, view=shown, term=term, beat=beat, namesake=namesake)
        return self.take_in(Answered(now, request, answer, self.sent_at))

    def fail(self, now: float, why: str = "lost") -> tuple[Command, ...]:
        """Let the request that is under way have no answer."""
        return self.take_in(Failed(now, self.pending, why))

    @property
    def pending(self) -> Request:
        assert self.node.pending is not None
        return self.node.pending

    @property
    def session(self) -> str:
        assert self.node.session is not None
        return self.node.session

    def join(self, now: float, shown: View | None = None) -> tuple[Command, ...]:
        """Join at `now`; the database shows a free token unless told otherwise."""
        self.tick(now)
        assert isinstance(self.pending, Join)
        return self.answer(now, shown or view())

    def hold(self, now: float, term: int = 1) -> tuple[Command, ...]:
        """Join and take the free token at `now`."""
        self.join(now)
        assert isinstance(self.pending, Take), "the first in line takes a free token at once"
        token = held(self.session, node="n0", term=term)
        return self.answer(now, view(token, seen(self.session, 2)), term=term)

    def own(self, beat: int = 3, term: int = 1) -> View:
        """Return a view in which this node holds the token."""
        return view(held(self.session, node="n0", term=term), seen(self.session, beat))

    def fast_forward(self, **changes: object) -> None:
        """Set parts of the state that a transcript does not care to reach step by step."""
        self.node = replace(self.node, **changes)  # type: ignore[arg-type]


def asked(commands: tuple[Command, ...]) -> Request | None:
    """Return the request among the commands."""
    return next((command.request for command in commands if isinstance(command, Ask)), None)


def kinds(commands: tuple[Command, ...]) -> set[type]:
    """Return the kinds of the commands."""
    return {type(command) for command in commands}
