"""State of the guardian between two events, about its programs and about the node.

NamedTuple for the reason given in events.py. Moments are seconds of one clock that goes on while
the machine is suspended; infinity means never.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from coordinator.protocol.guardian.events import Message

#: Limit of the runs of a guardian. One event costs 0.35 ms with so many, so that a guardian reads a
#: burst of messages faster than its agent would consider it hung. 2,048 processes and 4,096
#: descriptors leave the programs enough of the smallest usual limits of a machine.
RUNS_MAX = 1024

#: launching: forked or about to be, not yet let go. running: let go. stopping: told to end.
#: killing: SIGKILL.
Phase = Literal["launching", "running", "stopping", "killing"]
#: Cause of a run's end; the first cause counts.
Why = Literal["itself", "stopped", "trust", "killed", "agent"]


class Run(NamedTuple):
    """One run of one program."""

    number: int
    trusted_until: float
    stop_timeout_s: float
    phase: Phase = "launching"
    handle: Message | None = None  #: used to kill it from any process; None before ProgramReady
    pid: int = 0
    started: bool = False
    kill_at: float = math.inf  #: in phase stopping: the end of its time to end
    forced: bool = False  #: that time was over, so it was killed
    kills: int = 0  #: SIGKILL rounds so far
    kill_again_at: float = math.inf
    killed_at: float = math.inf  #: moment of the first round
    why: Why = "itself"
    status: int | None = None  #: exit status of the first process
    refusal: tuple[str, int] | None = None  #: the reason why it never ran, and its exit code
    inherited: bool = False  #: it was ordered by an agent that is dead
    start_by: float = math.inf  #: deadline of its start only
    forward: tuple[int, ...] = ()  #: signals of the node that the program gets
    last_stop_s: float | None = None  #: SIGTERM this long before trust ends; None: stop_timeout_s
    gated: bool = False  #: its gate is closed: it waits, and is not trusted
    survivors: frozenset[int] = frozenset()  #: processes that cannot be killed, already reported

    @property
    def let_go_by(self) -> float:
        """Moment after which it must not be let go any more (G3)."""
        return min(self.stop_at, self.start_by)

    @property
    def stop_at(self) -> float:
        """Moment at which SIGTERM is due if trust is not extended."""
        stop_s = self.stop_timeout_s if self.last_stop_s is None else self.last_stop_s
        return self.trusted_until - max(0.0, stop_s)

    @property
    def extends(self) -> bool:
        """True while trust in it may be extended, even after it was told to end by an order.

        False when the end of trust itself stopped it, or a dead agent left it: its holding is over.
        """
        if self.phase == "stopping":
            return self.why in ("stopped", "itself") and not self.inherited
        return self.phase in ("launching", "running")


class Guard(NamedTuple):
    """State of the guardian between two events."""

    runs: tuple[Run, ...] = ()  #: in the order of their starts, each with a number of its own
    agent: bool = False  #: an agent is believed to live
    spare: bool = False  #: a spare is believed to live, or to come
    said_at: float = 0.0  #: moment of the agent's last message
    silence_max_s: float = math.inf
    session: str | None = None
    term: int = 0
    ended_at: float | None = None  #: end of the last run of that session and term
    deaths: tuple[float, ...] = ()  #: moments of agents' deaths within the last minute
    spare_at: float = -math.inf  #: moment of the last start of a spare
    agent_at: float = math.inf  #: without an agent: moment of the next start
    signals: int = 0  #: number of TERM and INT so far
    signum: int = 0  #: the last of them
    leaving: int | None = None  #: the exit code, once the node is to end
    leave_by: float = math.inf  #: moment at which an agent that was to leave is killed
    quit_by: float = math.inf  #: moment at which a spare that was to quit is killed
    quitted: bool = False

    def run(self, number: int) -> Run | None:
        """Return the run of that number, if it has not ended."""
        return next((run for run in self.runs if run.number == number), None)

    def changed(self, run: Run) -> Guard:
        """Return the guard with the run of that number replaced."""
        same = run.number
        return self._replace(runs=tuple(run if old.number == same else old for old in self.runs))

    def without(self, run: Run) -> Guard:
        """Return the guard without the run of that number."""
        return self._replace(runs=tuple(old for old in self.runs if old.number != run.number))
