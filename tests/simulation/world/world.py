"""A whole group on virtual time: one event queue, one seed, no wall clock.

    settings.draw(seed)    what the nodes and their network are like
    stories.plan(settings) what will go wrong, and when
    World(...).run()       a History for the checkers

Everything in between is the real code: protocol.machine in each agent, protocol.guard in each
guardian, and the memory store that passes the same conformance suite as PostgreSQL's.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from coordinator.protocol.group.placement import assignment
from coordinator.protocol.messages.group_record import NO_POLICY, OBSERVER, OnPartition, token_name
from coordinator.protocol.messages.requests import Answer, Request
from coordinator.protocol.node.side_runs.hung import SECOND_LOOK_S
from coordinator.protocol.node.state.last_seen import LOOK_EVERY, LastSeen
from coordinator.protocol.rules.timing import RATE_ERROR
from tests.simulation.group import faults as group_faults
from tests.simulation.planned import administrators, witness
from tests.simulation.world.history import History, Outcome
from tests.simulation.world.host import Host
from tests.simulation.world.line import Line
from tests.simulation.world.processes import Call
from tests.simulation.world.server import Server
from tests.simulation.world.settings import GROUP, WorldSettings
from tests.support.fakes import memory_operator, memory_tasks
from tests.support.fakes.memory_store import MemoryDatabase

#: One way to the database when nothing is wrong.
GOOD_WAY_S = 0.003
#: A question that was stuck somewhere is carried out at the latest after this.
STALL_MAX_S = 9.0
#: So many events mean that something goes round in circles without virtual time passing.
EVENTS_MAX = 60_000
#: The same in a group whose nodes run many programs.
GROUP_EVENTS_MAX = 400_000


class World:
    """Hosts, a server and everything that is still to come, on true time."""

    def __init__(
        self, settings: WorldSettings, database: type[MemoryDatabase] = MemoryDatabase
    ) -> None:
        self.settings = settings
        self.rng = random.Random(f"run/{settings.seed}")
        self.state_rng = random.Random(
            f"states/{settings.seed}"
        )  # the other draws stay as they are
        self.now = 0.0
        self.keys = 0
        self.history = History(seed=settings.seed)
        intervals = {node.timing.liveness_s for node in settings.nodes}
        names = frozenset(node.name for node in settings.nodes)
        must_know = names if len(intervals) > 1 else frozenset()
        base = database(now=lambda: self.now, copied=settings.copied)
        self.server = Server(self.history, base, settings.pooled, must_know)
        self.hosts = [Host(self, node) for node in settings.nodes]
        self.calm_at = settings.faults_until_s
        self.slow_until = 0.0
        self.slow_s = 0.0
        #: This node is spared until the token row knows every granted term again (faults.py).
        self.keeper: Host | None = None
        self.spared_until = 0.0  #: no node forgets what it has seen before that
        #: By the name of a request: what is to happen when the next one of it arrives.
        self.losing: dict[str, Callable[[], None]] = {}
        #: By the name of a request: how late the next one of it arrives.
        self.stalling: dict[str, float] = {}
        self._queue: list[tuple[float, int, Call, tuple[Any, ...]]] = []
        self._count = 0

    def at(self, moment: float, call: Call, *args: Any) -> None:
        """Call at a moment of true time; calls of one moment keep their order."""
        self._count += 1
        heapq.heappush(self._queue, (moment, self._count, call, args))

    def run(self) -> History:
        """Let everything happen."""
        settings, history = self.settings, self.history
        history.calm_from = self.calm_at
        history.calm_within_s = calm_within_s(settings)
        history.found_within_s = found_within_s(settings)
        lasts_s = history.calm_within_s + 1.5 if settings.to_calm else 0.5
        history.ended_at = self.calm_at + lasts_s
        if settings.observer_policy is not None:
            group_faults.begin(self)
            self.note_repeatable()
        for host in self.hosts:
            joins_at = host.settings.joins_at
            self.at(self.rng.random() if joins_at is None else joins_at, host.start)
        self.at(self.calm_at, self._heal)
        queue, pop = self._queue, heapq.heappop
        for _ in range(EVENTS_MAX if settings.observer_policy is None else GROUP_EVENTS_MAX):
            if not queue or queue[0][0] > history.ended_at:
                break
            self.now, _, call, args = pop(queue)
            call(*args)
        else:
            raise AssertionError(f"seed {settings.seed}: time stands still at {self.now}")
        self.now = history.ended_at
        if settings.asked and settings.to_calm:
            history.witnessed += witness.left_open(self.server.database)
        if settings.observer_policy is not None and settings.to_calm:
            history.outcome = self._outcome()
        return history

    def _heal(self) -> None:
        """End every fault that still goes on."""
        server = self.server
        if not server.up:
            server.up = True
        for host in self.hosts:
            host.cut = ""
            host.away_until = 0.0
            host.thaw_now()
            host.thaw_processes()
            host.start()
        if self.settings.observer_policy is not None:
            memory_operator.suspend(server.database, GROUP, suspended=False)
            memory_operator.set_policy(server.database, GROUP, NO_POLICY)
            self.push_all()
        if self.settings.asked:
            # After a failover that ends at the same moment: it may bring an ended pause back.
            self.at(self.now + GOOD_WAY_S, administrators.calm, self)
        self.history.note(self.now, "healed")

    def _outcome(self) -> Outcome:
        """Return what the group looks like now."""
        record = memory_tasks.record(self.server.database, GROUP)
        verdicts = assignment(GROUP, record)
        running: dict[str, list[str]] = {}
        acted: dict[str, int] = {}
        for host in self.hosts:
            task_state = None if host.agent is None else host.agent.node.task_state
            for program in host.programs.alive.values():
                apart = task_state is not None and program.task in task_state.detached
                verdict = verdicts.get(program.task)
                if apart and verdict is not None and verdict.node is None:
                    continue  # while nobody may have it, it may go on without its token (D8)
                running.setdefault(program.task, []).append(host.name)
            read = None if task_state is None else task_state.record
            acted[host.name] = -1 if read is None else read.version
        wanted = {task: verdict.node for task, verdict in verdicts.items()}
        return Outcome(version=record.version, wanted=wanted, running=running, acted=acted)

    def note_repeatable(self) -> None:
        """Note which tasks may, or once might, go on without the database."""
        tasks = self.server.database.tasks.items()
        more = {
            task for (_, task), row in tasks if row.definition.on_partition is OnPartition.CONTINUE
        }
        self.history.repeatable |= more

    # --- the way to the database ----------------------------------------------------------------

    def way_s(self, host: Host, way: str) -> float | None:
        """Return how long a question or an answer travels; None: it never arrives."""
        rng = self.rng
        if self.now >= self.calm_at or host is self.keeper:
            return GOOD_WAY_S * rng.random()
        net = self.settings.net
        if host.cut and (way == "answer" or host.cut == "both"):
            # What was sent into the dark may come out of it when the light is back.
            if way == "question" and rng.random() < 0.25:
                return max(0.0, host.cut_until - self.now) + rng.random()
            return None
        if net.lost and rng.random() < net.lost:
            return None
        if net.stalled and way == "question" and rng.random() < net.stalled:
            return min(rng.uniform(0.3, STALL_MAX_S), self.calm_at - self.now)
        if way == "answer" and self.now < host.late_until:
            return host.settings.timing.attempt_s * rng.uniform(0.3, 0.95)
        slow_s = self.slow_s if self.now < self.slow_until else net.slow_s
        return slow_s * rng.choice((0.5, 1.0, 1.0, 2.0, 6.0)) * rng.random()

    def state_way_s(self, host: Host) -> float | None:
        """Return how long the reading of a state travels one way; None: it never arrives."""
        rng, net = self.state_rng, self.settings.net
        if self.now >= self.calm_at:
            return GOOD_WAY_S * rng.random()
        if host.cut or rng.random() < net.lost:
            return None
        return (1.5 if rng.random() < net.stalled else net.slow_s) * 2 * rng.random()

    def carry_out(self, host: Host, life: int, request: Request) -> Answer | None:
        """Let the server carry a statement out; a change of the token is pushed to the others."""
        about_to_lose = self.losing.pop(type(request).__name__, None)
        if about_to_lose is not None and self.server.up:
            about_to_lose()
        notices = self.server.database.notices
        answer = self.server.carry_out(self.now, host.facts, life, request)
        done = answer is not None and answer.done
        self.history.note(self.now, host.name, type(request).__name__, done)
        self.history.asked.append((self.now, host.name))
        if self.keeper is not None and self.server.floor_is_kept():
            self.keeper = None
        if self.server.database.notices != notices:
            self.push_all()
        return answer

    def line(self, host: Host) -> Line:
        """Open a connection; by a whim there is a pooler between."""
        lent = self.settings.pooled or not self.settings.push or self.rng.random() < 0.3
        deaf = self.settings.deaf and self.rng.random() < 0.5
        seen = LastSeen(lent=lent, hosts_tasks=host.facts.hosts_tasks)
        return Line(life=self.server.connect(host.facts), seen=seen, deaf=deaf)

    def push_all(self) -> None:
        """Notify every node; where a pooler is between, nobody hears it."""
        for host in self.hosts:
            agent = host.agent
            if agent is None or agent.line is None:
                continue
            if agent.line.seen.lent or agent.line.deaf:
                continue
            agent.line.news = True
            delay_s = self.way_s(host, "answer")
            if delay_s is not None:
                self.at(self.now + delay_s, agent.deliver, agent.notified)

    def holder(self) -> Host | None:
        """Return the host whose program runs, or that observes, if there is one."""
        if self.settings.observer_policy is not None:
            return self._observer()
        for host in self.hosts:
            if host.programs.running:
                return host
        return None

    def _observer(self) -> Host | None:
        token = self.server.database.tokens.get(token_name(GROUP, OBSERVER))
        if token is None or token.session is None:
            return None
        return next((host for host in self.hosts if host.name == token.node), None)


def calm_within_s(settings: WorldSettings) -> float:
    """Return how long after the last fault a holder runs at the latest.

    The slowest node waits out a namesake or a new identity, then a silent holder: two intervals
    by its own clock; a node that was just given up waits one more (cool_until). Starting the
    processes again takes the rest.
    """
    within_s = 2.0 * settings.longest_liveness_s + 6.0
    # What is told to end has that long, be it by a node that leaves.
    within_s += max(node.timing.stop_timeout_s for node in settings.nodes) / (1 - RATE_ERROR)
    # A program that hung in the last moment has to be found out first.
    within_s += detected_within_s(settings)
    if settings.deaf:
        heartbeat_s = max(node.timing.heartbeat_s for node in settings.nodes)
        within_s += LOOK_EVERY * heartbeat_s / (1 - RATE_ERROR)
    if settings.observer_policy is not None:
        # A new observer looks first, then a node in Rehab is watched; both by slow clocks.
        observer_policy = settings.observer_policy
        within_s += (observer_policy.grace_s + observer_policy.to_member_s + 3.0) / (1 - RATE_ERROR)
    if settings.asked:
        within_s += administrators.calm_within_s(settings)
    return within_s


def detected_within_s(settings: WorldSettings) -> float:
    """Return how long a hung program is taken for a living one (M1, M3); by a slow clock."""
    hung, health = settings.hung, settings.hung.health
    seconds = [hung.progress_s + SECOND_LOOK_S] if hung.progress_s else []
    if health is not None:
        each_s = health.interval_s + health.timeout_s
        seconds.append(max(health.delay_s, health.interval_s) + health.failures_max * each_s)
    return min(seconds, default=0.0) / (1 - RATE_ERROR)


def found_within_s(settings: WorldSettings) -> float:
    """Return how long after it hung a program is dead; its agent may be frozen for one lease."""
    stop_s = max(node.timing.stop_timeout_s for node in settings.nodes) / (1 - RATE_ERROR)
    return detected_within_s(settings) + settings.longest_liveness_s + stop_s + 1.0
