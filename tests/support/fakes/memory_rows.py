"""The rows of MemoryDatabase: frozen, so that snapshots share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from coordinator.protocol.messages.group_record import Standing, TaskDef, TasksPolicy
from coordinator.protocol.messages.planned import PlannedKind, PlannedOutcome
from coordinator.protocol.messages.requests import NodeFacts, TokenSeen
from coordinator.protocol.messages.task_requests import Decision, TaskReport


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One row of health_check; `facts` is None before the first join."""

    facts: NodeFacts | None
    session: str | None
    beat: int
    beat_at: float
    ended: bool
    end_reason: str
    where: str
    standing: Standing = Standing.MEMBER
    caught_up: bool = False
    seen_version: int = -1
    standing_version: int = 0
    ready: bool = False

    @property
    def address(self) -> str:
        """Return what the node says; nobody sees it at another."""
        return "" if self.facts is None else self.facts.address


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One row of token_history."""

    term: int
    node: str
    session: str
    how: str
    reason: str
    from_node: str | None
    ended: bool = False
    end_how: str = ""
    end_reason: str = ""


@dataclass(frozen=True, slots=True)
class BaseRow:
    """The columns of token_holder that tell who held a task's token at a version."""

    taken: int | None = None
    version: int | None = None
    node: str | None = None
    base_taken: int | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One row of task; a deleted one stays, for its revision."""

    definition: TaskDef
    deleted: bool = False
    end_reason: str = ""


@dataclass(frozen=True, slots=True)
class TaskNodeRow:
    """One row of task_node: what became of a task on one node."""

    failed_count: int = 0
    told: TaskReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One row of observer_decision."""

    group: str
    version: int
    observer: str
    term: int
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRow:
    """One row of planned_change; moments by the memory's clock."""

    id: int
    group: str
    kind: PlannedKind
    node: str | None = None
    value: int | None = None
    who: str = ""
    reason: str = ""
    due_at: float | None = None
    until_at: float | None = None
    outcome: PlannedOutcome | None = None
    outcome_reason: str = ""
    agreed: bool = False  #: of a setting: every live node has told that it has it


#: System identifier, timeline, start of the server.
EpochKey = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One row of database_epoch: a run of a server."""

    branch: str
    first_branch: bool = False
    settled: bool = False
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SettledRow:
    """Settling of a group, as its record has it."""

    branch: str = ""
    started_at: int = 0
    by_clock: bool = False


NEVER_SETTLED = SettledRow()
NEVER_JOINED = NodeRow(None, None, 0, 0.0, False, "", "")
NEVER_HELD = TokenSeen(term=0, node=None, session=None, term_floor=0)
NEVER_TOLD = TaskNodeRow()
NO_BASE = BaseRow()


class StateRow(NamedTuple):
    """One state that a holder of a token saved."""

    sequence: int
    term: int
    session: str
    content: bytes


class Snapshot(NamedTuple):
    """Everything that a commit makes durable."""

    nodes: dict[tuple[str, str], NodeRow]
    tokens: dict[str, TokenSeen]
    versions: dict[str, int]
    epochs: dict[EpochKey, EpochRow]
    settled: dict[str, SettledRow]
    history: dict[tuple[str, int], HistoryRow]
    tasks: dict[tuple[str, str], TaskRow]
    task_nodes: dict[tuple[str, str, str], TaskNodeRow]
    suspended: dict[str, bool]
    decisions: tuple[DecisionRow, ...]
    bases: dict[str, BaseRow]
    spreads: dict[str, int]
    policies: dict[str, TasksPolicy]
    made_anew: dict[str, float]
    states: dict[str, tuple[StateRow, ...]]
    planned: dict[int, PlannedRow]
