"""Requests of a node that runs tasks, in addition to those of every node.

Each is one transaction, answered by an `Answer` with the View of that transaction. Task names are
without their group. A request with `session` has no effect unless that session of the requesting
node is alive.
"""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.protocol.messages.group_record import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadGroup:
    """Read the group's whole record in one snapshot: `Answer.group`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedTask:
    """A task's token that was seen free under `seen_term`; it is to get next_term or higher."""

    task: str
    seen_term: int
    next_term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeTasks:
    """Take those of the tokens that are free and still under the term that was seen.

    Granted only to a live Member, while the group's version is `version` (on which the node
    decided), on the branch of the database that was seen, and only when settled. `Answer.taken`
    lists the tokens taken; the rest may be tried again after another read.
    """

    session: str
    version: int
    branch: str
    wanted: tuple[WantedTask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenTask:
    """A task's token that is given back after its program has ended.

    failed: its program failed here again and again: other nodes go first from now on.
    done:   the task has nothing left to do: it is disabled.
    ended_s: seconds between the program's end and the sending, own clock; 0.0: nothing ran.
    """

    task: str
    term: int
    reason: str
    failed: bool = False
    done: bool = False
    ended_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTasks:
    """Give tokens back, and notify the group."""

    session: str
    given: tuple[GivenTask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseTaskFloors:
    """Write the highest terms that this node remembers to the token rows: (task, term)."""

    floors: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSessions:
    """Read every session of the group that has not ended: `Answer.sessions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSeen:
    """One live session as the observer sees it; age_s by the server's clock, for people.

    standing_version: the version of the record at which its standing was last changed.
    """

    node: str
    session: str
    beat: int
    liveness_s: float
    heartbeat_s: float
    standing: Standing
    caught_up: bool
    age_s: float
    standing_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSession:
    """End the session of a node that still shows `beat`; a Member goes to Rehab."""

    node: str
    session: str
    beat: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeStanding:
    """Change a node's standing, if it is still `before` in `session`."""

    node: str
    session: str
    before: Standing
    after: Standing
    reason: str


Decision = EndSession | ChangeStanding


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """Carry out the observer's decisions, all in one transaction, and raise the version.

    Done only while `session` holds the observer's token under `term`, and the group's version is
    `version`. A decision whose own condition no longer holds is left out.
    """

    session: str
    term: int
    version: int
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSpread:
    """Record that the tasks are spread over all Members, and raise the version.

    Done only while `session` holds the observer's token under `term`, and the group's version is
    `version`.
    """

    session: str
    term: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """Report of a node about one task, for people: state is a fixed word.

    state: "running" | "stopping" | "backing off" | "apart" | "idle" (no longer on this node);
           empty for a note about a task of another node.
    error: the last error; empty when there is none.
    note:  when not empty, an event of this kind is written too, with `error` as its reason.
    """

    task: str
    state: str
    term: int
    error: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTasks:
    """Write this node's reports about its tasks, and the version on which it has acted."""

    session: str
    version: int
    told: tuple[TaskReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """Mark a node's session as caught up: it acts on the group's record as of `version`.

    Done by its mentor, a live Member; by the node itself only while the group has no live Member.
    No effect when the pupil's session has changed, or has not seen that version.
    """

    session: str
    version: int
    pupil: str
    pupil_session: str


TaskRequest = (
    ReadGroup
    | TakeTasks
    | ReleaseTasks
    | RaiseTaskFloors
    | WatchSessions
    | Decide
    | EndSpread
    | ReportTasks
    | CatchUp
)
