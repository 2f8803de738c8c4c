"""Decision between stopping and killing, round by round, for a run that may fork meanwhile (G4).

Where processes are limited, each death makes room for another fork, so killing alone may never end.
A stopped process keeps its place and forks no more.
"""

from __future__ import annotations

import enum
from collections.abc import Set as AbstractSet
from typing import NamedTuple

#: After this many rounds of stopping, a run that still grows is killed all the same.
STOPS_MAX = 200

#: Number of a process and the time of its start, in the kernel's ticks.
Process = tuple[int, int]


class Signal(enum.Enum):
    """The signal for each process that a round has found."""

    STOP = "stop"
    KILL = "kill"


class Chase(NamedTuple):
    """Rounds of one killer against one run, up to the last one."""

    found: frozenset[Process] = frozenset()  #: by any round so far
    stops: int = 0
    grew: bool = False  #: the last round found a process that no earlier round had found

    def after_look(self, found: AbstractSet[Process]) -> tuple[Chase, Signal]:
        """Stop all while each look shows new processes; kill with the first that shows none."""
        grew = bool(self.found) and not found <= self.found
        stops_now = grew and self.stops < STOPS_MAX
        chase = Chase(self.found | found, self.stops + stops_now, grew)
        return chase, Signal.STOP if stops_now else Signal.KILL
