"""Contract of a type of operation: its declaration, its plan, and the ends of its subtasks.

An operation is stored as type, options and location. Nodes plan its subtasks in the background and
run them. A type is a plug-in: an entry point of the group `coordinator.operations`, whose object is
a `coordinator.ports.OperationType`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

#: Group of entry points under which a distribution names its types.
ENTRY_POINTS = "coordinator.operations"
#: The types that coord brings itself; the database knows them before any node has started.
BUILT_IN = ("rebuild", "check_disk", "rebalance")
#: Form of the names of types and of the keys of options; both are case sensitive.
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

#: Value of an option, and of what a plan passes to its subtasks.
Scalar = str | int | float | bool
Value = Scalar | tuple[Scalar, ...]
NOTHING: Mapping[str, object] = MappingProxyType({})


class Location(StrEnum):
    """Extent of an operation: every group, one group, or one node."""

    SYSTEM = "SYSTEM"
    CLUSTER = "CLUSTER"
    NODE = "NODE"


class Kind(StrEnum):
    """Kind of an option's value."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"


class Names(StrEnum):
    """Kind of object that an option's value names; it must exist before anything is created."""

    NOTHING = ""
    NODE = "node"
    SEGMENT_GROUP = "segment group"
    SEGMENT = "storage id"
    PROGRAM = "table id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """Declaration of one option; every option may be left out.

    default: for people and for `coord sql`; None: no limit.
    """

    key: str
    kind: Kind
    names: Names = Names.NOTHING
    default: Value | None = None

    def __post_init__(self) -> None:
        if not WORD.fullmatch(self.key):
            raise ValueError(f"option {self.key!r}: a key is letters, digits and _")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeSpec:
    """Declaration of a type.

    locations: where it may be created; the others are refused with 0A000.
    result:    each operation of it has a row in sys.result_cache from its creation.
    hung_after_s: a run whose figures (`progress`) do not move for so long hangs, and another node
               takes it; None: they may stand still.
    """

    name: str
    locations: frozenset[Location]
    options: tuple[Option, ...] = ()
    result: bool = False
    hung_after_s: float | None = None

    def __post_init__(self) -> None:
        if not WORD.fullmatch(self.name):
            raise ValueError(f"type {self.name!r}: a name is letters, digits and _")
        if not self.locations:
            raise ValueError(f"type {self.name}: no location is allowed")
        if len({option.key for option in self.options}) < len(self.options):
            raise ValueError(f"type {self.name}: an option is declared twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSubtask:
    """One piece of an operation in one group, as a plan names it.

    entity:   what it is about; at most one subtask of an operation and a group has this entity.
    node:     the only node that may run it; None: any node that offers the type.
    argument: passed to the run, as JSON.
    units, size: the expected total, for progress; size in bytes.
    """

    entity: str
    node: str | None = None
    argument: Mapping[str, object] = field(default_factory=lambda: NOTHING)
    units: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Subtasks of one operation in one group; result: figures of the plan, for people."""

    subtasks: tuple[PlannedSubtask, ...]
    result: Mapping[str, object] = field(default_factory=lambda: NOTHING)


class SubtaskState(StrEnum):
    """State of a subtask; see machine.py."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    SKIPPED = "SKIPPED"
    LOST = "LOST"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class SubtaskEnd:
    """End of one run of a subtask.

    state: DONE; SKIPPED (nothing was to do); LOST (beyond repair, for good); FAILED (an error; the
           rest of the operation goes on); PENDING: it was asked to stop and left something undone.
    reason: one line for people; result: figures, as JSON, for sys.subtasks.
    """

    state: SubtaskState
    reason: str = ""
    result: Mapping[str, object] = field(default_factory=lambda: NOTHING)

    def __post_init__(self) -> None:
        if self.state is SubtaskState.RUNNING:
            raise ValueError("a run that has ended is not RUNNING")


DONE = SubtaskEnd(SubtaskState.DONE)
STOPPED = SubtaskEnd(SubtaskState.PENDING, "asked to stop")
