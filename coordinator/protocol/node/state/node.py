"""The state of one node, and the values derived from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum

from coordinator.protocol.group.observer import ObserverPolicy, agreed
from coordinator.protocol.messages.requests import Identity, NodeSeen, Request, View
from coordinator.protocol.node.state.planned import PlannedState
from coordinator.protocol.node.state.prepared import Preparation
from coordinator.protocol.node.state.run import INHERITED, Run
from coordinator.protocol.node.state.side_runs import (
    Change,
    HookPolicy,
    HungPolicy,
    ProgramWatch,
    SideRun,
    awaited,
)
from coordinator.protocol.node.state.tasks import TaskState
from coordinator.protocol.node.state.worker import WorkerState
from coordinator.protocol.rules.epoch import Beside, Epoch, may_act
from coordinator.protocol.rules.planned import drain_of, work_paused
from coordinator.protocol.rules.restarts import Restarts
from coordinator.protocol.rules.timing import Timing
from coordinator.protocol.rules.trust import expired, fresh
from coordinator.protocol.rules.watch import Watch

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Held:
    """A kind of request that failed, and how often since it was last answered.

    until: own clock: before it, no request of this kind is sent.
    """

    kind: type[Request]
    failures: int
    until: float


class OnExit(StrEnum):
    """Action after a program's own end."""

    RESTART = "restart"
    RELEASE = "release"
    STOP = "stop"
    RETIRE = "retire"  #: give the token up, and never take it again in this life


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Configured role of a node."""

    node: str
    group: str
    seed: str  #: random, fresh for each process: session names come from it
    priority: int = 1  #: 0: watch only, never take
    on_exit: OnExit = OnExit.RESTART
    on_status: tuple[tuple[int, OnExit], ...] = ()  #: exit codes with another action
    nonblock: bool = False  #: leave with conflict_code when another node holds the token
    outwaits_silent: bool = False  #: with nonblock: wait out a holder that looks dead
    wait_until: float | None = None  #: leave with conflict_code when not active by then
    conflict_code: int = 75
    hung: HungPolicy = field(default_factory=HungPolicy)  #: of the group's own program
    hooks: HookPolicy = field(default_factory=HookPolicy)
    prepares: bool = False  #: a standby starts the program behind a gate
    once: bool = False  #: losing the token ends the node with code 76
    exits_as_program: bool = False  #: told to leave, the node ends with its program's exit code
    operates: bool = False  #: it offers types of operations, so it runs a worker
    #: For a node whose group spreads tasks; None: one program. The group's record has precedence.
    observer_policy: ObserverPolicy | None = None


#: Exit code of a node that was to run the program once and lost the token meanwhile.
LOST_CODE = 76


@dataclass(frozen=True, slots=True)
class Leaving:
    """The pending end of a node."""

    reason: str
    code: int
    trouble: str = ""
    give_up_at: float | None = None  #: leave at this moment even without an answer


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """The term of a program, and the moment (own clock) at which nothing of it was left."""

    term: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Everything a node knows; replaced, never changed.

    session:      this life of the node in the database; None while it has none.
    previous:     the last session of this same process, which may be replaced at once.
    unheard_since: own clock: since then no heartbeat of `previous` was acknowledged, if that
                  ended it.
    ended:        the last end of the group's own program that was not reported to the database.
    bury:         a session left behind by a dead agent, to be ended before anything else.
    trusted_until: own clock; after it the session is over, whatever any answer shows.
    view:         the last answer's view; None after any failure, so that nothing stale decides.
    free_since:   own clock: since then the views show the token free.
    pending:      the request that is under way; there is never more than one.
    given_up:     the highest term that this node has released or lost.
    given_up_why: the reason for that, as the history has it.
    remembered:   the highest term that this node has seen.
    floor_at:     own clock: before it, the floor of terms is not raised again.
    held:         the kinds of requests that failed since they were last answered (rule O7).
    refused_takes: attempts in a row to take the same token, all refused.
    reported_why, reported_why_at: reasons of failures reported since that moment.
    idle_breaks:  connections in a row that broke while idle, after one heartbeat at most.
    beats:        own heartbeats that this run of the server has acknowledged; 0: none yet.
    refused:      the primary whose answers are dropped, because a promotion left it behind.
    beside:       an earlier primary that also takes writes.
    program_watch: signs of life of the program's last run; None: it never ran.
    side_runs:    health checks, hooks and one-offs that have not ended.
    prepared:     the term for which the hook beforeStart has succeeded since the last start.
    told:         the last change that the hook onChange was started for.
    hung_term:    the last term whose program hung.
    planned:      what was read and done about planned changes.
    task_state:       None while the group has one program; `run` is that program's.
    """

    policy: Policy
    timing: Timing
    session: str | None = None
    session_count: int = 0
    unheard_since: float | None = None
    ended: ProgramEnd | None = None
    joining: str | None = None
    previous: str | None = None
    bury: str | None = None
    trusted_until: float = NEVER
    epoch: Epoch | None = None
    view: View | None = None
    watch: Watch | None = None
    free_since: float | None = None
    namesake: NodeSeen | None = None
    namesake_watch: Watch | None = None
    namesake_moves: int = 0
    pending: Request | None = None
    beat_at: float = NEVER
    beat_count: int = 0
    retry_at: float = NEVER
    failures: int = 0
    held: tuple[Held, ...] = ()
    refused_takes: int = 0
    idle_breaks: int = 0
    reported_why: frozenset[str] = frozenset()
    reported_why_at: float = float("-inf")
    beats_since_break: int = 0
    run: Run | None = None
    run_count: int = 0
    program_watch: ProgramWatch | None = None
    side_runs: tuple[SideRun, ...] = ()
    prepared: int = 0
    told: Change | None = None
    preparation: Preparation = field(default_factory=Preparation)
    ready_rival: bool = False  #: another standby is ready, by the roster
    hung_term: int = 0
    restarts: Restarts = field(default_factory=Restarts)
    given_up: int = 0
    given_up_why: str = ""
    remembered: int = 0
    floor_at: float = NEVER
    beats: int = 0
    refused: Identity | None = None
    beside: Beside | None = None
    place: int = 0
    roster_version: int = -1
    roster_at: float = NEVER
    cool_until: float = NEVER
    leaving: Leaving | None = None
    finished: bool = False
    standing: str = ""  #: the last role that was reported
    planned: PlannedState = field(default_factory=PlannedState)
    task_state: TaskState | None = None  #: its work for the tasks of its group
    worker: WorkerState = field(default_factory=WorkerState)


def succeeding(node: Node, session: str | None, term: int, now: float, *, dying: bool) -> Node:
    """Return the first state of a node whose agent follows a dead one (rule G5).

    session, term: those of the dead agent; the session is ended before anything else.
    dying:         programs of it may still live, and nothing is ended before they are gone.
    """
    run = Run(INHERITED, term, now, "the agent died") if dying else None
    leaving = None
    if node.policy.exits_as_program and term:
        leaving = Leaving(
            "lost", LOST_CODE, "the agent died under the token; it is not taken again"
        )
    return replace(node, bury=session, run=run, given_up=term, remembered=term, leaving=leaving)


def session_name(policy: Policy, count: int) -> str:
    """Return the uuid of the count-th session of this process."""
    digest = hashlib.blake2b(f"{policy.seed}/{count}".encode(), digest_size=16).hexdigest()
    parts = (digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:])
    return "-".join(parts)


def end_own_session(node: Node) -> Node:
    """Forget the node's session, which is over, and the trust that it had given."""
    return replace(node, previous=node.session, session=None, trusted_until=NEVER)


def give_up(node: Node, term: int, cool_until: float | None = None, *, why: str = "") -> Node:
    """Have the term released.

    cool_until: own clock; the token is left to other nodes until then. None: as it was.
    why: the reason, for the history; the first one of a term counts.
    """
    if term > node.given_up:
        node = replace(node, given_up=term, given_up_why="")
    cool_until = node.cool_until if cool_until is None else cool_until
    return replace(node, given_up_why=node.given_up_why or why, cool_until=cool_until)


def program_left(node: Node) -> bool:
    """Say whether a program of this session may still have a process.

    A detached program belongs to no session.
    """
    return (
        own_program_left(node)
        or node.worker.run is not None
        or (node.task_state is not None and node.task_state.running())
    )


def own_program_left(node: Node) -> bool:
    """Say whether the group's own program, or a side run under its token, may have a process."""
    return node.run is not None or any(side.under_token for side in node.side_runs)


def clearing_up(node: Node) -> bool:
    """Say whether something of the program or around it is left that a release waits for."""
    return node.run is not None or awaited(node.side_runs)


def work_left(node: Node) -> bool:
    """Say whether a node that leaves has to wait for a program, or for what clears up after it."""
    return program_left(node) or clearing_up(node)


def holds(node: Node) -> bool:
    """Say whether the last view names this node's live session as the token's."""
    return (
        node.view is not None
        and node.session is not None
        and node.view.token.session == node.session
    )


def held_by_other(node: Node) -> bool:
    """Say whether the last view shows the token with a session that has not ended."""
    return node.view is not None and not is_free(node.view) and not holds(node)


def is_free(view: View) -> bool:
    """Say whether the token was released, never held, or its holder's session was ended.

    A holder without a row has not ended: its row was deleted (rule R5).
    """
    holder = view.holder
    return view.token.session is None or (
        holder is not None and (holder.ended or holder.session != view.token.session)
    )


def observer_policy_of(node: Node) -> ObserverPolicy | None:
    """Return the times by which this node observes: the group's, where the record sets them."""
    own, task_state = node.policy.observer_policy, node.task_state
    if own is None or task_state is None or task_state.record is None:
        return own
    return agreed(own, task_state.record.policy)


def active(node: Node, now: float) -> bool:
    """Say whether this node may act as the holder at this moment, by comparing clocks."""
    return (
        node.run is not None
        and not node.run.stopping
        and node.session is not None
        and not expired(node.trusted_until, now)
    )


def may_start(node: Node, now: float) -> bool:
    """Say whether the program may be started now (docs/protocol.md, rule S1)."""
    if node.view is None or node.run is not None or node.leaving is not None:
        return False
    if node.task_state is not None or awaited(node.side_runs, node.view.token.term):
        return False  # the observer's token runs no program
    planned = node.view.planned
    if work_paused(planned) is not None or drain_of(planned, node.policy.node) is not None:
        return False
    timing = node.timing
    return (
        holds(node)
        and node.view.token.term > node.given_up
        and may_act(node.view)
        and node.restarts.start_at
        <= now
        < node.trusted_until - timing.last_stop_s(timing.stop_timeout_s)
        and fresh(node.trusted_until, now, timing.lease_s, timing.heartbeat_s)
    )
