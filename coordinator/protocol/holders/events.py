"""Events and commands of a process that holds tokens for its own code, beside those of its node."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from coordinator.protocol.node.events import Event as NodeEvent
from coordinator.protocol.node.state.node import NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A wait for a token.

    number: names the wait, and the holding that it may become.
    until:  own clock: the wait is given up at this moment; infinity waits for ever.
    waits:  false gives up once somebody is seen to hold the token.
    """

    number: int
    token: str
    until: float = float("inf")
    waits: bool = True


# --- events -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wished:
    """Code of this process waits for a token."""

    now: float
    wish: Wish


@dataclass(frozen=True, slots=True)
class BodyEnded:
    """Nobody waits for the token of this number any more, or the body that it guarded has ended."""

    now: float
    number: int


Event = Wished | BodyEnded | NodeEvent

# --- commands -----------------------------------------------------------------------------------


class Why(Enum):
    """Kinds of a refusal."""

    HELD = "held"
    UNREACHABLE = "unreachable"
    IS_TASK = "is a task"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Hand the token to the code that waits; it may act until `trusted_until`."""

    number: int
    token: str
    term: int
    session: str
    trusted_until: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell the code that waits that it gets no token; `text` is for people."""

    number: int
    why: Why
    text: str


@dataclass(frozen=True, slots=True)
class Extend:
    """Every holding that is not lost may be acted on until the new moment."""

    trusted_until: float


@dataclass(frozen=True, slots=True)
class Lose:
    """Tell a holding that it is lost; its body goes on until it ends by itself."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The token of this number is held no more, as far as the database is concerned."""

    number: int


Command = Grant | Refuse | Extend | Lose | GivenBack

__all__ = [
    "NEVER",
    "BodyEnded",
    "Command",
    "Event",
    "Extend",
    "GivenBack",
    "Grant",
    "Lose",
    "NodeEvent",
    "Refuse",
    "Why",
    "Wish",
    "Wished",
]
