"""The agent's end of the line to its guardian: orders out, what happened to the program in.

Each watches the other. The guardian kills the program at the deadline whatever the agent does;
the agent kills it when the guardian is gone (closed socket), frozen (no echo), or late (the
deadline passed without word). Two belts, in two processes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from coordinator.ports import Clock
from coordinator.protocol.events import (
    Event,
    ExtendTrust,
    KillProgram,
    ProgramEnded,
    ProgramRefused,
    ProgramStopping,
    ResignAsked,
    StartProgram,
    StopAsked,
    StopProgram,
)
from coordinator.protocol.node import Node
from coordinator.protocol.timing import Timing
from coordinator.runtime.channel import Channel
from coordinator.runtime.isolation import kill_everything

Message = dict[str, object]

#: While a program runs, the guardian is pinged this often.
PING_S = 0.1
#: A guardian that has not echoed for this share of the lease is frozen; at most ECHO_MAX_S.
ECHO_SHARE = 0.4
ECHO_MAX_S = 1.5
#: The guardian kills at the deadline; the agent does it this much later when it hears nothing.
SECOND_BELT_S = 0.05
#: The number of the run that a dead agent left behind, whatever that agent called it.
INHERITED = -1
#: Between two tries to kill what is left of a program whose guardian is gone.
KILL_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class Orders:
    """How to start the program under one term."""

    argv: tuple[str, ...]
    env: dict[str, str]
    unset: tuple[str, ...]
    cwd: str | None
    keep_fds: tuple[int, ...] = ()


@dataclass(slots=True)
class _Started:
    """The run that was ordered last and has not ended."""

    number: int
    term: int
    trusted_until: float
    handle: Message | None = None


class GuardLink:
    """A ProgramPort over the channel to the guardian."""

    def __init__(
        self,
        channel: Channel,
        clock: Clock,
        timing: Timing,
        orders: Callable[[int, str], Orders],
        on_started: Callable[[int, int], None],
        *,
        inherited: bool = False,
        upkeep: Callable[[], None],
    ) -> None:
        self._channel, self._clock, self._timing = channel, clock, timing
        self._orders, self._on_started, self._upkeep = orders, on_started, upkeep
        self.on_signal: Callable[[int], None] | None = None
        now = clock.now()
        self._run = _Started(INHERITED, 0, now + timing.lease_s) if inherited else None
        self._told: tuple[str | None, int] = (None, 0)
        self._pings = 0
        self._ping_at = clock.now()
        self._unanswered_since: float | None = None
        self._guardian = os.getppid()
        self._lost = ""
        self._say(
            {
                "say": "hello",
                "silence_max_s": timing.liveness_s,
                "stop_timeout_s": timing.stop_timeout_s,
            }
        )

    # --- orders ---------------------------------------------------------------------------------

    def start(self, command: StartProgram, node: Node) -> None:
        """Order the start; the guardian looks at the deadline once more right before it."""
        orders = self._orders(command.term, node.session or "")
        self._run = _Started(command.run, command.term, command.trusted_until)
        self._ping_at = self._clock.now()
        self._say(
            {
                "say": "start",
                "run": command.run,
                "term": command.term,
                "argv": list(orders.argv),
                "env": orders.env,
                "unset": list(orders.unset),
                "cwd": orders.cwd,
                "keep_fds": list(orders.keep_fds),
                "trusted_until": command.trusted_until,
                "stop_timeout_s": self._timing.stop_timeout_s,
            }
        )

    def extend(self, command: ExtendTrust) -> None:
        """Move the deadline."""
        if self._run is not None and self._run.number == command.run:
            self._run.trusted_until = command.trusted_until
        until = command.trusted_until
        self._say({"say": "extend", "run": command.run, "trusted_until": until})

    def stop(self, command: StopProgram) -> None:
        """Order a graceful end."""
        grace_s = self._timing.stop_timeout_s
        self._say({"say": "stop", "run": command.run, "grace_s": grace_s, "reason": command.reason})

    def kill(self, command: KillProgram) -> None:
        """Order the end at once."""
        self._say({"say": "kill", "run": command.run})

    def finish(self, code: int) -> None:
        """Say that the agent ends by itself, with the node's exit code."""
        self._say({"say": "exit", "code": code})

    def changed(self, node: Node) -> None:
        """Let the guardian know which session would have to be ended if this agent died."""
        term = node.run.term if node.run else 0
        if (node.session, term) != self._told:
            self._told = (node.session, term)
            self._say({"say": "session", "session": node.session, "term": term})

    # --- what happened --------------------------------------------------------------------------

    def fileno(self) -> int | None:
        """Return the socket."""
        return self._channel.fileno()

    def events(self) -> Iterable[Event]:
        """Return what the guardian said."""
        events: list[Event] = []
        while not self._lost:
            received = self._channel.poll()
            if received is None:
                break
            message, _ = received
            if message is None:
                self._lost = "the guardian died"
                break
            event = self._understand(message)
            if event is not None:
                events.append(event)
        return events

    def _understand(self, message: Message) -> Event | None:
        now = self._clock.now()
        match message:
            case {"say": "echo"}:
                self._unanswered_since = None
            case {"say": "started", "run": int(number), "handle": dict(handle), "pid": int(pid)}:
                if self._run is not None and self._run.number == number:
                    self._run.handle = handle
                    self._on_started(self._run.term, pid)
            case {"say": "refused", "run": int(number), "why": str(why), "code": int(code)}:
                return ProgramRefused(now, self._over(number), why, code)
            case {"say": "stopping", "run": int(number)}:
                return ProgramStopping(now, number)
            case {"say": "ended", "run": int(number), "status": int(status), "why": str(why)}:
                return ProgramEnded(now, self._over(number), status, why)
            case {"say": "signal", "signum": int(signum)}:
                return self._signalled(signum, now)
            case _:
                return None
        return None

    def _over(self, number: int) -> int:
        """Forget the run, and return its number as this agent knows it."""
        run, self._run = self._run, None
        return INHERITED if run is not None and run.number == INHERITED else number

    def _signalled(self, signum: int, now: float) -> Event | None:
        match signum:
            case signal.SIGTERM | signal.SIGINT:
                return StopAsked(now, signal.Signals(signum).name)
            case signal.SIGUSR1:
                return ResignAsked(now, "SIGUSR1")
            case _:
                pass
        if self.on_signal is not None:
            self.on_signal(signum)
        return None

    # --- watching the guardian ------------------------------------------------------------------

    def tick(self, now: float) -> tuple[float, Iterable[Event]]:
        """Ping, notice a silent guardian, and be the second belt at the deadline."""
        if self._lost:
            return self._alone(now)
        limit_s = min(ECHO_MAX_S, ECHO_SHARE * self._timing.lease_s)
        if self._unanswered_since is not None and now - self._unanswered_since > limit_s:
            self._lost = "the guardian is frozen"
            return self._alone(now)
        run = self._run
        if run is not None and run.handle is not None:
            belt_at = run.trusted_until + SECOND_BELT_S
            if now >= belt_at:
                kill_everything(run.handle)
        if now >= self._ping_at:
            self._ping(now)
        moments = [self._ping_at]
        if self._unanswered_since is not None:
            moments.append(self._unanswered_since + limit_s)
        if run is not None:
            moments.append(max(run.trusted_until + SECOND_BELT_S, now + KILL_AGAIN_S))
        return min(moments), ()

    def _ping(self, now: float) -> None:
        self._upkeep()
        self._pings += 1
        idle_s = self._timing.liveness_s / 4
        self._ping_at = now + (PING_S if self._run is not None else idle_s)
        if self._unanswered_since is None:
            self._unanswered_since = now
        self._say({"say": "ping", "n": self._pings})

    def _alone(self, now: float) -> tuple[float, Iterable[Event]]:
        """Kill what is left, and let the machine release and end: nobody guards any more."""
        if self._guardian > 1 and os.getppid() == self._guardian:
            # A frozen guardian that wakes up later must not start or guard anything.
            os.kill(self._guardian, signal.SIGKILL)
            self._guardian = 0
        stop = StopAsked(now, self._lost, 1)
        run = self._run
        if run is None:
            return float("inf"), (stop,)
        if run.handle is not None and not kill_everything(run.handle):
            return now + KILL_AGAIN_S, (stop,)
        self._run = None
        return now + KILL_AGAIN_S, (stop, ProgramEnded(now, run.number, -9, "killed"))

    def _say(self, message: Message) -> None:
        if not self._lost and not self._channel.send(message):
            self._lost = "the guardian does not read"
