"""State of a process that holds tokens for its own code (docs/protocol.md, rules U).

One node session covers all tokens, whatever their number (as ADR 11 has it for tasks). The node is
an ordinary one that races for nothing; the tokens are kept beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from types import MappingProxyType

from coordinator.protocol.holders.events import NEVER, Wish
from coordinator.protocol.holders.waits import Waits
from coordinator.protocol.messages.holder_requests import TokenNow
from coordinator.protocol.node.state.node import Node, Policy
from coordinator.protocol.node.state.run import Run
from coordinator.protocol.rules.restarts import Restarts
from coordinator.protocol.rules.timing import Timing
from coordinator.protocol.rules.watch import Watch

#: Stands in the node for bodies that run: it joins again, and leaves, only without them (L1, L3).
BODIES = Run(-1, 0, NEVER, "bodies of this process", True)


#: The node starts no program, even while this session holds the group's own token.
NO_PROGRAM = Restarts(start_at=float("inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A token in the hands of a body, from the grant to the body's end.

    lost: why it must not be acted on any more; the body may still run.
    until: own clock: for a lost one, when nobody has to wait for its body any more (U5).
    """

    number: int
    token: str
    term: int
    session: str
    lost: str = ""
    until: float = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A term to be given back.

    number: the holding whose body has ended; None: the term was never handed to code.
    """

    token: str
    term: int
    session: str
    reason: str
    ended_at: float
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A token of another holder, as last seen; it is kept between waits (U6).

    until: own clock: nobody has waited since long before; forgotten then.
    """

    now: TokenNow
    watch: Watch
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """Everything that the process knows; replaced, never changed.

    wishes:   the waits of code, in the order in which they came.
    tried:    wishes that some answer has told about.
    endings:  what is to be given back.
    current:  the holdings were read since the last doubt: only then is trust extended (U4).
    hinted:   somebody has given a token back: try now.
    look_at:  own clock: when to look at what is waited for.
    remembered: the highest term of each token that this process has held.
    """

    node: Node
    wishes: Waits = field(default_factory=Waits)
    tried: frozenset[int] = frozenset()
    held: Mapping[int, Held] = field(default_factory=lambda: MappingProxyType({}))
    endings: tuple[Ending, ...] = ()
    sightings: Mapping[str, Sighting] = field(default_factory=lambda: MappingProxyType({}))
    current: bool = True
    hinted: bool = False
    look_at: float = NEVER
    remembered: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def fronts(self) -> tuple[Wish, ...]:
        """Return the first wish for each token that no body of this process has (U3)."""
        taken = {one.token for one in self.held.values()} | {one.token for one in self.endings}
        fronts = (wish for wish in self.wishes.firsts() if wish.token not in taken)
        # In the order in which they came: an exchange may have no room for all of them.
        return tuple(sorted(fronts, key=attrgetter("number")))

    def live(self) -> tuple[Held, ...]:
        """Return the holdings that are not lost."""
        return tuple(one for one in self.held.values() if not one.lost)


def with_bodies(holders: Holders, now: float) -> Holders:
    """Let the node know whether bodies run that its leaving and joining have to wait for."""
    run = BODIES if any(now < one.until for one in holders.held.values()) else None
    if holders.node.run == run:
        return holders
    return replace(holders, node=replace(holders.node, run=run))


def without(holders: Holders, number: int) -> Holders:
    """Return the state without a holding."""
    held = {key: one for key, one in holders.held.items() if key != number}
    return replace(holders, held=held)


def first_state(policy: Policy, timing: Timing) -> Holders:
    """Return the state of a process that has no session yet."""
    return Holders(node=Node(policy=policy, timing=timing, restarts=NO_PROGRAM))
