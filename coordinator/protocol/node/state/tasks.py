"""State of a node's work for its group's tasks: the tokens that it holds, and their programs.

All tasks share one session, one heartbeat and one trust. The group's record determines which node
should run a task (placement.py); the task's token row, which node may. docs/protocol.md, rules D.

The life of a task on one node:

    assigned --TakeTasks--> held --StartProgram--> running
            ^                                             |  no longer assigned, hung, failed, done
        +---- ReleaseTasks <-- nothing of it left <---+
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from coordinator.protocol.group.observer import Observer
from coordinator.protocol.group.placement import Verdict
from coordinator.protocol.messages.group_record import GroupRecord, OnPartition, TaskDef
from coordinator.protocol.messages.task_requests import TaskReport
from coordinator.protocol.node.state.run import Run
from coordinator.protocol.rules.restarts import Restarts

NEVER = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHolding:
    """A task whose token this node holds, or whose program has not been seen dead yet.

    definition: the one with which the program was started, or is to be started.
    ending:     why the token is given back when nothing of the program is left; "" while wanted.
    failed:     it failed here again and again: other nodes go first.
    done:       it has nothing left to do, for the whole group.
    lost:       the token is no longer this session's: there is nothing to give back.
    detached_since: own clock: since then the program continues without token and session.
    progressed_at: own clock: start of its program, or its last report of progress.
    ended_at:   own clock: the last end of its program under this term; None: none ended yet.
    """

    definition: TaskDef
    term: int
    run: Run | None = None
    restarts: Restarts = field(default_factory=Restarts)
    ending: str = ""
    failed: bool = False
    done: bool = False
    lost: bool = False
    detached_since: float | None = None
    progressed_at: float = NEVER
    ended_at: float | None = None
    error: str = ""

    @property
    def task(self) -> str:
        """The task's name."""
        return self.definition.name

    @property
    def stays_detached(self) -> bool:
        """True when the program continues after trust is over."""
        return (
            self.definition.on_partition is OnPartition.CONTINUE
            and self.run is not None
            and not self.run.stopping
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """State of a node about the tasks of its group; replaced, never changed.

    record:     the group, as last read; None before the first time.
    current:    the record was read on the database's present identity, and no answer was lost
                since: only then may a program be started or trusted for longer.
    stale:      a token was not as the record shows it: read again.
    read_at:    own clock, arrival of the record.
    assigned:   the node that should run each task of the record, with the reason.
    mine:       the tasks that this node should run.
    works:      the tasks held, by name.
    detached:      detached tasks: their programs continue without session and token.
    remembered: the highest term of each task that this node has seen.
    forgotten:  (task, term): terms that this node remembers, and that the record is below.
    given_up:   the highest term of each task that this node has released or lost.
    cool_until: own clock: before it, the task is not taken again.
    decided:     the last observation has been acted on; observe again before deciding.
    watched:    sessions as seen by the observer or its first deputy.
    reported:   the last report to the database about each task of this node.
    reported_version: the version of the record that the database knows this node to act on.
    notes:      reports to be sent once, as events: alerts, detached programs.
    alerted:    alerts that the observer has raised: (task, no node runs it).
    alarming:   own clock: since when the observer has known each alert's cause.
    observing:  this node was the observer at the last read.
    """

    record: GroupRecord | None = None
    current: bool = False
    stale: bool = False
    read_at: float = NEVER
    assigned: Mapping[str, Verdict] = field(default_factory=lambda: MappingProxyType({}))
    mine: tuple[str, ...] = ()
    works: Mapping[str, TaskHolding] = field(default_factory=lambda: MappingProxyType({}))
    detached: Mapping[str, TaskHolding] = field(default_factory=lambda: MappingProxyType({}))
    remembered: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    forgotten: tuple[tuple[str, int], ...] = ()
    given_up: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    cool_until: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    watched: Observer | None = None
    watch_at: float = NEVER
    decided: bool = False
    reported: Mapping[str, TaskReport] = field(default_factory=lambda: MappingProxyType({}))
    reported_version: int = -1
    reported_at: float = NEVER
    notes: tuple[TaskReport, ...] = ()
    alerted: frozenset[tuple[str, bool]] = frozenset()
    alarming: Mapping[tuple[str, bool], float] = field(default_factory=lambda: MappingProxyType({}))
    observing: bool = False

    def wanted(self) -> Iterator[str]:
        """Yield the tasks that this node should run, and whose tokens it does not have."""
        return (task for task in self.mine if task not in self.works)

    def running(self) -> bool:
        """Say whether a program of this session may still have a process."""
        return any(work.run is not None for work in self.works.values())

    def runs(self) -> Iterator[TaskHolding]:
        """Yield the tasks whose program may have a process, including detached ones."""
        for work in (*self.works.values(), *self.detached.values()):
            if work.run is not None:
                yield work

    def by_run(self, number: int) -> TaskHolding | None:
        """Return the task whose run has this number."""
        return next((work for work in self.runs() if work.run and work.run.number == number), None)


def hung_at(work: TaskHolding) -> float | None:
    """Return when a program that reports progress counts as hung; None when it never does."""
    if work.run is None or work.run.stopping or not work.definition.progress_s:
        return None
    return work.progressed_at + work.definition.progress_s


def raised(known: Mapping[str, int], seen: Mapping[str, int]) -> Mapping[str, int]:
    """Return the higher of both for each name."""
    return {**known, **{name: max(term, known.get(name, 0)) for name, term in seen.items()}}
