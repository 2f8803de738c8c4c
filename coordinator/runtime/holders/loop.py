"""The loop of a process that holds tokens for its own code: events in, commands performed.

All decisions are those of coordinator/protocol/holders/machine.py. The loop has one inbox, one
courier for the database, and the holdings that it has handed out. It blocks only in its selector.
"""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from coordinator.ports import Clock, Store, StoreConnection
from coordinator.protocol.holders.events import (
    BodyEnded,
    Command,
    Event,
    Extend,
    GivenBack,
    Grant,
    Lose,
    Refuse,
)
from coordinator.protocol.holders.machine import patience_s, step, wake_at
from coordinator.protocol.holders.state import Holders
from coordinator.protocol.messages.requests import Request
from coordinator.protocol.node.events import (
    Answered,
    Ask,
    Failed,
    Finish,
    LogLine,
    Reconnect,
    Ticked,
)
from coordinator.protocol.node.events import Command as NodeCommand
from coordinator.protocol.rules.trust import expired
from coordinator.runtime.agent.courier import Courier, Couriers
from coordinator.runtime.agent.inbox import Inbox
from coordinator.runtime.holders.holding import Holding

#: Longest sleep of the selector, in seconds, so that a suspend is noticed soon after it.
SLEEP_MAX_S = 1.0
#: Seconds for which the end of the loop waits for a courier that hangs in a driver call.
COURIER_END_S = 0.2
NOT_ACKNOWLEDGED = "no heartbeat was acknowledged in time"


class Waiter(Protocol):
    """Code that waits for a token, and then for its release; called in the loop's thread."""

    def granted(self, holding: Holding) -> bool:
        """Take the holding; False when nobody waits any more."""
        ...

    def refused(self, refusal: Refuse) -> None:
        """Take the reason why there is no token."""
        ...

    def given_back(self) -> None:
        """Hear that the token is held no more."""
        ...

    def abandoned(self) -> bool:
        """Say whether nobody can leave the body any more."""
        ...


@dataclass(slots=True)
class Loop:
    """One process's loop; `run` returns when the session has been left, or given up.

    waiters: by number; whoever posts a wish has put its waiter here before.
    """

    holders: Holders
    store: Store
    clock: Clock
    report: Callable[[LogLine], None]
    inbox: Inbox
    waiters: dict[int, Waiter]
    gives_up: bool = False  #: end at once, without a leave: bodies go on for too long
    _couriers: Couriers = field(init=False)
    _holdings: dict[int, Holding] = field(default_factory=dict)
    _waiting: deque[Event] = field(default_factory=deque)
    _due_at: float = float("inf")
    _finish: Finish | None = None

    def __post_init__(self) -> None:
        self._couriers = Couriers(self._hire)

    def run(self, connection: StoreConnection | None) -> Finish:
        """Run until the session is left."""
        self._couriers.start_with(connection)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.inbox, selectors.EVENT_READ)
                while self._finish is None and not self.gives_up:
                    self._turn(selector)
        finally:
            self._couriers.end(COURIER_END_S)
            for holding in self._holdings.values():
                holding.lost("the coordinator was closed")
        return self._finish or Finish(0, "the coordinator was closed")

    def _hire(self, connection: StoreConnection | None) -> Courier:
        return Courier(self.store, self.clock, self.inbox.put, connection)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        """Handle all events that have come, then sleep until the next moment."""
        self._waiting.extend(self.inbox.take())
        now = self.clock.now()
        self._give_up_late_answer(now)
        if not self._waiting:
            self._waiting.append(Ticked(now))
        self._end_abandoned(now)
        while self._waiting and self._finish is None:
            self._step(self._waiting.popleft())
        deadline = self._note_expired(now)
        if self._finish is not None or self.gives_up:
            return
        wake = min(wake_at(self.holders, now), self._due_at, deadline)
        selector.select(max(0.0, min(SLEEP_MAX_S, wake - self.clock.now())))

    def _end_abandoned(self, now: float) -> None:
        """End each holding whose event loop was closed before it had passed the grant on."""
        for number in self._holdings:
            if self.waiters[number].abandoned():
                self._waiting.append(BodyEnded(now, number))

    def _give_up_late_answer(self, now: float) -> None:
        request = self.holders.node.pending
        if request is not None and now >= self._due_at:
            self._couriers.dismiss()
            self._waiting.append(Failed(now, request, "no answer in time"))

    def _step(self, event: Event) -> None:
        pending = self.holders.node.pending
        if isinstance(event, Answered | Failed) and event.request is pending:
            self._due_at = float("inf")
        self.holders, commands = step(self.holders, event)
        for command in commands:
            self._obey(command)

    def _obey(self, command: Command | NodeCommand) -> None:
        match command:
            case Ask(request):
                self._ask(request)
            case Reconnect():
                self._couriers.dismiss()
            case Grant():
                self._grant(command)
            case Refuse(number=number):
                self.waiters.pop(number).refused(command)
            case Extend(trusted_until):
                for holding in self._holdings.values():
                    holding.extended(trusted_until)
            case Lose(number, reason):
                self._holdings[number].lost(reason)
            case GivenBack(number):
                self._holdings.pop(number, None)
                self.waiters.pop(number).given_back()
            case LogLine():
                self.report(command)
            case Finish():
                self._finish = command
            case _:
                return  # of a program: the bodies of this process stand in for one

    def _ask(self, request: Request) -> None:
        now = self.clock.now()
        self._due_at = now + patience_s(self.holders, now)
        why_not = self._couriers.carry(request, self.holders.node.timing.attempt_s)
        if why_not is not None:
            self._waiting.append(Failed(self.clock.now(), request, why_not))

    def _grant(self, grant: Grant) -> None:
        holding = Holding(
            self.clock,
            group=grant.token,
            node=self.holders.node.policy.node,
            term=grant.term,
            session=grant.session,
            run=grant.number,
            trusted_until=grant.trusted_until,
        )
        self._holdings[grant.number] = holding
        if not self.waiters[grant.number].granted(holding):
            self._waiting.append(BodyEnded(self.clock.now(), grant.number))

    def _note_expired(self, now: float) -> float:
        """Tell holdings whose own deadline has passed; return the next deadline."""
        next_at = float("inf")
        for holding in tuple(self._holdings.values()):
            if expired(holding.trusted_until, now):
                holding.lost(NOT_ACKNOWLEDGED)
            else:
                next_at = min(next_at, holding.trusted_until)
        return next_at
