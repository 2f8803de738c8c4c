"""The agent's watch on its guardian: is it frozen, and is it late with a run (rule G7)?

The agent pings the guardian, which echoes. A guardian whose echo is overdue for too long is frozen.
One that lets a deadline pass without a message is late with that run. Others act on it: the late
run is killed; a lost guardian is killed together with every run.

One value for the agent's whole life; moments are seconds of the agent's clock.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import EVERY_RUN, SessionTold, StartOrdered
from coordinator.protocol.guardian.timing_words import Retimed
from coordinator.protocol.node.events import (
    Event,
    PrepareProgram,
    ProgramEnded,
    ProgramRefused,
    ProgramStopping,
    ProgramWaits,
    ResignAsked,
    StartProgram,
    StopAsked,
)
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.state.run import INHERITED
from coordinator.protocol.rules import backstops
from coordinator.protocol.rules.timing import Timing

#: Seconds between pings while a program runs; longer where PINGS_PER_LIMIT pings within the limit
#: below need fewer. Each ping wakes two processes.
PING_S = 0.1
PINGS_PER_LIMIT = 5
#: While no program runs, the first turn of the loop after this share of the liveness interval
#: pings, usually a heartbeat's; the loop is woken for it alone no sooner than the slack later.
IDLE_PING_SHARE, IDLE_SLACK_SHARE = 1 / 4, 1 / 8
#: A guardian that has not echoed for this share of the lease is frozen; at most ECHO_MAX_S.
ECHO_SHARE = 0.4
ECHO_MAX_S = 1.5
#: The guardian's initial assumption about the agent's session.
NO_SESSION = SessionTold(None, 0)
#: Seconds between two attempts to kill a late run, or one whose guardian is gone.
KILL_AGAIN_S = 0.05


def echo_max_s(timing: Timing) -> float:
    """Return the seconds for which an echo may be overdue."""
    return min(ECHO_MAX_S, ECHO_SHARE * timing.lease_s)


def ping_s(timing: Timing) -> float:
    """Return the seconds from one ping to the next while a program runs."""
    return max(PING_S, echo_max_s(timing) / PINGS_PER_LIMIT)


def gated_order(command: PrepareProgram, timing: Timing, stop_timeout_s: float) -> StartOrdered:
    """Return the order to start a run behind a closed gate; the caller adds the command."""
    return StartOrdered(
        run=command.run,
        term=0,
        trusted_until=math.inf,
        stop_timeout_s=stop_timeout_s,
        last_stop_s=timing.last_stop_s(stop_timeout_s),
        gated=True,
    )


def start_order(command: StartProgram, timing: Timing, stop_timeout_s: float) -> StartOrdered:
    """Return the order to start a run; the caller adds the command."""
    return StartOrdered(
        run=command.run,
        term=command.term,
        trusted_until=command.trusted_until,
        stop_timeout_s=stop_timeout_s,
        task=command.task or command.side,
        start_by=command.start_by,
        last_stop_s=timing.last_stop_s(stop_timeout_s),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedRun:
    """A run that was ordered and has not ended.

    killable: the guardian has sent its handle.
    stopping: it was told to end, and its deadline moves no more.
    """

    trusted_until: float
    stop_timeout_s: float
    killable: bool = False
    stopping: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Actions of the agent that are due now.

    late:    own runs to kill at once.
    left:    runs of dead agents to kill at once, by those agents' numbers.
    ping:    the number of the ping to send; 0: none is due.
    wake_at: moment of the next check, if nothing happens before.
    """

    late: frozenset[int] = frozenset()
    left: frozenset[int] = frozenset()
    ping: int = 0
    wake_at: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardianWatch:
    """State of the guardian and of the ordered runs, as their agent knows it.

    ping_at:          moment of the next ping.
    unanswered_since: sending of the oldest ping without an echo; None: all have one.
    lost:             why the guardian cannot be reached any more.
    told:             the session last sent to the guardian, to be ended should this agent die.
    """

    timing: Timing
    ping_at: float
    runs: Mapping[int, WatchedRun] = field(default_factory=dict)
    pings: int = 0
    unanswered_since: float | None = None
    lost: str = ""
    told: SessionTold = NO_SESSION

    # --- what was ordered -----------------------------------------------------------------------

    def after_start(
        self, number: int, trusted_until: float, stop_timeout_s: float, now: float
    ) -> GuardianWatch:
        """Note that a start was ordered; the guardian is pinged at once."""
        run = WatchedRun(trusted_until=trusted_until, stop_timeout_s=stop_timeout_s)
        return replace(self, runs={**self.runs, number: run}, ping_at=now)

    def after_inheriting(self, now: float) -> GuardianWatch:
        """Note that runs of dead agents still have to die; nothing extends their trust."""
        until, stop_timeout_s = now + self.timing.lease_s, self.timing.stop_timeout_s
        run = WatchedRun(trusted_until=until, stop_timeout_s=stop_timeout_s, stopping=True)
        return replace(self, runs={**self.runs, INHERITED: run})

    def after_opening(self, number: int, trusted_until: float, now: float) -> GuardianWatch:
        """Note that the gate of a run is to be opened, which gives it a deadline."""
        run = self.runs.get(number)
        if run is None:
            return self
        opened = replace(run, trusted_until=trusted_until)
        return replace(self, runs={**self.runs, number: opened}, ping_at=now)

    def after_extension(self, number: int, trusted_until: float) -> GuardianWatch:
        """Move the deadline of one run, or of every run that still has one."""
        runs = dict(self.runs)
        for each in self.runs if number == EVERY_RUN else {number} & self.runs.keys():
            run = runs[each]
            if not run.stopping and run.trusted_until < trusted_until:
                runs[each] = replace(run, trusted_until=trusted_until)
        return replace(self, runs=runs)

    def after_stopping(self, number: int) -> GuardianWatch:
        """Note that a run is told to end: it is not extended any more."""
        return self._with(number, stopping=True)

    def after_step(self, node: Node) -> tuple[GuardianWatch, SessionTold | None]:
        """Return the message about the node's session for the guardian, if that has changed."""
        # The successor of a node that runs its program once must know that it has run.
        over = node.given_up if node.policy.exits_as_program else 0
        now_held = SessionTold(node.session, node.run.term if node.run else over)
        if now_held == self.told:
            return self, None
        return replace(self, told=now_held), now_held

    def after_retiming(self, timing: Timing) -> tuple[GuardianWatch, Retimed | None]:
        """Return the message about the node's lease for the guardian, if that has changed (I6)."""
        if timing == self.timing:
            return self, None
        return replace(self, timing=timing), Retimed(timing.liveness_s, timing.room_s)

    def stop_timeout_s(self, number: int) -> float:
        """Return the seconds that a run gets from SIGTERM to SIGKILL."""
        run = self.runs.get(number)
        return self.timing.stop_timeout_s if run is None else run.stop_timeout_s

    def hear(self, word: wire.ToAgent, now: float) -> tuple[GuardianWatch, Event | None]:
        """Apply a message of the guardian; return the node's event for it, if any."""
        match word:
            case wire.Echoed():
                return self.after_echo(), None
            case wire.Started(number):
                return self.after_handle(number), None
            case wire.Refused(number, why, code):
                return self.after_end(number), ProgramRefused(now, number, why, code)
            case wire.Waiting(number, waiting):
                return self, ProgramWaits(now, number, waiting)
            case wire.Stopping(number):
                return self.after_stopping(number), ProgramStopping(now, number)
            case wire.Ended(number, status, why, at, forced):
                if number == EVERY_RUN:
                    number = INHERITED
                    if number not in self.runs:
                        return self, None
                return self.after_end(number), ProgramEnded(now, number, status, why, forced, at)
            case wire.Signalled(signum):
                return self, _meaning(signum, now)
            case wire.LeaveOrdered(why, code):
                return self, StopAsked(now, why, code)

    # --- messages of the guardian ---------------------------------------------------------------

    def after_echo(self) -> GuardianWatch:
        """Note that the guardian is awake."""
        return replace(self, unanswered_since=None)

    def after_handle(self, number: int) -> GuardianWatch:
        """Note that the guardian has sent the handle of a run."""
        return self._with(number, killable=True)

    def after_end(self, number: int) -> GuardianWatch:
        """Forget a run of which nothing is left."""
        return replace(self, runs={n: run for n, run in self.runs.items() if n != number})

    def after_loss(self, why: str) -> GuardianWatch:
        """Note that the guardian is lost; the first reason counts."""
        return replace(self, lost=self.lost or why)

    def _with(self, number: int, **changes: bool) -> GuardianWatch:
        run = self.runs.get(number)
        if run is None:
            return self
        return replace(self, runs={**self.runs, number: replace(run, **changes)})

    # --- time -----------------------------------------------------------------------------------

    def tick(self, now: float, left: Mapping[int, float]) -> tuple[GuardianWatch, Due]:
        """Return what is due. Once `lost` is set, nothing is: the agent ends all runs by itself.

        left: deadlines of the runs of dead agents, as the guardian shows them.
        """
        watch = self.after_loss("the guardian is frozen") if is_frozen(self, now) else self
        if watch.lost:
            return watch, Due()
        late, late_left = late_runs(watch, now), frozenset(backstops.late(left, now))
        ping = watch.pings + 1 if now >= watch.ping_at else 0
        if ping:
            idle_s = watch.timing.liveness_s * IDLE_PING_SHARE
            watch = replace(
                watch,
                pings=ping,
                ping_at=now + (ping_s(watch.timing) if watch.runs else idle_s),
                unanswered_since=now if watch.unanswered_since is None else watch.unanswered_since,
            )
        return watch, Due(late=late, left=late_left, ping=ping, wake_at=watch._wake_at(now, left))

    def _wake_at(self, now: float, left: Mapping[int, float]) -> float:
        moments = [self.ping_at]
        if not self.runs:
            moments = [self.ping_at + self.timing.liveness_s * IDLE_SLACK_SHARE]
        if self.unanswered_since is not None:
            moments.append(self.unanswered_since + echo_max_s(self.timing))
        if self.runs:
            own = {number: run.trusted_until for number, run in self.runs.items()}
            first = min(backstops.first_late_at(own), backstops.first_late_at(left))
            moments.append(max(first, now + KILL_AGAIN_S))
        return min(moments)


def _meaning(signum: int, now: float) -> Event | None:
    """Return the event that a signal to the node causes; None when it causes none."""
    if signum in (signal.SIGTERM, signal.SIGINT):
        return StopAsked(now, signal.Signals(signum).name)
    return ResignAsked(now, "SIGUSR1") if signum == signal.SIGUSR1 else None


def is_frozen(watch: GuardianWatch, now: float) -> bool:
    """Say whether the guardian's echo is overdue for too long."""
    since = watch.unanswered_since
    return since is not None and now - since > echo_max_s(watch.timing)


def late_runs(watch: GuardianWatch, now: float) -> frozenset[int]:
    """Return the runs that the guardian should have killed, and that can be killed."""
    deadlines = {n: run.trusted_until for n, run in watch.runs.items() if run.killable}
    return frozenset(backstops.late(deadlines, now))
