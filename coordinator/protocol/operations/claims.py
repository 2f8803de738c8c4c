"""Choice of the subtask that a worker claims next (rule Q1), from what one look showed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from coordinator.protocol.messages.requests import Identity
from coordinator.protocol.operations.types import NOTHING, Location, SubtaskState
from coordinator.protocol.rules.ranking import weight


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSubtask:
    """One subtask that has not ended, with what its operation says.

    plan: it makes the other subtasks of its operation in this group.
    node: the only node that may run it; None: any.
    reports, moves: what its worker has told, and how often that was something new.
    avoided: the node on which it hung; others come first (Q9).
    """

    id: str
    operation: str
    type: str
    plan: bool
    entity: str
    state: SubtaskState
    version: int
    node: str | None = None
    owner: str | None = None
    session: str | None = None
    attempt: int = 0
    units_total: int = 0
    reports: int = 0
    moves: int = 0
    avoided: str | None = None
    location: Location = Location.SYSTEM
    place: str | None = None
    options: object = field(default_factory=lambda: NOTHING)
    argument: object = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A live Member and the types that it offers."""

    node: str
    types: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerSeen:
    """The session of a node that owns a running subtask, as its row shows it."""

    node: str
    session: str | None
    beat: int
    liveness_s: float
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the operations of a group.

    open:     subtasks that this node may run, and those that others run.
    any_open: some subtask of the group is open, whoever may run it.
    watches:  silent owners are to be ended here: the group has no observer that does it.
    """

    identity: Identity
    any_open: bool
    open: tuple[OpenSubtask, ...] = ()
    hosts: tuple[Host, ...] = ()
    owners: tuple[OwnerSeen, ...] = ()
    watches: bool = False


def choose(
    me: str, types: Collection[str], seen: Sequence[OpenSubtask], hosts: Sequence[Host]
) -> OpenSubtask | None:
    """Return the subtask to claim: one of which this node is first by hash, else any that waits.

    All nodes have the same order of one subtask, so most claims meet no other; those that do are
    decided by the compare-and-set.
    """
    mine: list[OpenSubtask] = []
    others: list[OpenSubtask] = []
    for subtask in seen:
        if subtask.state is not SubtaskState.PENDING or subtask.type not in types:
            continue
        if subtask.node is not None:
            if subtask.node == me:
                mine.append(subtask)
        elif first(subtask, hosts) in (me, None):
            mine.append(subtask)
        elif subtask.avoided != me:
            others.append(subtask)
    if mine:
        return mine[0]
    # Idle nodes that help out begin in different places.
    return max(others, key=lambda subtask: weight(subtask.id, me), default=None)


def first(subtask: OpenSubtask, hosts: Sequence[Host]) -> str | None:
    """Return the first of the live Members that offer the type, by rendezvous hash."""
    able = [host.node for host in hosts if subtask.type in host.types]
    able = [node for node in able if node != subtask.avoided] or able
    return max(able, key=lambda node: (weight(subtask.id, node), node), default=None)
