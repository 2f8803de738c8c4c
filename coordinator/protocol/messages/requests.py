"""Requests of a node to the database, and the answers: the messages of the store port.

Every request writes in one transaction. Every answer carries a `View`: the database's state in
that transaction or, for a heartbeat, in a later one (rule O6). Sessions are uuids as text. Moments
are never sent, only ages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from coordinator.errors import ConfigError
from coordinator.protocol.messages.group_record import OBSERVER, GroupRecord, token_name
from coordinator.protocol.messages.holder_requests import Exchange, TokenNow
from coordinator.protocol.messages.planned import NOTHING_PLANNED, Planned, PlannedRequest
from coordinator.protocol.messages.task_requests import ReleaseTasks, SessionSeen, TaskRequest

#: Valid names of nodes, groups and tokens, here and in the database's own checks.
NAME = re.compile(r"[A-Za-z0-9_.:@/-]{1,256}")

#: Isolation of a session that holds tokens for code in its own process.
IN_PROCESS = "in-process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The database, and the history of it, that answered.

    started_at: microseconds of the server's clock; tells two runs of a server apart.
    branch:     a uuid, written by the first node that saw this branch. The number of a timeline
                is reused when its branch was thrown away. Empty: not known.
    """

    system_identifier: int
    timeline: int
    started_at: int
    branch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSeen:
    """The token row: session None means released; term 0 means never held."""

    term: int
    node: str | None
    session: str | None
    term_floor: int  #: the highest term that any node remembers


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """One row of health_check as another node sees it."""

    session: str | None
    beat: int
    liveness_s: float  #: the livenessCheckInterval that this node itself wrote
    ended: bool  #: true when ended_at is set, or the row never had a session
    age_s: float  #: of its last heartbeat, server clock; a hint for people and phases only
    heartbeat_s: float = 1.0
    where: str = ""  #: "host:pid", for people
    address: str = ""  #: of a view's holder, for others to reach it; empty: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """State of the database within one transaction.

    A heartbeat that checked the holder's session only brings a new beat and age of it; the rest is
    as shown last, because no change was notified (store/node/heartbeat.py).
    """

    identity: Identity
    settled: bool  #: tokens may be taken and programs started on this identity
    token: TokenSeen
    holder: NodeSeen | None  #: the row of token.node; None when there is no such row
    group_version: int
    longest_liveness_s: float  #: the longest interval in the group; 0.0 when settled (not needed)
    lacks_rows: bool = False  #: the row of token, group or epoch was deleted; it is created again
    waited_s: float = 0.0  #: seconds for which some node has watched this run of the server
    copied: bool = False  #: a standby follows, and the group's terms do not come from the clock yet
    planned: Planned = NOTHING_PLANNED  #: by administrators, and open (rules A)
    operations: bool = False  #: a subtask of an operation of the group is open (rules Q)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """Facts that a node writes about itself when it joins.

    hosts_tasks: the group spreads tasks; its nodes compete for the observer's token.
    capacity:    number of programs that this node may run at the same time; None: not counted.
    holds:       it holds tokens for code in its own process, and competes for none by itself.
    """

    node: str
    group: str
    liveness_s: float
    heartbeat_s: float
    lease_s: float
    priority: int = 1  #: higher takes first; 0 never takes
    host: str = ""
    pid: int = 0
    version: str = ""
    config_hash: str = ""
    isolation: str = ""
    hosts_tasks: bool = False
    capacity: int | None = None
    holds: bool = False
    address: str = ""  #: for others to reach it; empty: the one that the server sees

    @property
    def token(self) -> str:
        """Return the name of the token row that this node competes for."""
        return token_name(self.group, OBSERVER) if self.hosts_tasks else self.group

    def __post_init__(self) -> None:
        for key, name in (("taskId", self.node), ("groupId", self.group)):
            if not NAME.fullmatch(name):
                allowed = "1 to 256 of the characters A-Z a-z 0-9 _ . : @ / -"
                raise ConfigError(f"{key}: {name!r} must be {allowed}")


# --- requests -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Start `session` in the node's row, if the row is free, ended, or still has `previous`.

    over:       reason for the end of `previous`, for the history; empty when it is not known.
    ended_term: the term of the last program of this process that ended; 0: none.
    ended_s:    seconds between that end and the sending of the request, own clock.
    """

    session: str
    previous: str | None
    over: str = ""
    ended_term: int = 0
    ended_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndNamesake:
    """End the silent session that occupies this node's own row, if it still shows `beat`."""

    session: str
    beat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Renew `session`: its node is alive.

    looks: everything is read, whatever rule O6 would allow: a planned change is due now.
    """

    session: str
    looks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Take the token that was seen as (seen_term, seen_session), under `next_term` or higher.

    `seen_beat` is the holder's beat that was watched through a whole interval; None when the
    token was seen free. `branch` is the one that was seen.
    """

    session: str
    seen_term: int
    seen_node: str | None
    seen_session: str | None
    seen_beat: int | None
    next_term: int
    branch: str
    how: str  #: "first" | "release" | "takeover"
    reason: str
    detected_s: float  #: seconds of the taker's watch, own clock; 0.0 for a free token


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Give `term` back after the program has ended.

    ended_s: seconds between that end and the sending, own clock; 0.0: nothing ran.
    """

    session: str
    term: int
    reason: str
    ended_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """End `session` and give back everything that it holds; the program has ended.

    ended_term, ended_s: as in Join.
    """

    session: str
    reason: str
    ended_term: int = 0
    ended_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Mark the current identity as settled for the group.

    The node has waited out every older lease, or knows that the server was restarted in place.
    """

    identity: Identity
    waited_s: float
    continues: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseFloor:
    """Write the highest term that this node remembers to the token row.

    by_clock: from now on terms of the group are not below the server's clock, because a later
              branch, whose terms came from the clock, is gone, or a copy may become one.
    """

    term: int
    by_clock: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRoster:
    """Read which other nodes could take the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TellReady:
    """Write whether the program of this standby waits at its gate, for the others' ranking."""

    session: str
    ready: bool


Request = (
    Join
    | EndNamesake
    | Beat
    | Take
    | Release
    | Leave
    | Settle
    | RaiseFloor
    | ReadRoster
    | PlannedRequest
    | TellReady
    | TaskRequest
    | Exchange
)


def sent_later(request: Request, by_s: float) -> Request:
    """Return a request that is sent later than decided: ends that it reports are longer ago."""
    if isinstance(request, Join | Release | Leave) and request.ended_s:
        return replace(request, ended_s=request.ended_s + by_s)
    if isinstance(request, Exchange):
        gives = (replace(one, ended_s=one.ended_s + by_s) for one in request.gives)
        return replace(request, gives=tuple(gives))
    if isinstance(request, ReleaseTasks):
        given = (
            replace(one, ended_s=one.ended_s + by_s) if one.ended_s else one
            for one in request.given
        )
        return replace(request, given=tuple(given))
    return request


# --- answers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A live node of the group, with what ranks it among those that may take.

    age_s: of its last heartbeat, server clock.
    ready: its program is started and waits at its gate.
    """

    node: str
    priority: int
    age_s: float = 0.0
    heartbeat_s: float = 1.0
    ready: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome of a request whose transaction has certainly ended.

    done:     it happened. A beat that is not done: the session has been ended.
    term:     the term of a Take that was done; else 0.
    beat:     own heartbeat count after a Beat or Join that was done; 0: unknown.
    namesake: for a Join, the node's own row as it was: the occupant, if it was not done;
    refused:  or why this node may not join its group at all.
    roster:   for ReadRoster: live nodes of the group, this one included, unordered.
    group, taken, sessions, tokens: for ReadGroup; TakeTasks, as (task, term); WatchSessions;
              Exchange. stateless: (token, term) of what was taken before a state was saved (Y4).
    """

    done: bool
    view: View
    term: int = 0
    beat: int = 0
    namesake: NodeSeen | None = None
    roster: tuple[Candidate, ...] = ()
    group: GroupRecord | None = None
    taken: tuple[tuple[str, int], ...] = ()
    sessions: tuple[SessionSeen, ...] = ()
    tokens: tuple[TokenNow, ...] = ()
    stateless: tuple[tuple[str, int], ...] = ()
    refused: str = ""
