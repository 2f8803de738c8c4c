"""Record of a group, as every node reads it: tasks, nodes, tokens, and their version.

The record is the same for every node that reads the same version. The node responsible for a task
follows from it alone (placement.py). The token row decides which node may act.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from coordinator.protocol.messages.planned import NOTHING_PLANNED, Planned

#: Name, after `group/`, of the token of the node that watches all sessions of a group.
OBSERVER = "_observer"
#: Task names must not begin with this: such tokens are coord's own.
RESERVED_PREFIX = "_"


class Standing(StrEnum):
    """Standing of a node in its group.

    `Candidate` is not listed: a node calls itself so while it has no session.
    """

    PROMOTABLE = "promotable"  #: new: not yet a Member
    MEMBER = "member"  #: may run tasks
    REHAB = "rehab"  #: was a Member, failed, and has to catch up


class OnPartition(StrEnum):
    """Behaviour of a running task when its node has lost the database and trust runs out."""

    STOP = "stop"
    CONTINUE = "continue"  #: for repeatable work: go on, and report it later


class OnDone(StrEnum):
    """Action after the end of a task's program."""

    RESTART = "restart"
    RELEASE = "release"
    FINISH = "finish"  #: status 0: the task is done and disabled; otherwise it is restarted


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDef:
    """A task as the group's record defines it.

    revision:   rises with each change of the definition; a program of an older one is restarted.
    nodes:      the nodes that may run it; empty: every node of the group.
    preferred:  goes first while it is a live Member; with `pinned` no other node ever runs it.
    failover:   false: it waits for the return of the node that held it last.
    failback:   false: it stays where it is when a node returns that would go first.
    progress_s: a program that reports no progress for this long has hung; 0.0: it never reports.
    stop_timeout_s: seconds between SIGTERM and SIGKILL; 0.0: the node's own setting.
    spec:       what to run, canonical JSON, read by the runtime only.
    """

    name: str
    revision: int = 1
    enabled: bool = True
    nodes: tuple[str, ...] = ()
    preferred: str | None = None
    pinned: bool = False
    failover: bool = True
    failback: bool = True
    on_partition: OnPartition = OnPartition.STOP
    on_done: OnDone = OnDone.RESTART
    progress_s: float = 0.0
    stop_timeout_s: float = 0.0
    spec: str = "{}"

    @property
    def scheduled(self) -> bool:
        """True when its program is a schedule of coord, whose exit status says how it ended."""
        spec = json.loads(self.spec)
        return isinstance(spec, dict) and "trigger" in spec


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A node as the group's record shows it.

    live:     it has a session that has not been ended.
    priority: 0: it only watches, and never runs a task.
    caught_up: its mentor has confirmed that its current session has what a Member needs.
    seen_version: the last version that its current session has acted on; -1: none yet.
    hosts_tasks: it was started to run tasks of the group.
    capacity: number of programs that it may run at the same time; None: not known.
    """

    node: str
    standing: Standing
    live: bool
    session: str | None = None
    priority: int = 1
    caught_up: bool = True
    seen_version: int = -1
    hosts_tasks: bool = True
    capacity: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskToken:
    """The token row of a task.

    node:    the holder, or the last one; None: it was never held.
    session: the holder's session; None: released.
    free:    released, never held, or its holder's session was ended.
    floor:   the highest term that any node remembers.
    base_node: the holder, or the last one, when this version of the record was made.
    base_taken: the version on which that holding was decided; None: it was free at that moment.
    """

    term: int = 0
    node: str | None = None
    session: str | None = None
    free: bool = True
    floor: int = 0
    base_node: str | None = None
    base_taken: int | None = None

    @property
    def base_holder(self) -> str | None:
        """Node that held it when this version of the record was made; None: it was free."""
        return None if self.base_taken is None else self.base_node


NEVER_HELD = TaskToken()


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksPolicy:
    """Times by which the group's observer decides, as in the record; fields of ObserverPolicy.

    None: the record sets none, and each node uses its own configuration file.
    """

    to_member_s: float | None = None
    late_max: int | None = None
    late_within_s: float | None = None
    grace_s: float | None = None


NO_POLICY = TasksPolicy()
#: Keys of these fields in Config.toml.
POLICY_KEYS = {
    "to_member_s": "toMember",
    "late_max": "lateMax",
    "late_within_s": "lateWithin",
    "grace_s": "observerGrace",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord:
    """The group at one version, read in one snapshot.

    tasks, nodes: by name.
    tokens:    of tasks, by the task's name; a missing task was never held.
    failures:  (task, node) to the number of times that the node gave the task up because its
               program failed again and again; cleared when the task's definition changes, or when
               the node joins again.
    suspended: the observer decides nothing.
    spread_version: the version at which a node last became a Member, until the tasks are spread
               evenly over all Members; 0: they are spread, and running tasks stay where they are.
    policy:    the times by which the observer, whichever node it is, decides about nodes.
    planned:   the open planned changes; none that counts later only.
    """

    version: int
    tasks: Mapping[str, TaskDef] = field(default_factory=lambda: MappingProxyType({}))
    nodes: Mapping[str, NodeRecord] = field(default_factory=lambda: MappingProxyType({}))
    tokens: Mapping[str, TaskToken] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    suspended: bool = False
    spread_version: int = 0
    policy: TasksPolicy = NO_POLICY
    planned: Planned = NOTHING_PLANNED

    def token(self, task: str) -> TaskToken:
        """Return the task's token row."""
        return self.tokens.get(task, NEVER_HELD)


def token_name(group: str, task: str) -> str:
    """Return the name of a task's token row."""
    return f"{group}/{task}"
