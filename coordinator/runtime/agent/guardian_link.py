"""The agent's end of the channel to its guardian: orders out, events of the programs in.

Each watches the other. The guardian kills each program at its deadline, whatever the agent does.
The agent kills them all when the guardian is gone (closed socket) or frozen (no echo), and each one
with which it is late (the deadline passed without a message). protocol/node/state/guardian_watch.py
decides which runs are late and whether the guardian is frozen; this module carries it out.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterable, Mapping
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
from coordinator.protocol.guardian.gate_words import OpenOrdered
from coordinator.protocol.messages.requests import Answer
from coordinator.protocol.node.events import (
    Event,
    ExtendTrust,
    KillProgram,
    OpenGate,
    PrepareProgram,
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
from coordinator.runtime.agent.loads.loader import StateLoader
from coordinator.runtime.agent.loads.starts import LoadedStarts
from coordinator.runtime.agent.node_record import NoRecord, RunRecord
from coordinator.runtime.isolation.levels import Handle, kill_all
from coordinator.runtime.linux.channel import Channel

Message = dict[str, object]

#: Variables of a holding, which a program behind a gate gets when that is opened.
HOLDING_VARIABLES = ("COORD_TERM", "COORD_SESSION")
#: Messages taken in one turn, so that heartbeats and deadlines have their turn in between.
MESSAGES_PER_TURN = 100


@dataclass(frozen=True, slots=True)
class Orders:
    """Command line and environment of a program under one term."""

    argv: tuple[str, ...]
    env: dict[str, str]
    unset: tuple[str, ...]
    cwd: str | None
    keep_fds: tuple[int, ...] = ()
    forward: tuple[int, ...] = ()  #: signals of the node that the program gets, too
    stop_timeout_s: float | None = None  #: from SIGTERM to SIGKILL; None: the node's setting


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
        inherited: LeftBehind | None = None,  #: runs that dead agents left and that may live
        upkeep: Callable[[], None],
        guardian: int | None = None,  #: the process to kill when it is frozen; None: the parent
        loader: StateLoader | None = None,  #: reads the states that programs begin with; None: none
        record: RunRecord | None = None,  #: is told of every run; None: nobody is
    ) -> None:
        self._channel, self._clock, self._timing = channel, clock, timing
        self._orders, self._on_started, self._upkeep = orders, on_started, upkeep
        self.on_signal: Callable[[int], None] | None = None
        self.on_lost: Callable[[str], None] | None = None
        now = clock.now()
        self._watch = GuardianWatch(timing=timing, ping_at=now)
        self._ordered: dict[int, StartProgram | PrepareProgram] = {}
        self._handles: dict[int, Handle] = {}
        self._record = record or NoRecord()
        self._left_behind = inherited or LeftBehind({}, -1)
        self._starts = LoadedStarts(loader, clock, timing, self._order, self._kill_gated)
        if inherited is not None:
            self._watch = self._watch.after_inheriting(now)
        self._guardian = os.getppid() if guardian is None else guardian
        self._silent = False  #: all messages of a closed channel have been read
        self._stop_asked = False  #: the machine has been told that the guardian is lost
        self._say(Greeted(timing.liveness_s, timing.stop_timeout_s))

    def note(self, answer: Answer) -> None:
        """Note which tokens were taken before any state of them was saved (Y4)."""
        self._starts.note(answer)

    # --- orders ---------------------------------------------------------------------------------

    def start(self, command: StartProgram, node: Node) -> ProgramRefused | None:
        """Order the start, once the state of the program's token was read (Y4).

        Returns a refusal when this node cannot determine the program's command.
        """
        return self._starts.begin(command, node)

    def prepare(self, command: PrepareProgram, _node: Node) -> ProgramRefused | None:
        """Order the start behind a closed gate, without term, session and trust (Y5)."""
        return self._starts.prepare(command)

    def open(self, command: OpenGate, node: Node) -> ProgramRefused | None:
        """Order the opening of a gate, once the state of the token was read."""
        return self._starts.open(command, node)

    def _order(
        self,
        command: StartProgram | PrepareProgram | OpenGate,
        session: str,
        more: Mapping[str, str],
    ) -> ProgramRefused | None:
        """Order the start; the guardian checks the deadline once more right before the exec."""
        now = self._clock.now()
        match command:
            case OpenGate(run, term, until):
                self._watch = self._watch.after_opening(run, until, now)
                self._say(OpenOrdered(run, term, session, until))
                return None
            case PrepareProgram(run):
                start = StartProgram(run, 0, math.inf)
            case StartProgram():
                start = command
        gated = start is not command
        try:
            orders = self._orders(start, session)
        except CoordError as error:
            return ProgramRefused(self._clock.now(), command.run, str(error), error.exit_code)
        stop_timeout_s = orders.stop_timeout_s
        if stop_timeout_s is None:
            stop_timeout_s = self._timing.stop_timeout_s
        self._ordered[command.run] = command
        self._record.ordered(command.run)
        self._watch = self._watch.after_start(start.run, start.trusted_until, stop_timeout_s, now)
        order = start_order(start, self._timing, stop_timeout_s)._replace(gated=gated)
        later = HOLDING_VARIABLES if gated else ()  # they come through the gate
        env = {name: text for name, text in (orders.env | dict(more)).items() if name not in later}
        self._say(
            order._replace(
                argv=orders.argv,
                env=tuple(env.items()),
                unset=(*orders.unset, *later),
                cwd=orders.cwd,
                keep_fds=orders.keep_fds,
                forward=tuple(int(signum) for signum in orders.forward),
            )
        )
        return None

    def extend(self, command: ExtendTrust) -> None:
        """Move the deadline of one run, or of every run that still has one, in one message."""
        until = command.trusted_until
        self._starts.extend(command.run, until)
        self._watch = self._watch.after_extension(command.run, until)
        self._say(ExtendOrdered(command.run, until))

    def stop(self, command: StopProgram) -> None:
        """Order a graceful end; trust may be extended until the program has ended (G2)."""
        if self._starts.end(command.run):
            return
        self._say(StopOrdered(command.run, self._watch.stop_timeout_s(command.run)))

    def kill(self, command: KillProgram) -> None:
        """Order the end at once."""
        if self._starts.end(command.run):
            return
        self._watch = self._watch.after_stopping(command.run)
        self._say(KillOrdered(command.run))

    def _kill_gated(self, number: int) -> None:
        """Kill what waits behind a gate that is not to be opened; ignored where nothing does."""
        self._say(KillOrdered(number))

    def finish(self, code: int) -> None:
        """Announce that the agent ends by itself, with the node's exit code."""
        self._say(ExitOrdered(code))

    def changed(self, node: Node) -> None:
        """Send the guardian the lease, and the session to be ended if this agent dies."""
        if node.timing is not self._timing:
            self._timing = node.timing
            self._starts.retime(node.timing)
            self._watch, lease = self._watch.after_retiming(node.timing)
            if lease is not None:
                self._say(lease)
        self._watch, word = self._watch.after_step(node)
        if word is not None:
            self._say(word)

    # --- what happened --------------------------------------------------------------------------

    def fileno(self) -> int | None:
        """Return the socket."""
        return self._channel.fileno()

    def events(self) -> Iterable[Event]:
        """Return events from the guardian's messages, a limited number per turn."""
        events = self._starts.events()
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
                    self._record.started(number, handle)
                    if isinstance(command, StartProgram):
                        self._on_started(command, pid)
            case wire.Ended(guardian_events.EVERY_RUN):
                self._left_behind.clear()
                self._record.inherited_over()
            case wire.Refused(number) | wire.Ended(number):
                self._forget(number)
            case wire.Signalled(signum) if event is None and self.on_signal is not None:
                self.on_signal(signum)
        return event

    def _forget(self, number: int) -> None:
        """Forget the order and the handle of a run of which nothing is left."""
        self._ordered.pop(number, None)
        self._handles.pop(number, None)
        self._record.over(number)
        self._starts.forget(number)

    # --- watching the guardian ------------------------------------------------------------------

    def tick(self, now: float) -> tuple[float, Iterable[Event]]:
        """Ping, detect a frozen guardian, and kill the runs with which it is late."""
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
        """Kill what is left, and let the machine release and end: no guardian is left."""
        if self._guardian > 1 and os.getppid() == self._guardian:
            # A frozen guardian that wakes up later must not start or guard anything.
            os.kill(self._guardian, signal.SIGKILL)
            self._guardian = 0
        events: list[Event] = []
        self._silent = True  # messages still to come concern runs that are killed here
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
