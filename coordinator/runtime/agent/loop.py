"""The loop of one node: it feeds events to the machine and performs its commands.

All decisions are the machine's (coordinator/protocol/node/machine.py). The loop owns only the
wiring: one inbox, one courier for the database, one program port, and the moment of its next
wake-up. It blocks only in its selector.
"""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from coordinator.ports import Clock, Store, StoreConnection
from coordinator.protocol.messages.requests import Answer, Request
from coordinator.protocol.node.events import (
    Answered,
    Ask,
    Command,
    Event,
    ExtendTrust,
    Failed,
    Finish,
    KillProgram,
    LogLine,
    OpenGate,
    PrepareProgram,
    ProgramRefused,
    Reconnect,
    StartProgram,
    StopProgram,
    TellAsker,
    Ticked,
)
from coordinator.protocol.node.machine import step, wake_at
from coordinator.protocol.node.next_request import patience_s
from coordinator.protocol.node.state.node import Node
from coordinator.runtime.agent.courier import Courier, Couriers
from coordinator.runtime.agent.inbox import Inbox

#: Longest sleep of the selector, in seconds, so that a suspend is noticed soon after it.
SLEEP_MAX_S = 1.0
#: Seconds for which the end of a node waits for a courier that hangs in a driver call.
COURIER_END_S = 0.2


class ProgramPort(Protocol):
    """Port that starts, stops and watches the program for the loop."""

    def start(self, command: StartProgram, node: Node) -> ProgramRefused | None:
        """Start the program, whose end comes back as an event; return a refusal if it cannot."""
        ...

    def prepare(self, command: PrepareProgram, node: Node) -> ProgramRefused | None:
        """Start the program behind a closed gate; return a refusal if it cannot."""
        ...

    def open(self, command: OpenGate, node: Node) -> ProgramRefused | None:
        """Open the gate of a prepared program; return a refusal if it cannot."""
        ...

    def extend(self, command: ExtendTrust) -> None:
        """Extend the program's deadline."""
        ...

    def stop(self, command: StopProgram) -> None:
        """Tell the program to end."""
        ...

    def kill(self, command: KillProgram) -> None:
        """Kill everything of the run."""
        ...

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when `events` has something; None for none."""
        ...

    def events(self) -> Iterable[Event]:
        """Return the events of the program, and other messages from its guardian."""
        ...

    def tick(self, now: float) -> tuple[float, Iterable[Event]]:
        """Do what is due; return the next due moment, and events."""
        ...

    def changed(self, node: Node) -> None:
        """Take the node's state after each step."""
        ...


class Source(Protocol):
    """Another source of events for the loop."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when `events` has something."""
        ...

    def events(self) -> Iterable[Event]:
        """Return the events that have come."""
        ...


@dataclass(slots=True)
class Agent:
    """One node's loop; `run` returns when the node is finished.

    sources: further sources of events.
    report: called with each LogLine of the machine, and the node.
    on_answer: called with each answer of the database, before the machine has it.
    on_tell: called with what the asker of a one-off is to be told.
    onlookers: called with the node after every turn (status endpoints, lines of progress).
    """

    node: Node
    store: Store
    program: ProgramPort
    clock: Clock
    report: Callable[[LogLine, Node], None]
    on_answer: Callable[[Answer], None] = lambda _: None
    on_tell: Callable[[TellAsker], None] = lambda _: None
    onlookers: list[Callable[[Node], None]] = field(default_factory=list)
    inbox: Inbox = field(default_factory=Inbox)
    sources: tuple[Source, ...] = ()
    _couriers: Couriers = field(init=False)
    _due_at: float = float("inf")
    _wake_at: float = float("-inf")  #: moment at which the machine has something to do by itself
    _finish: Finish | None = None
    _waiting: deque[Event] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._couriers = Couriers(self._hire)

    def run(self, connection: StoreConnection | None = None) -> Finish:
        """Run until the machine finishes the node."""
        self._couriers.start_with(connection)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.inbox, selectors.EVENT_READ)
                descriptor = self.program.fileno()
                if descriptor is not None:
                    selector.register(descriptor, selectors.EVENT_READ)
                for source in self.sources:
                    selector.register(source, selectors.EVENT_READ)
                while self._finish is None:
                    self._turn(selector)
        finally:
            self._couriers.end(COURIER_END_S)
        return self._finish

    def _hire(self, connection: StoreConnection | None) -> Courier:
        return Courier(self.store, self.clock, self.inbox.put, connection)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        """Handle all events that have come, then sleep until the next moment."""
        self._waiting.extend(self.inbox.take())
        self._waiting.extend(self.program.events())
        for source in self.sources:
            self._waiting.extend(source.events())
        now = self.clock.now()
        program_at, told = self.program.tick(now)
        self._waiting.extend(told)
        self._give_up_late_answer(now)
        self._step_through()
        if self.clock.now() >= self._wake_at:
            self._waiting.append(Ticked(self.clock.now()))
            self._step_through()
        for look in self.onlookers:
            look(self.node)
        if self._finish is not None or self._waiting:
            return
        wake = min(self._wake_at, program_at, self._due_at)
        selector.select(max(0.0, min(SLEEP_MAX_S, wake - self.clock.now())))

    def _step_through(self) -> None:
        """Step through the waiting events; an echo of the guardian alone costs no step."""
        event: Event | None = None
        while self._waiting and self._finish is None:
            event = self._waiting.popleft()
            self._step(event)
        if event is not None:
            # Everything due at the moment of the last step has been decided by it.
            self._wake_at = wake_at(self.node, event.now)

    def _give_up_late_answer(self, now: float) -> None:
        request = self.node.pending
        if request is None or now < self._due_at:
            return
        self._couriers.dismiss()
        self._waiting.append(Failed(now, request, "no answer in time"))

    def _step(self, event: Event) -> None:
        if self._finish is not None:
            return
        if isinstance(event, Answered | Failed) and event.request is self.node.pending:
            self._due_at = float("inf")
        if isinstance(event, Answered):
            self.on_answer(event.answer)
        self.node, commands = step(self.node, event)
        for command in commands:
            self._obey(command)
        self.program.changed(self.node)

    def _obey(self, command: Command) -> None:
        match command:
            case Ask(request):
                self._ask(request)
            case Reconnect():
                self._couriers.dismiss()
            case StartProgram() | PrepareProgram() | OpenGate():
                refused = self._begin(command)
                if refused is not None:
                    self._waiting.append(refused)
            case ExtendTrust():
                self.program.extend(command)
            case StopProgram():
                self.program.stop(command)
            case KillProgram():
                self.program.kill(command)
            case LogLine():
                self.report(command, self.node)
            case TellAsker():
                self.on_tell(command)
            case Finish():
                self._finish = command

    def _begin(self, command: StartProgram | PrepareProgram | OpenGate) -> ProgramRefused | None:
        match command:
            case StartProgram():
                return self.program.start(command, self.node)
            case PrepareProgram():
                return self.program.prepare(command, self.node)
            case OpenGate():
                return self.program.open(command, self.node)

    def _ask(self, request: Request) -> None:
        now = self.clock.now()
        self._due_at = now + patience_s(self.node, now)
        why_not = self._couriers.carry(request, self.node.timing.attempt_s)
        if why_not is not None:
            self._waiting.append(Failed(self.clock.now(), request, why_not))
