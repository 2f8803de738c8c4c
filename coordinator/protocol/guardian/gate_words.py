"""Events and commands about gates, behind which programs of standbys wait (rules Y5 to Y8).

NamedTuple for the reason given in events.py.
"""

from __future__ import annotations

from typing import NamedTuple


class OpenOrdered(NamedTuple):
    """The node has become active: open the gate of the run, which is trusted until then."""

    run: int
    term: int
    session: str
    trusted_until: float


class GateWaits(NamedTuple):
    """A process of the program waits at its closed gate, or none does any more."""

    run: int
    waiting: bool


class GateMissed(NamedTuple):
    """Trust was over when the gate was to be opened, so it stays closed."""

    run: int


class OpenGate(NamedTuple):
    """Write term and session to whoever waits or comes, unless trust is over by then."""

    run: int
    term: int
    session: str
    trusted_until: float
