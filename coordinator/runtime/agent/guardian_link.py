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
from coordinator.protocol.guardian import events as guardian_events
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import (
    ExitOrdered,
    ExtendOrdered,
    Greeted,
    KillOrdered,
    Pinged,
    StopOrdered,
)
from coordinator.protocol.node.events import (
    Event,
    ExtendTrust,
    KillProgram,
    ProgramEnded,
    ProgramRefused,
    StartProgram,
    StopAsked,
    StopProgram,
)
from coordinator.protocol.node.state.guardian_watch import KILL_AGAIN_S, GuardianWatch, start_order
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
        self._guardian = os.getppid() if guardian is None else guardian
        self._silent = False  #: all that it had said was heard
        self._stop_asked = False  #: the machine knows that it is alone
        self._say(Greeted(timing.liveness_s, timing.stop_timeout_s))

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
        order = start_order(command, self._timing, stop_timeout_s)
        self._say(
            order._replace(
                argv=orders.argv,
                env=tuple(orders.env.items()),
                unset=orders.unset,
                cwd=orders.cwd,
                keep_fds=orders.keep_fds,
                forward=tuple(int(signum) for signum in orders.forward),
            )
        )
        return None

    def extend(self, command: ExtendTrust) -> None:
        """Move the deadline of one run, or of every one that has one still; in one message."""
        until = command.trusted_until
        self._watch = self._watch.after_extension(command.run, until)
        self._say(ExtendOrdered(command.run, until))

    def stop(self, command: StopProgram) -> None:
        """Order a graceful end; trust may be extended until it has come (G2)."""
        self._say(StopOrdered(command.run, self._watch.stop_timeout_s(command.run)))

    def kill(self, command: KillProgram) -> None:
        """Order the end at once."""
        self._watch = self._watch.after_stopping(command.run)
        self._say(KillOrdered(command.run))

    def finish(self, code: int) -> None:
        """Say that the agent ends by itself, with the node's exit code."""
        self._say(ExitOrdered(code))

    def changed(self, node: Node) -> None:
        """Let the guardian know which session would have to be ended if this agent died."""
        self._watch, word = self._watch.after_step(node)
        if word is not None:
            self._say(word)

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
        word = wire.for_agent(message)
        if word is None:
            return None
        self._watch, event = self._watch.hear(word, self._clock.now())
        match word:
            case wire.Started(number, pid, handle):
                if (command := self._ordered.get(number)) is not None:
                    self._handles[number] = handle
                    self._on_started(command, pid)
            case wire.Ended(guardian_events.EVERY_RUN):
                self._left_behind.clear()
            case wire.Refused(number) | wire.Ended(number):
                self._forget(number)
            case wire.Signalled(signum) if event is None and self.on_signal is not None:
                self.on_signal(signum)
        return event

    def _forget(self, number: int) -> None:
        """Forget how a run was ordered of which nothing is left, and what would kill it."""
        self._ordered.pop(number, None)
        self._handles.pop(number, None)

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
            self._say(Pinged(due.ping))
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
            self._watch = self._watch.after_end(number)
            self._forget(number)
            events.append(ProgramEnded(now, number, -int(signal.SIGKILL), "killed"))
        return now + KILL_AGAIN_S if left else float("inf"), events

    def _say(self, word: wire.FromAgent) -> None:
        if not self._watch.lost and not self._channel.send(wire.build(word)):
            self._watch = self._watch.after_loss("the guardian does not read")
