"""A node of a task group on a script: a test answers its requests and tells it what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from coordinator.protocol.group.observer import ObserverPolicy
from coordinator.protocol.messages.group_record import (
    GroupRecord,
    NodeRecord,
    Standing,
    TaskDef,
    TaskToken,
)
from coordinator.protocol.messages.requests import Answer, Join, Request, View
from coordinator.protocol.messages.task_requests import (
    ReadGroup,
    ReleaseTasks,
    TakeTasks,
)
from coordinator.protocol.node import machine
from coordinator.protocol.node.events import (
    Answered,
    Ask,
    Command,
    Event,
    Failed,
    ProgramEnded,
    StartProgram,
    Ticked,
)
from coordinator.protocol.node.state.node import Node, Policy
from coordinator.protocol.node.state.tasks import TaskState
from tests.simulation.plans.script import TIMING, held, seen, view

ME, OTHER = "n0", "n1"


TIMES = ObserverPolicy(to_member_s=6.0, grace_s=2.0)


@dataclass
class OneGroup:
    """A database of one group for one node: it answers at once and remembers what was asked."""

    tasks: dict[str, TaskDef] = field(default_factory=dict)
    tokens: dict[str, TaskToken] = field(default_factory=dict)
    standing: Standing = Standing.MEMBER
    version: int = 1
    timeline: int = 1
    settled: bool = True
    session: str | None = None
    others: tuple[str, ...] = ()
    asked: list[Request] = field(default_factory=list)
    refuse_takes: bool = False

    def change(self, **changes: object) -> None:
        """Change something, and raise the version."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.version += 1

    def define(self, *tasks: TaskDef) -> None:
        self.change(tasks={**self.tasks, **{task.name: task for task in tasks}})

    def view(self) -> View:
        """Return the view of every answer: another node is the observer, and lives."""
        shown = view(
            held("observer-session", node=OTHER),
            seen("observer-session", len(self.asked)),
            settled=self.settled,
            timeline=self.timeline,
        )
        return replace(shown, group_version=self.version)

    def record(self) -> GroupRecord:
        me = NodeRecord(
            node=ME, standing=self.standing, live=True, session=self.session, caught_up=True
        )
        # A higher priority puts the others before this node in the observer's succession.
        rest = {
            name: NodeRecord(
                node=name, standing=Standing.MEMBER, live=True, session=f"{name}-s", priority=2
            )
            for name in (*self.others, "n9")
            if name in self.others or name == "n9"
        }
        rest["n9"] = replace(rest["n9"], standing=Standing.REHAB)
        return GroupRecord(
            version=self.version,
            tasks=dict(self.tasks),
            nodes={ME: me, **rest},
            tokens=dict(self.tokens),
        )

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        match request:
            case Join(session=session):
                self.session = session
                return Answer(done=True, view=self.view())
            case ReadGroup():
                return Answer(done=True, view=self.view(), group=self.record())
            case TakeTasks():
                return self._take(request)
            case ReleaseTasks():
                for given in request.given:
                    token = self.tokens[given.task]
                    self.tokens[given.task] = replace(token, session=None, free=True)
                return Answer(done=True, view=self.view())
            case _:
                return Answer(done=True, view=self.view())

    def _take(self, request: TakeTasks) -> Answer:
        if self.refuse_takes or request.version != self.version:
            return Answer(done=False, view=self.view())
        taken = []
        for wanted in request.wanted:
            token = self.tokens.get(wanted.task, TaskToken())
            if token.free and token.term == wanted.seen_term:
                term = max(wanted.next_term, token.term + 1)
                self.tokens[wanted.task] = TaskToken(
                    term=term, node=ME, session=request.session, free=False
                )
                taken.append((wanted.task, term))
        return Answer(done=True, view=self.view(), taken=tuple(taken))


class TaskScript:
    """A node of a task group and its database; `go` performs everything that is due."""

    def __init__(self, *tasks: TaskDef, database: OneGroup | None = None) -> None:
        self.database = database or OneGroup()
        self.database.tasks |= {task.name: task for task in tasks}
        policy = Policy(node=ME, group="G", seed="duties", observer_policy=TIMES)
        self.node = Node(policy=policy, timing=TIMING, task_state=TaskState())
        self.now = 0.0
        self.sent_at = 0.0
        self.cut = False  #: the database cannot be reached

    def take_in(self, event: Event) -> list[Command]:
        self.node, commands = machine.step(self.node, event)
        if any(isinstance(command, Ask) for command in commands):
            self.sent_at = self.now
        return list(commands)

    def happens(self, make: Callable[[float], Event]) -> list[Command]:
        """Take in an event of this moment, then all that follows at once."""
        return [*self.take_in(make(self.now)), *self._settle_down()]

    def go(self, until: float) -> list[Command]:
        """Let time pass; returns all commands, in order."""
        commands = [*self.take_in(Ticked(self.now)), *self._settle_down()]
        while (wake := machine.wake_at(self.node, self.now)) <= until:
            self.now = wake
            commands += self.take_in(Ticked(self.now))
            commands += self._settle_down()
        self.now = until
        return [*commands, *self.take_in(Ticked(until)), *self._settle_down()]

    def _settle_down(self) -> list[Command]:
        commands: list[Command] = []
        for _ in range(50):
            request = self.node.pending
            if request is None:
                return commands
            if self.cut:
                commands += self.take_in(Failed(self.now, request, "cut off"))
            else:
                answer = self.database.answer(request)
                commands += self.take_in(Answered(self.now, request, answer, self.sent_at))
        raise AssertionError("the node asks without end")

    @property
    def task_state(self) -> TaskState:
        assert self.node.task_state is not None
        return self.node.task_state


def task(name: str = "t", **changes: object) -> TaskDef:
    return replace(TaskDef(name=name), **changes)  # type: ignore[arg-type]


def starts(commands: list[Command]) -> list[str]:
    return [command.task for command in commands if isinstance(command, StartProgram)]


def of(commands: list[Command], kind: type) -> list[Command]:
    return [command for command in commands if isinstance(command, kind)]


def started(*tasks: TaskDef, **changes: object) -> TaskScript:
    """Return a node whose tasks run."""
    script = TaskScript(*tasks)
    for name, value in changes.items():
        setattr(script.database, name, value)
    assert sorted(starts(script.go(0.5))) == sorted(task.name for task in tasks)
    return script


def run_of(script: TaskScript, name: str = "t") -> int:
    work = script.task_state.works.get(name) or script.task_state.detached[name]
    assert work.run is not None
    return work.run.number


def ended(script: TaskScript, name: str = "t", status: int = 0, why: str = "itself") -> Event:
    return ProgramEnded(script.now, run_of(script, name), status, why)
