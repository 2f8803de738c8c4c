"""Planned changes of a group: asked for by an administrator, carried out by the nodes (rules A).

The rows of planned_change that have no outcome yet are *open*. Every view that reads the whole
group has them. Moments are never sent, only seconds from the reading, by the server's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PlannedKind(StrEnum):
    """Kind of a planned change, as its row names it."""

    SWITCHOVER = "switchover"  #: the token goes to `node`, or to the best standby
    RESIGN = "resign"  #: the token leaves `node`
    PAUSE_WORK = "pause work"  #: the program stops, and nobody starts it
    PAUSE_TAKEOVERS = "pause takeovers"  #: the holder goes on, and nobody takes the token
    DRAIN = "drain"  #: `node` gives up what it holds, and takes nothing
    PRIORITY = "priority"  #: `value` counts in the place of the priority in `node`'s file
    LIVENESS = "livenessCheckInterval"  #: `value`, in ms, counts for all nodes (rules I)


#: Kinds that end with a taking; there is one of them in a group at a time.
HANDOVERS = (PlannedKind.SWITCHOVER, PlannedKind.RESIGN)
#: Kinds that stand until somebody ends them, or their time is over; one in a group at a time.
PAUSES = (PlannedKind.PAUSE_WORK, PlannedKind.PAUSE_TAKEOVERS)

#: Kinds that set something for the whole group. Each stands until another value is agreed on.
SETTINGS = (PlannedKind.LIVENESS,)


class PlannedOutcome(StrEnum):
    """End of a planned change."""

    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """One open row of planned_change.

    wait_s: seconds until it counts; 0.0: it counts.
    left_s: seconds until it runs out, below 0 once it has; None: it stands until it is ended.
    value:  of a priority or a setting; else None.
    agreed: of a setting: every live node has told that it has the value.
    """

    id: int
    kind: PlannedKind
    node: str | None = None
    who: str = ""
    reason: str = ""
    wait_s: float = 0.0
    left_s: float | None = None
    value: int | None = None
    agreed: bool = False

    @property
    def target(self) -> str | None:
        """Node that is to have the token; None: any other than the holder."""
        return self.node if self.kind is PlannedKind.SWITCHOVER else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The open planned changes of a group, as one reading showed them.

    read_us: the server's clock at that reading, in microseconds; tells two readings apart.
    changes: in the order in which they were asked for.
    """

    read_us: int = 0
    changes: tuple[PlannedChange, ...] = ()


NOTHING_PLANNED = Planned()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndPlanned:
    """Record the end of an open planned change; `expired` only when its time is over.

    Done when this request ended it.
    """

    id: int
    outcome: PlannedOutcome
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TellInterval:
    """Write the interval that this session has taken over to its row (rule I3).

    change: the row of planned_change that asks for it; 0: none does, and it is that of the file.
    lease_s: the lease that goes with the interval, for people.
    Done when the row shows the interval, and nobody has asked for another one since.
    """

    session: str
    change: int
    liveness_s: float
    lease_s: float


#: Requests of nodes about planned changes.
PlannedRequest = EndPlanned | TellInterval
