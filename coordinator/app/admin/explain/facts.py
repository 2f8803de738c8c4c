"""Facts about a group at one moment, as the database has them; ages by the server's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

#: States of a node whose session lives.
LIVE = ("ok", "late")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFact:
    """One node of the group.

    state:    "ok", "late", "dead" (silent for longer than its own interval) or "ended".
    joined_age_s: seconds since its session began: for so long it can have watched at most.
    capacity: number of programs that it may run; None: not known.
    """

    node: str
    state: str
    beat_age_s: float
    heartbeat_s: float
    liveness_s: float
    lease_s: float
    joined_age_s: float
    priority: int
    where: str
    standing: str
    caught_up: bool
    hosts_tasks: bool
    held_count: int
    capacity: int | None = None
    ended_age_s: float | None = None
    end_reason: str = ""
    address: str = ""

    @property
    def live(self) -> bool:
        """True while its session lives, as far as its heartbeats show."""
        return self.state in LIVE

    @property
    def candidate(self) -> bool:
        """True if it lives and may take the token of its group."""
        return self.live and self.priority > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TermFact:
    """One holding of the token.

    how:      "first", "release" or "takeover": how it began.
    end_how:  "release", "takeover" or "session ended"; None: it has not ended.
    gap_s:    seconds without an active node before it; below 0: two were active.
    """

    term: int
    node: str
    how: str
    reason: str
    previous: str | None
    gap_s: float | None
    age_s: float
    end_how: str | None = None
    end_reason: str = ""
    ended_age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFact:
    """The token of the group; of a task group, its observer's.

    holder:  the node that the row names; None: it was never held.
    held:    nobody has given it back. holds: the row names the holder's present session.
    """

    term: int
    holder: str | None
    held: bool
    holds: bool
    acquired_age_s: float | None
    released_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFact:
    """Wait of the group on a branch of the database that is not settled (rule E3).

    left_s: None: the wait begins once a node is live.
    """

    timeline: int
    why: str  #: "failover" or "restart"
    left_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspensionFact:
    """Suspension of the observer by a person."""

    age_s: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFact:
    """Planned change that is open (rules A).

    due_s:   seconds until a switchover is carried out; None: it is due.
    open_s:  seconds for which it has been due.
    until_s: seconds until it ends by itself; None: a person ends it.
    """

    kind: str  #: "switchover", "resign", "pause work", "pause takeovers", "drain" or "priority"
    node: str | None
    age_s: float
    by: str
    reason: str
    due_s: float | None
    until_s: float | None
    open_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFact:
    """Schedule of the group's program, or of a task.

    due_s: seconds until the next run; below 0: overdue. None: not known.
    """

    due_s: float | None
    fired_age_s: float | None
    outcome: str | None
    ended: bool
    end_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """A group at one moment.

    now:      the moment, by the server's clock. server_age_s: seconds since the server's start.
    terms:    the last holdings, newest first; the first is the token's.
    """

    group: str
    now: datetime
    server_age_s: float
    hosts_tasks: bool
    token: TokenFact
    nodes: tuple[NodeFact, ...]
    terms: tuple[TermFact, ...] = ()
    wait: WaitFact | None = None
    suspension: SuspensionFact | None = None
    schedule: ScheduleFact | None = None
    planned: tuple[PlannedFact, ...] = ()

    @property
    def pause(self) -> PlannedFact | None:
        """Pause of the group, if there is one."""
        return next((each for each in self.planned if each.kind.startswith("pause")), None)

    @property
    def draining(self) -> frozenset[str]:
        """Nodes that give up what they hold, and take nothing."""
        return frozenset(each.node or "" for each in self.planned if each.kind == "drain")

    @property
    def holder(self) -> NodeFact | None:
        """Row of the node that the token names, if it is there."""
        return next((node for node in self.nodes if node.node == self.token.holder), None)

    @property
    def active(self) -> NodeFact | None:
        """Node whose live session holds the token; None: nobody is active."""
        holder = self.holder
        held = self.token.held and self.token.holds
        return holder if held and holder is not None and holder.live else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOnNodeFact:
    """One task on one node.

    state: as the node reported it; "NotOnThisNode" where it is not.
    """

    node: str
    state: str
    node_state: str
    standing: str
    failed_count: int
    told_age_s: float | None
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """One task at the same moment.

    state:       "running", "starting", "stuck", "waiting" or "disabled".
    responsible: the node that should run it; None: nobody should, for `why`.
    """

    task: str
    state: str
    node: str | None
    last_node: str | None
    term: int
    since_s: float | None
    responsible: str | None
    why: str
    alert: bool
    preferred: str | None
    pinned: bool
    end_reason: str
    nodes: tuple[TaskOnNodeFact, ...] = ()
    terms: tuple[TermFact, ...] = ()
    schedule: ScheduleFact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Answer to why and what next.

    state:      "active", "leaderless" or "idle"; of a task, its own state.
    sentences:  the first one is the verdict.
    expected_s: seconds after which the next change is expected; None: nobody can tell.
    """

    subject: str
    state: str
    sentences: tuple[str, ...]
    expected_s: float | None = None
