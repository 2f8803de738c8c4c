"""Nodes of a task group on a script: what is asked is carried out at once by a memory database."""

from __future__ import annotations

from dataclasses import dataclass, field

from coordinator.protocol.group.observer import ObserverPolicy
from coordinator.protocol.messages.requests import NodeFacts, Request
from coordinator.protocol.node import machine
from coordinator.protocol.node.events import (
    Answered,
    Ask,
    Event,
    Failed,
    KillProgram,
    ProgramEnded,
    StartProgram,
    StopProgram,
    Ticked,
)
from coordinator.protocol.node.state.node import Node, Policy
from coordinator.protocol.node.state.tasks import TaskState
from tests.simulation.plans.script import TIMING
from tests.simulation.world.settings import GROUP
from tests.support.fakes.memory_database import MemoryDatabase

OBSERVER_POLICY = ObserverPolicy(to_member_s=0.0, grace_s=0.0)
#: So long a question and its answer take together, in seconds.
ROUND_TRIP_S = 0.01
STEP_S = 0.05


@dataclass(eq=False)
class Scripted:
    """One node: its machine, what it has asked, and which programs run."""

    name: str
    database: MemoryDatabase
    node: Node
    facts: NodeFacts
    asked: list[tuple[float, Request]] = field(default_factory=list)
    running: dict[int, StartProgram] = field(default_factory=dict)
    connected: bool = False
    cut_off: bool = False  #: from the database; its clock and its program go on

    def take_in(self, event: Event) -> None:
        """Feed the machine; its programs end at once when they are told to."""
        self.node, commands = machine.step(self.node, event)
        for command in commands:
            match command:
                case Ask(request):
                    self._ask(event.now, request)
                case StartProgram(run):
                    self.running[run] = command
                case StopProgram(run) | KillProgram(run) if run in self.running:
                    self.end(event.now, run, "stopped")
                case _:
                    pass

    def _ask(self, now: float, request: Request) -> None:
        self.asked.append((now, request))
        if self.cut_off or not self.database.available:
            self.connected = False
            self.take_in(Failed(now, request, "no database"))
            return
        if not self.connected:
            self.database.prepare(self.facts)
            self.connected = True
        answer = self.database.carry_out(self.facts, request)
        self.take_in(Answered(now + ROUND_TRIP_S, request, answer, now))

    def end(self, now: float, run: int, why: str = "itself", status: int = 0) -> None:
        """Let a program be dead."""
        del self.running[run]
        self.take_in(ProgramEnded(now, run, status, why))

    def runs(self, task: str) -> list[StartProgram]:
        """Return the starts of the task's programs that have not ended; "": the group's own."""
        return [start for start in self.running.values() if start.task == task]


class GroupScript:
    """A few nodes, one clock for all, and a database that never fails by itself."""

    def __init__(self, *names: str, hosts_tasks: bool = True) -> None:
        self.now = 0.0
        self.hosts_tasks = hosts_tasks
        self.database = MemoryDatabase(now=lambda: self.now)
        self.nodes: dict[str, Scripted] = {}
        self.silent: set[str] = set()
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Let a node begin that nobody has seen before."""
        self.nodes[name] = self._node(name)

    def _node(self, name: str) -> Scripted:
        facts = NodeFacts(
            node=name,
            group=GROUP,
            liveness_s=TIMING.liveness_s,
            heartbeat_s=TIMING.heartbeat_s,
            lease_s=TIMING.lease_s,
            hosts_tasks=self.hosts_tasks,
        )
        observer_policy, task_state = (
            (OBSERVER_POLICY, TaskState()) if self.hosts_tasks else (None, None)
        )
        policy = Policy(node=name, group=GROUP, seed=name, observer_policy=observer_policy)
        node = Node(policy=policy, timing=TIMING, task_state=task_state)
        return Scripted(name, self.database, node, facts)

    def __getitem__(self, name: str) -> Scripted:
        return self.nodes[name]

    def go_on(self, for_s: float) -> None:
        """Let time pass for every node that is not silent."""
        until = self.now + for_s
        while self.now < until:
            self.now += STEP_S
            for name, scripted in self.nodes.items():
                if name not in self.silent:
                    scripted.take_in(Ticked(self.now))
