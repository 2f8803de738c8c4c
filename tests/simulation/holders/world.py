"""Processes that hold tokens for their own code, on virtual time: bodies and what they did.

A body is code that checks its token often: it ends at the latest KILL_S after the moment at which
its process could know that the token is over. Some bodies run on; those never act.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from coordinator.errors import CoordError
from coordinator.protocol.holders.events import (
    BodyEnded,
    Event,
    Extend,
    GivenBack,
    Grant,
    Lose,
    Refuse,
    Wish,
    Wished,
)
from coordinator.protocol.holders.machine import patience_s, step, wake_at
from coordinator.protocol.holders.state import first_state
from coordinator.protocol.messages.requests import Answer, Join, NodeFacts, Request
from coordinator.protocol.node.events import Answered, Ask, Failed, Notified, Reconnect, Ticked
from coordinator.protocol.node.state.node import Policy
from coordinator.protocol.rules.timing import KILL_BOUND_S, RATE_ERROR, Timing
from tests.support.fakes.memory_database import MemoryDatabase
from tests.support.fakes.memory_store import MemoryConnection, MemoryStore

GROUP = "orders"
TIMING = Timing(liveness_s=6.0, heartbeat_s=1.0)
KILL_S = KILL_BOUND_S / 2
QUIET_S = 60.0


@dataclass
class Body:
    """Code that a token was handed to; it acts until `acts_until` of its process's clock."""

    grant: Grant
    process: Process
    stubborn: bool
    acts_until: float
    lost: bool = False
    running: bool = True

    def acts(self) -> bool:
        """Tell whether the code may be doing what the token guards, at this true moment."""
        if not self.running or self.process.dead or self.process.frozen:
            return False
        return self.process.now() < self.acts_until + KILL_S


@dataclass
class World:
    """A database, processes and a heap of things to come."""

    seed: int
    database: MemoryDatabase = field(init=False)
    time: float = 0.0
    bodies: list[Body] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  #: empty when all is well
    answers: dict[int, int] = field(default_factory=dict)  #: of each wish
    _heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.database = MemoryDatabase(now=lambda: self.time)
        self.terms: dict[str, int] = {}
        self.bodies_s: tuple[float, ...] = (0.0, 0.3, 2.0, 12.0)
        self.stubborn_share = 0.2
        self.calm = False

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.time + max(0.0, seconds), self._count, do))

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.time, _, do = heapq.heappop(self._heap)
            do()
            self._check()
        self.time = until

    def _check(self) -> None:
        """U1: at no moment do two bodies act on one token."""
        acting: dict[str, Body] = {}
        for body in self.bodies:
            if not body.acts():
                continue
            other = acting.setdefault(body.grant.token, body)
            if other is not body:
                self.faults.append(
                    f"U1: {self.time:.3f}: terms {other.grant.term} and {body.grant.term} of"
                    f" {body.grant.token} act together"
                )

    def granted(self, process: Process, grant: Grant) -> None:
        """Note a grant; terms rise (N), and one body of a process at most has a name (U3)."""
        if grant.term <= self.terms.get(grant.token, 0):
            self.faults.append(f"N: term {grant.term} of {grant.token} after a higher one")
        self.terms[grant.token] = max(grant.term, self.terms.get(grant.token, 0))
        for body in self.bodies:
            mine = body.process is process and body.running
            if mine and body.grant.token == grant.token:
                self.faults.append(f"U3: {grant.token} was granted beside a body that runs")

    def kept(self) -> list[str]:
        """Name the tokens that a living session still holds."""
        tokens = self.database.tokens.items()
        return [name for name, row in tokens if row.session and self._lives(row.node, row.session)]

    def _lives(self, node: str | None, session: str) -> bool:
        return self.database.session_lives(GROUP, node, session)


class Process:
    """One process: its machine, its connection, its clock, and the code that waits."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        rates = (1 - RATE_ERROR, 1.0, 1 + RATE_ERROR)
        self.rate = world.random.choice(rates)
        self.offset = world.random.uniform(0, 1000)
        self.facts = NodeFacts(
            node=name,
            group=GROUP,
            liveness_s=TIMING.liveness_s,
            heartbeat_s=TIMING.heartbeat_s,
            lease_s=TIMING.lease_s,
            priority=0,
            holds=True,
        )
        policy = Policy(node=name, group=GROUP, seed=f"{world.seed}/{name}", priority=0)
        self.holders = first_state(policy, TIMING)
        self.store = MemoryStore(world.database, self.facts)
        self.connection: MemoryConnection | None = None
        self.dead = self.frozen = self.cut = False
        self._held_up: list[Event] = []
        self._asked = 0
        self._wakes = 0
        world.processes.append(self)

    def now(self) -> float:
        return self.offset + self.rate * self.world.time

    def hear(self, make: Callable[[float], Event]) -> None:
        """Take an event now, or when the process goes on."""
        if self.dead:
            return
        if self.frozen:
            self.world.after(0.05, lambda: self.hear(make))
            return
        self._step(make(self.now()))

    def wish(self, number: int, token: str, seconds: float, *, waits: bool = True) -> None:
        self.world.answers[number] = 0
        self.hear(
            lambda now: Wished(
                now, Wish(number=number, token=token, until=now + seconds, waits=waits)
            )
        )

    def end(self, body: Body) -> None:
        if body.running and not self.dead:
            body.running = False
            self.hear(lambda now: BodyEnded(now, body.grant.number))

    def _step(self, event: Event) -> None:
        self.holders, commands = step(self.holders, event)
        for command in commands:
            match command:
                case Ask(request):
                    self._ask(request)
                case Reconnect():
                    self._drop()
                case Grant():
                    self._granted(command)
                case Refuse(number=number):
                    self.world.answers[number] += 1
                case Extend(trusted_until):
                    for body in self._running():
                        if not body.lost and self.now() < body.acts_until:
                            body.acts_until = max(body.acts_until, trusted_until)
                case Lose(number=number):
                    self._lost(number)
                case GivenBack():
                    pass
        self._wakes += 1
        mine = self._wakes
        wake = wake_at(self.holders, event.now)
        if wake != float("inf"):
            self.world.after((wake - self.now()) / self.rate, lambda: self._wake(mine))

    def _wake(self, number: int) -> None:
        if number == self._wakes:
            self.hear(Ticked)

    def _granted(self, grant: Grant) -> None:
        world = self.world
        world.answers[grant.number] += 1
        world.granted(self, grant)
        stubborn = not world.calm and world.random.random() < world.stubborn_share
        body = Body(grant, self, stubborn, grant.trusted_until)
        world.bodies.append(body)
        world.after(world.random.choice(world.bodies_s), lambda: self.end(body))
        self._watch(body)

    def _watch(self, body: Body) -> None:
        """Let a body that checks end soon after its deadline."""
        if not body.running or self.dead or body.stubborn:
            return
        if not self.frozen and (body.lost or self.now() >= body.acts_until):
            self.end(body)
            return
        self.world.after(KILL_S / 2, lambda: self._watch(body))

    def _lost(self, number: int) -> None:
        for body in self._running():
            if body.grant.number == number:
                body.lost = True
                body.acts_until = min(body.acts_until, self.now())

    def _running(self) -> list[Body]:
        return [body for body in self.world.bodies if body.process is self and body.running]

    # --- the database ----------------------------------------------------------------------------

    def _ask(self, request: Request) -> None:
        if isinstance(request, Join):
            self._check_join()
        self._asked += 1
        mine, sent_at, chance = self._asked, self.now(), self.world.random
        patience = patience_s(self.holders, self.now())
        calm = self.world.calm
        lost_there = self.cut or (not calm and chance.random() < 0.03)
        lost_back = not calm and chance.random() < 0.04
        there = chance.choice((0.001, 0.02, 0.3)) if not calm else 0.001
        back = chance.choice((0.001, 0.02, 0.5)) if not calm else 0.001

        def arrive() -> None:
            if self.dead or mine != self._asked:
                return
            try:
                answer = self._connected().ask(request, patience)
            except CoordError as error:
                why = str(error)
                self._drop()
                self.world.after(back, lambda: self._fail(mine, request, why))
                return
            if not lost_back:
                self.world.after(back, lambda: self._answer(mine, request, answer, sent_at))
            self._tell_others()

        if not lost_there:
            self.world.after(there, arrive)
        give_up = lambda: self._fail(mine, request, "no answer in time")  # noqa: E731
        self.world.after(patience / self.rate, give_up)

    def _check_join(self) -> None:
        """U5: a body of a session that is over may be acting for as long as others wait for it."""
        margin_s = TIMING.liveness_s - TIMING.lease_s
        for body in self._running():
            if body.lost and self.now() < body.acts_until + margin_s - KILL_S:
                self.world.faults.append(f"U5: {self.name} joins beside a body that runs")

    def _tell_others(self) -> None:
        for process in self.world.processes:
            if process.connection is not None and process.connection.notified:
                process.connection.notified = False
                self.world.after(0.001, lambda process=process: process.hear(Notified))

    def _answer(self, mine: int, request: Request, answer: Answer, sent_at: float) -> None:
        if mine == self._asked and self.holders.node.pending is request:
            self.hear(lambda now: Answered(now, request, answer, sent_at))

    def _fail(self, mine: int, request: Request, why: str) -> None:
        if mine == self._asked and self.holders.node.pending is request:
            self._drop()
            self._asked += 1
            self.hear(lambda now: Failed(now, request, why))

    def _connected(self) -> MemoryConnection:
        if self.connection is None or not self.connection.open:
            self.connection = self.store.connect(1.0)
        return self.connection

    def _drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
