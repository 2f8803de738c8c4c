"""A group of nodes that run one operation, on virtual time.

Nodes beat, trust, and die as the protocol says; their workers decide by the product's own functions
(protocol/operations). Faults: a machine dies and comes back, stands still, or is cut off.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from coordinator.protocol.messages.requests import Identity
from coordinator.protocol.operations import claims, hung, machine, owners
from coordinator.protocol.operations.claims import Host, Look, OpenSubtask, OwnerSeen
from coordinator.protocol.operations.machine import Operation, Subtask
from coordinator.protocol.operations.types import (
    DONE,
    STOPPED,
    PlannedSubtask,
    SubtaskEnd,
    SubtaskState,
)
from coordinator.protocol.rules.timing import Timing

TIMING = Timing(liveness_s=6.0, heartbeat_s=1.0)
HERE = Identity(system_identifier=1, timeline=1, started_at=1, branch="b")
TYPE = "tally"
KILL_S = 0.2  #: the bound on killing (T1)
FIGURES_S = 60.0  #: the limit that the type declares for figures that stand still


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Functions that a planted bug may replace."""

    claimed: Callable = machine.claimed
    is_claim: Callable = machine.is_claim
    ended: Callable = machine.ended
    given_back: Callable = machine.given_back
    cancelled: Callable = machine.cancelled
    silent: Callable = owners.silent
    missed: Callable = hung.missed
    lives: Callable = hung.lives
    hung: Callable = hung.hung
    kill_after_s: float = KILL_S
    idempotent: bool = True


@dataclass(slots=True, kw_only=True)
class Row:
    """A node's row of health_check."""

    session: str
    beat: int = 0
    ended: bool = False


@dataclass(slots=True, kw_only=True)
class Work:
    """A claim as its worker has it; `life`: of the worker's process."""

    key: str
    term: int
    session: str
    life: int
    effect_at: float


@dataclass(slots=True, kw_only=True)
class Machine:
    """One node: processes that live or not, and what reaches the database."""

    name: str
    alive: bool = True
    frozen: bool = False
    cut: bool = False
    session: str | None = None
    trusted_until: float = float("-inf")
    life: int = 0  #: of the worker; rises with each of its deaths
    work: Work | None = None
    stuck: bool = False  #: its worker hangs, and the rest of it goes on
    loops: bool = False  #: and it hangs in a loop: it reports the same figures all the time
    undying: bool = False  #: and no signal ends it: the kernel does not let go of it
    figures: hung.Figures | None = None
    signs: hung.Signs = field(default_factory=lambda: hung.Signs(0.0))
    watched_claims: hung.Claims = field(default_factory=hung.Claims)
    watched: owners.Owners = field(default_factory=owners.Owners)


class World:
    """The database, the machines, and the history that the checkers read."""

    def __init__(self, seed: int, rules: Rules = Rules(), *, cancel: bool = False) -> None:
        self.random = random.Random(seed)
        self.rules, self.now = rules, 0.0
        self.rows: dict[str, Row] = {}
        self.machines = {f"n{i}": Machine(name=f"n{i}") for i in range(self.random.randint(2, 5))}
        self.operation = Operation(subtasks={"": Subtask(entity="", plan=True)})
        self.count = self.random.randint(1, 12)
        self.sessions, self.order = itertools.count(1), itertools.count()
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.effects: list[tuple[str, int]] = []
        self.claims: list[tuple[float, str, int]] = []
        self.overlaps: list[tuple[float, str]] = []
        self.hangs: list[tuple[float, str, bool]] = []
        self.cancelled_at: float | None = None
        for node in self.machines.values():
            self.at(self.random.random(), lambda node=node: self.beat(node))
            self.at(self.random.random(), lambda node=node: self.look(node))
        for _ in range(self.random.randint(0, 6)):
            self.at(self.random.uniform(0.0, 60.0), self.fault)
        if cancel:
            self.at(self.random.uniform(0.5, 40.0), self.cancel)

    def at(self, moment: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (moment, next(self.order), what))

    def run(self, until: float = 400.0) -> None:
        while self.queue and self.operation.state in machine.UNFINISHED:
            self.now, _, what = heapq.heappop(self.queue)
            if self.now > until:
                return
            what()

    # --- nodes ------------------------------------------------------------------------------------

    def beat(self, node: Machine) -> None:
        self.at(self.now + TIMING.heartbeat_s, lambda: self.beat(node))
        if not node.alive or node.frozen:
            return
        self.expire(node)
        self.watch(node)
        if node.cut:
            return
        row = self.rows.get(node.name)
        if node.session is None:
            if node.work is None:  # Q2: it joins when nothing of its worker is left
                self.join(node, row)
        elif row is None or row.session != node.session or row.ended:
            self.lose(node)
        else:
            row.beat += 1
            node.trusted_until = self.now + TIMING.lease_s
            self.at(node.trusted_until, lambda: self.expire(node))

    def watch(self, node: Machine) -> None:
        """The node's watch of its own worker (J1), and the worker's signs (J2)."""
        if not node.stuck:
            node.figures = None
        node.figures = hung.noted(node.figures, (0,), self.now)
        loops = node.loops and self.rules.lives(node.figures, FIGURES_S, self.now)
        if not node.stuck or loops:
            node.signs = hung.Signs(self.now)
        life = node.life
        node.signs, hangs = self.rules.missed(node.signs, self.now)
        if hangs:
            node.signs = hung.Signs(self.now)
            self.hangs.append((self.now, node.name, node.stuck))
            self.at(self.now + KILL_S, lambda: self.kill(node, life))

    def join(self, node: Machine, row: Row | None) -> None:
        node.session = f"{node.name}/{next(self.sessions)}"
        self.rows[node.name] = Row(session=node.session, beat=0 if row is None else row.beat)
        node.trusted_until = self.now + TIMING.lease_s
        self.at(node.trusted_until, lambda: self.expire(node))

    def expire(self, node: Machine) -> None:
        """The guardian's deadline; a machine that stands still has no guardian either."""
        if node.session is not None and not node.frozen and self.now >= node.trusted_until:
            self.lose(node)

    def lose(self, node: Machine) -> None:
        node.session = None
        life = node.life
        self.at(self.now + self.rules.kill_after_s, lambda: self.kill(node, life))

    def kill(self, node: Machine, life: int) -> None:
        if node.life == life and not (node.undying and node.alive):
            node.life += 1
            node.work, node.stuck, node.loops, node.undying = None, False, False, False
            node.signs = hung.Signs(self.now)

    # --- faults -----------------------------------------------------------------------------------

    def fault(self) -> None:
        node = self.random.choice(list(self.machines.values()))
        back = self.now + self.random.uniform(0.2, 20.0)
        match fault := self.random.choice(("die", "freeze", "cut", "worker", "stuck", "loop")):
            case "die":
                node.alive, node.session = False, None
                self.kill(node, node.life)
                self.at(back, lambda: setattr(node, "alive", True))
            case "freeze":
                node.frozen = True
                self.at(back, lambda: self.thaw(node))
            case "cut":
                node.cut = True
                self.at(back, lambda: setattr(node, "cut", False))
            case "worker":
                self.kill(node, node.life)
            case "stuck" | "loop":
                node.stuck, node.loops = True, fault == "loop"
                node.undying = fault == "stuck" and node.name == "n1"  # others must end it all
                if not node.undying and self.random.random() < 0.5:  # else until its node kills it
                    self.at(self.now + self.random.uniform(0.2, 90.0), lambda: self.wake(node))

    def wake(self, node: Machine) -> None:
        """A worker that hung writes on, and then hears that its claim is another's."""
        if node.stuck and node.work is not None and not node.frozen:
            work, node.stuck = node.work, False
            self.effect(node, work)
            if self.operation.subtasks[work.key].term != work.term:
                self.kill(node, node.life)
            else:
                self.end(node, work)
        node.stuck, node.loops, node.undying = False, False, False

    def thaw(self, node: Machine) -> None:
        """The worker may run before the guardian has killed it: its writes meet the fence."""
        node.frozen = False
        if node.work is not None and self.now >= node.work.effect_at:
            self.effect(node, node.work)
        self.expire(node)

    def cancel(self) -> None:
        self.cancelled_at = self.now
        self.operation = self.rules.cancelled(self.operation)

    # --- workers ----------------------------------------------------------------------------------

    def look(self, node: Machine) -> None:
        self.at(self.now + 0.5, lambda: self.look(node))
        if not node.alive or node.frozen or node.cut or node.session is None:
            return
        seen = self.seen()
        node.watched = owners.observed(node.watched, seen, self.now)
        for owner in self.rules.silent(node.watched, seen, node.name, self.now):
            row = self.rows[owner.node]
            if row.session == owner.session and row.beat == owner.beat:
                row.ended = True
        if node.stuck:
            return
        if node.work is None:
            node.watched_claims = hung.observed(node.watched_claims, seen, {}, self.now)
            for each in self.rules.hung(node.watched_claims, seen, {}, node.name, self.now):
                if self.reports_of(each.subtask) == each.reports:
                    self.operation = machine.given_back_hung(
                        self.operation, each.subtask.id, each.subtask.version
                    )
        if node.work is None:
            self.operation = self.rules.given_back(
                self.operation, lambda each: self.over(each, node)
            )
            self.claim(node, self.seen())

    def over(self, subtask: Subtask, node: Machine) -> bool:
        """Q3: the session is over, or it is this node's own, whose worker is idle."""
        row = self.rows[str(subtask.owner)]
        return row.session != subtask.session or row.ended or subtask.session == node.session

    def claim(self, node: Machine, seen: Look) -> None:
        chosen = claims.choose(node.name, {TYPE}, seen.open, seen.hosts)
        row = self.rows[node.name]
        if chosen is None or row.ended or row.session != node.session:
            return
        assert node.session is not None
        pause_s, life = self.random.uniform(0.0, 0.3), node.life

        def take() -> None:
            if node.life != life or node.session != session or node.frozen or node.cut or row.ended:
                return
            self.operation, term = self.rules.claimed(
                self.operation, chosen.id, chosen.version, node.name, session
            )
            if term is not None:
                self.begin(node, chosen.id, term, session)

        session = node.session
        self.at(self.now + pause_s, take)  # others look meanwhile

    def begin(self, node: Machine, key: str, term: int, session: str) -> None:
        if node.work is not None:
            return
        self.claims.append((self.now, key, term))
        if any(
            other.work is not None and other.work.key == key and not (other.frozen or other.stuck)
            for other in self.machines.values()
        ):
            self.overlaps.append((self.now, key))
        effect_at = self.now + self.random.choice((0.1, 1.0, 9.0))
        work = Work(key=key, term=term, session=session, life=node.life, effect_at=effect_at)
        node.work = work
        self.at(effect_at, lambda: self.effect(node, work))
        self.at(effect_at + 0.1, lambda: self.end(node, work))

    def effect(self, node: Machine, work: Work) -> None:
        if node.work is not work or node.frozen or node.cut or node.stuck or not work.key:
            return
        known = any(key == work.key for key, _ in self.effects) and self.rules.idempotent
        if self.rules.is_claim(self.operation, work.key, work.term, work.session) and not known:
            self.effects.append((work.key, work.term))

    def end(self, node: Machine, work: Work) -> None:
        if node.work is not work:
            return
        if node.stuck:
            return  # until it wakes
        if node.frozen or node.cut:
            self.at(self.now + 0.3, lambda: self.end(node, work))  # asked until it is answered
            return
        end: SubtaskEnd = DONE
        if work.key and not any(key == work.key for key, _ in self.effects):
            if self.operation.state is not machine.OperationState.CANCELLING:
                self.effect(node, work)
            end = DONE if any(key == work.key for key, _ in self.effects) else STOPPED
        planned = [PlannedSubtask(entity=str(n)) for n in range(self.count)] if not work.key else ()
        self.operation, _ = self.rules.ended(
            self.operation, work.key, work.term, work.session, end, planned
        )
        node.work = None

    def reports_of(self, subtask: Subtask | OpenSubtask) -> int:
        """Return the reports of a claim's worker, which come with the time while it runs."""
        owner = self.machines.get(str(subtask.owner))
        if owner is None or (owner.stuck and not owner.loops) or owner.frozen or owner.cut:
            return -1
        return int(self.now * 2)

    def seen(self) -> Look:
        running = {
            each.owner
            for each in self.operation.subtasks.values()
            if each.state is SubtaskState.RUNNING
        }
        begins = self.operation.state in machine.BEGINS
        return Look(
            identity=HERE,
            any_open=True,
            open=tuple(
                OpenSubtask(
                    id=key,
                    operation="o",
                    type=TYPE,
                    plan=each.plan,
                    entity=each.entity,
                    state=each.state,
                    version=each.version,
                    node=each.node,
                    owner=each.owner,
                    session=each.session,
                    reports=self.reports_of(each),
                )
                for key, each in self.operation.subtasks.items()
                if each.state is SubtaskState.RUNNING
                or (each.state is SubtaskState.PENDING and begins)
            ),
            hosts=tuple(
                Host(node=name, types=frozenset({TYPE}))
                for name, row in self.rows.items()
                if not row.ended
            ),
            owners=tuple(
                OwnerSeen(
                    node=name,
                    session=row.session,
                    beat=row.beat,
                    liveness_s=TIMING.liveness_s,
                    ended=row.ended,
                )
                for name, row in self.rows.items()
                if name in running
            ),
            watches=True,
        )
