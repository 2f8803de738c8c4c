"""The nodes of a task group, and what they ask of it, in every kind of database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from coordinator.protocol.messages.group_record import (
    GroupRecord,
    Standing,
    TaskDef,
)
from coordinator.protocol.messages.requests import Answer
from coordinator.protocol.messages.task_requests import (
    CatchUp,
    ChangeStanding,
    Decide,
    Decision,
    EndSession,
    GivenTask,
    ReadGroup,
    ReleaseTasks,
    ReportTasks,
    SessionSeen,
    TakeTasks,
    TaskReport,
    WantedTask,
    WatchSessions,
)
from tests.conformance.worlds import Node, World

PROMOTABLE, MEMBER, REHAB = Standing.PROMOTABLE, Standing.MEMBER, Standing.REHAB


@dataclass
class Team:
    """The nodes of a task group; the first one that joined is its observer."""

    world: World
    make: Callable[..., Node]
    nodes: dict[str, Node] = field(default_factory=dict)
    term: int = 0

    def join(self, *names: str) -> list[Node]:
        """Join nodes, new ones and Promotable."""
        for name in names:
            self.nodes[name] = self.make(name, hosts_tasks=True)
            if not self.term:
                self.term = self.nodes[name].win()
        return [self.nodes[name] for name in names]

    def members(self, *names: str) -> list[Node]:
        """Join nodes, and let the observer make them Members."""
        made = self.join(*names)
        assert self.decide(*(self.standing(name, MEMBER) for name in names)).done
        return made

    def with_tasks(self, *names: str) -> None:
        for name in names:
            self.world.define(TaskDef(name=name))

    @property
    def observer(self) -> Node:
        return next(iter(self.nodes.values()))

    def decide(self, *decisions: Decision, **changes: object) -> Answer:
        """Decide as the observer, on the newest version."""
        asked = {
            "session": self.observer.session,
            "term": self.term,
            "version": read(self.observer).version,
            "decisions": decisions,
        }
        return self.observer.ask(Decide(**{**asked, **changes}))  # type: ignore[arg-type]

    def standing(self, name: str, after: Standing, reason: str = "test") -> ChangeStanding:
        before = read(self.observer).nodes[name].standing
        session = self.nodes[name].session
        return ChangeStanding(node=name, session=session, before=before, after=after, reason=reason)

    def end(self, name: str, reason: str = "silent") -> EndSession:
        seen = watched(self.observer)[name]
        return EndSession(node=name, session=seen.session, beat=seen.beat, reason=reason)


def read(node: Node) -> GroupRecord:
    group = node.ask(ReadGroup()).group
    assert group is not None
    return group


def watched(node: Node) -> dict[str, SessionSeen]:
    return {seen.node: seen for seen in node.ask(WatchSessions()).sessions}


def take(node: Node, *tasks: str, **changes: object) -> Answer:
    """Take tokens as they are now, and as if they were free."""
    record, view = read(node), node.look()
    asked = {
        "session": node.session,
        "version": record.version,
        "branch": view.identity.branch,
        "wanted": tuple(
            WantedTask(
                task=task,
                seen_term=record.token(task).term,
                next_term=record.token(task).term + 1,
            )
            for task in tasks
        ),
    }
    return node.ask(TakeTasks(**{**asked, **changes}))  # type: ignore[arg-type]


def give(node: Node, *given: GivenTask) -> Answer:
    return node.ask(ReleaseTasks(session=node.session, given=given))


def over(task: str, term: int = 1, **more: bool) -> GivenTask:
    return GivenTask(task=task, term=term, reason="stop", **more)


def caught_up(mentor: Node, pupil: Node, version: int = 0) -> CatchUp:
    return CatchUp(
        session=mentor.session, version=version, pupil=pupil.facts.node, pupil_session=pupil.session
    )


def tell(node: Node, version: int, *told: TaskReport) -> Answer:
    return node.ask(ReportTasks(session=node.session, version=version, told=told))


def mentored(mentor: Node, pupil: Node) -> Answer:
    """Let a pupil say what it acts on, and its mentor say that this is enough."""
    version = read(mentor).version
    assert tell(pupil, version).done
    return mentor.ask(caught_up(mentor, pupil, version))
