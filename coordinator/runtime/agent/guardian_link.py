"""The agent's end of the line to its guardian: orders out, what happened to the programs in.

Each watches the other. The guardian kills each program at its deadline whatever the agent does;
the agent kills them all when the guardian is gone (closed socket) or frozen (no echo), and each
one for which it is late (the deadline passed without word). What is late, and who is frozen, is
decided by protocol/node/state/guardian_watch.py; here it is done.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from coordinator.errors import CoordError
from coordinator.ports import Clock
from coordinator.protocol.node.events import (
    EVERY_RUN,
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
from coordinator.protocol.node.state.guardian_watch import KILL_AGAIN_S, GuardianWatch
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.state.run import INHERITED
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.agent.left_behind import LeftBehind
from coordinator.runtime.isolation.levels import Handle, kill_all
from coordinator.runtime.linux.channel import Channel

Message = dict[str, object]

#: Messages taken in one turn: heartbeats and deadlines have their turn also when more keep coming.
MESSAGES_PER_TURN = 100


@dataclass(frozen=True, slots=True)
class Orders:
    """How to start a program under one term."""

    argv: tuple[str, ...]
    env: dict[str, str]
    unset: tuple[str, ...]
    cwd: str | None
    keep_fds: tuple[int, ...] = ()
    forward: tuple[int, ...] = ()  #: signals of the node that the program gets, too
    stop_timeout_s: float | None = None  #: from SIGTERM to SIGKILL; None: as the node's timing


class GuardLink:
    """A ProgramPort over the channel to the guardian."""

    def __init__(
        self,
        channel: Channel,
        clock: Clock,
        timing: Timing,
        orders: Callable[[StartProgram, str], Orders],
        on_started: Callable[[StartProgram, int], None],
        *,
        inherited: LeftBehind | None = None,  #: what dead agents left and is not dead yet
        upkeep: Callable[[], None],
        guardian: int | None = None,  #: the process to kill when it is frozen; None: our parent
    ) -> None:
        self._channel, self._clock, self._timing = channel, clock, timing
        self._orders, self._on_started, self._upkeep = orders, on_started, upkeep
        self.on_signal: Callable[[int], None] | None = None
        self.on_lost: Callable[[str], None] | None = None
        now = clock.now()
        self._watch = GuardianWatch(timing=timing, ping_at=now)
        self._ordered: dict[int, StartProgram] = {}
        self._handles: dict[int, Handle] = {}
        self._left_behind = inherited or LeftBehind({}, -1)
        if inherited is not None:
            self._watch = self._watch.after_inheriting(now)
        self._told: tuple[str | None, int] = (None, 0)
        self._guardian = os.getppid() if guardian is None else guardian
        self._silent = False  #: all that it had said was heard
        self._stop_asked = False  #: the machine knows that it is alone
        hello: Message = {"say": "hello", "silence_max_s": timing.liveness_s}
        hello["stop_timeout_s"] = timing.stop_timeout_s
        self._say(hello)

    # --- orders ---------------------------------------------------------------------------------

    def start(self, command: StartProgram, node: Node) -> ProgramRefused | None:
        """Order the start; the guardian looks at the deadline once more right before it.

        Returns why this node does not even try, when there are no orders for the program.
        """
        try:
            orders = self._orders(command, node.session or "")
        except CoordError as error:
            return ProgramRefused(self._clock.now(), command.run, str(error), error.exit_code)
        stop_timeout_s = orders.stop_timeout_s
        if stop_timeout_s is None:
            stop_timeout_s = self._timing.stop_timeout_s
        self._ordered[command.run] = command
        self._watch = self._watch.after_start(
            command.run, command.trusted_until, stop_timeout_s, self._clock.now()
        )
        self._say(
            {
                "say": "start",
                "run": command.run,
                "term": command.term,
                "task": command.task,
                "argv": list(orders.argv),
                "env": orders.env,
                "unset": list(orders.unset),
                "cwd": orders.cwd,
                "keep_fds": list(orders.keep_fds),
                "forward": list(orders.forward),
                "trusted_until": command.trusted_until,
                "start_by": command.start_by,
                "stop_timeout_s": stop_timeout_s,
                "last_stop_s": self._timing.last_stop_s(stop_timeout_s),
            }
        )
        return None

    def extend(self, command: ExtendTrust) -> None:
        """Move the deadline of one run, or of every one that has one still; in one message."""
        until = command.trusted_until
        self._watch = self._watch.after_extension(command.run, until)
        self._say({"say": "extend", "run": command.run, "trusted_until": until})

    def stop(self, command: StopProgram) -> None:
        """Order a graceful end; trust may be extended until it has come (G2)."""
        grace_s = self._watch.stop_timeout_s(command.run)
        self._say({"say": "stop", "run": command.run, "grace_s": grace_s, "reason": command.reason})

    def kill(self, command: KillProgram) -> None:
        """Order the end at once."""
        self._watch = self._watch.after_stopping(command.run)
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
        """Return what the guardian said, a share of it a turn, also when it hears nothing more."""
        events: list[Event] = []
        for _ in range(MESSAGES_PER_TURN):
            received = None if self._silent else self._channel.poll()
            if received is None:
                break
            message, _ = received
            if message is None:
                self._silent = True
                self._watch = self._watch.after_loss("the guardian died")
                break
            if (event := self._understand(message)) is not None:
                events.append(event)
        return events

    def _understand(self, message: Message) -> Event | None:
        now = self._clock.now()
        match message:
            case {"say": "echo"}:
                self._watch = self._watch.after_echo()
            case {"say": "started", "run": int(number), "handle": dict(handle), "pid": int(pid)}:
                if (command := self._ordered.get(number)) is not None:
                    self._handles[number] = handle
                    self._watch = self._watch.after_handle(number)
                    self._on_started(command, pid)
            case {"say": "refused", "run": int(number), "why": str(why), "code": int(code)}:
                self._forget(number)
                return ProgramRefused(now, number, why, code)
            case {"say": "stopping", "run": int(number)}:
                self._watch = self._watch.after_stopping(number)
                return ProgramStopping(now, number)
            case {"say": "ended", "run": int(number), "status": int(status), "why": str(why)}:
                if number != EVERY_RUN:
                    self._forget(number)
                    forced = bool(message.get("forced"))
                    return ProgramEnded(now, number, status, why, forced, _moment(message))
                self._left_behind.clear()
                if INHERITED in self._watch.runs:
                    self._forget(INHERITED)
                    return ProgramEnded(now, INHERITED, status, why, at=_moment(message))
            case {"say": "signal", "signum": int(signum)}:
                return self._signalled(signum, now)
            case {"say": "leave", "why": str(why), "code": int(code)}:
                return StopAsked(now, why, code)
            case _:
                return None
        return None

    def _forget(self, number: int) -> None:
        """Note that nothing of the run is left."""
        self._watch = self._watch.after_end(number)
        self._ordered.pop(number, None)
        self._handles.pop(number, None)

    def _signalled(self, signum: int, now: float) -> Event | None:
        if signum in (signal.SIGTERM, signal.SIGINT):
            return StopAsked(now, signal.Signals(signum).name)
        if signum == signal.SIGUSR1:
            return ResignAsked(now, "SIGUSR1")
        if self.on_signal is not None:
            self.on_signal(signum)
        return None

    # --- watching the guardian ------------------------------------------------------------------

    def tick(self, now: float) -> tuple[float, Iterable[Event]]:
        """Ping, notice a silent guardian, and kill what it is late with."""
        self._watch, due = self._watch.tick(now, self._left_behind.deadlines())
        if self._watch.lost:
            return self._alone(now)
        late = {run: self._handles[run] for run in due.late}
        late |= {run: self._left_behind.handles[run] for run in due.left}
        if late:
            kill_all(late)
        if due.ping:
            self._upkeep()
            self._say({"say": "ping", "n": due.ping})
        return due.wake_at, ()

    def _alone(self, now: float) -> tuple[float, Iterable[Event]]:
        """Kill what is left, and let the machine release and end: nobody guards any more."""
        if self._guardian > 1 and os.getppid() == self._guardian:
            # A frozen guardian that wakes up later must not start or guard anything.
            os.kill(self._guardian, signal.SIGKILL)
            self._guardian = 0
        events: list[Event] = []
        self._silent = True  # what is still to come is about runs that are killed here
        if not self._stop_asked:
            self._stop_asked = True
            if self.on_lost is not None:
                self.on_lost(self._watch.lost)
            events.append(StopAsked(now, self._watch.lost, 1))
        left = kill_all(self._handles | self._left_behind.handles)
        if left & self._left_behind.handles.keys():
            left.add(INHERITED)
        for number in self._watch.runs.keys() - left:
            self._forget(number)
            events.append(ProgramEnded(now, number, -int(signal.SIGKILL), "killed"))
        return now + KILL_AGAIN_S if left else float("inf"), events

    def _say(self, message: Message) -> None:
        if not self._watch.lost and not self._channel.send(message):
            self._watch = self._watch.after_loss("the guardian does not read")


def _moment(message: Message) -> float | None:
    """Return when what a message tells of was: guardian and agent have one clock."""
    at = message.get("at")
    return at if isinstance(at, float) else None
