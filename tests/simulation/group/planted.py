"""Bugs planted in what a task group rests on; the simulation must find each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from coordinator.protocol.group import observer, placement
from coordinator.protocol.group.observer import ObserverPolicy
from coordinator.protocol.messages.group_record import NodeRecord
from coordinator.protocol.messages.requests import Answer, TokenSeen
from coordinator.protocol.messages.task_requests import Decide, GivenTask, SessionSeen, TakeTasks
from coordinator.protocol.node import next_request
from coordinator.protocol.node.events import Command
from coordinator.protocol.node.state.last_seen import LastSeen, is_held
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.state.tasks import TaskHolding, TaskState
from coordinator.protocol.node.tasks import intake as task_intake
from coordinator.protocol.node.tasks import next_request as next_task_request
from coordinator.protocol.node.tasks import start_stop as task_start_stop
from coordinator.protocol.rules.watch import Sight, Watch, watched
from tests.simulation.group.settings import GroupBias
from tests.simulation.plans.planted import Patch, patched
from tests.support.fakes.memory_rows import NodeRow
from tests.support.fakes.memory_store import MemoryDatabase

Step = tuple[Node, tuple[Command, ...]]


class TermUnseen(MemoryDatabase):
    """Takes what was seen free once, whatever has become of it."""

    def seen_term_matches(self, token: TokenSeen, seen_term: int) -> bool:  # noqa: ARG002
        return True

    def free_to_take(self, group: str, token: TokenSeen) -> bool:  # noqa: ARG002
        return True


class AnyStanding(MemoryDatabase):
    """Gives tasks to any live node."""

    def may_run_tasks(self, row: NodeRow) -> bool:  # noqa: ARG002
        return True


class NobodyHolds(MemoryDatabase):
    """Calls every token free: who is assigned starts, and nobody was revoked before."""

    def is_free(self, group: str, token: TokenSeen) -> bool:  # noqa: ARG002
        return True


class BeatUnseen(MemoryDatabase):
    """Ends a session whatever its beat shows by now."""

    def beat_matches(self, row: NodeRow, seen_beat: int) -> bool:  # noqa: ARG002
        return True


class JoinUnseen(MemoryDatabase):
    """Does not raise the version when a node joins."""

    def raises_version(self, what: str) -> bool:
        return what != "join"


class VersionUnseen(MemoryDatabase):
    """Lets an observer decide on a version that is gone."""

    def decided_on(self, group: str, request: Decide | TakeTasks) -> bool:
        return isinstance(request, Decide) or super().decided_on(group, request)


class SuspensionUnseen(MemoryDatabase):
    """Lets a silent observer be followed while it is suspended."""

    def is_suspended(self, group: str) -> bool:  # noqa: ARG002
        return False


def _own_observer_policy(node: Node) -> ObserverPolicy | None:
    return node.policy.observer_policy


def _nothing_decided(before: SessionSeen, seen: SessionSeen) -> bool:
    return False


def _alive_is_able(row: NodeRecord) -> bool:
    return row.live


def _no_doubt(node: Node) -> Node:
    return node


def _never(node: Node) -> bool:
    return False


def _forgetful(node: Node) -> Node:
    """Forget which terms were given up or lost."""
    if node.task_state is None:
        return node
    return replace(node, task_state=replace(node.task_state, given_up={}))


def _read_forgetfully(node: Node, task_state: TaskState, answer: Answer, now: float) -> Step:
    return _real_read(node, replace(task_state, given_up={}), answer, now)


def _start_forgetfully(node: Node, work: TaskHolding, now: float) -> bool:
    return _real_may_start(_forgetful(node), work, now)


def _given_too_soon(task_state: TaskState, now: float) -> tuple[GivenTask, ...]:
    """Give back what is to end, although its program may still run."""
    return tuple(
        GivenTask(task=work.task, term=work.term, reason=work.ending)
        for work in task_state.works.values()
        if work.ending and not work.lost
    )


def _goes_on_watching(
    watch: Watch | None,
    sight: Sight,
    now: float,
    gap_max_s: float,
) -> Watch:
    return watched(watch, sight, now, float("inf"))


def _always_kept(watch: Watch, now: float, gap_max_s: float) -> bool:
    return True


def _stays_detached(node: Node, work: TaskHolding) -> Step:
    return node, ()


def _watch_for_ever(seen: LastSeen) -> bool:
    """Look at everything only when told to."""
    if seen.lent or seen.notified:
        return False
    return seen.view is not None and is_held(seen.view)


_real_read = task_intake.read
_real_may_start = task_start_stop._may_start


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedInGroup:
    """One bug: what is replaced, and the worlds in which it shows itself."""

    rule: str
    bias: GroupBias | None = None  #: None: only a transcript shows it
    patches: tuple[Patch, ...] = ()
    database: type[MemoryDatabase] = MemoryDatabase


PLANTED_IN_GROUPS: dict[str, PlantedInGroup] = {
    "take-unseen": PlantedInGroup(
        rule="a token is taken as it was seen",
        bias=GroupBias(stories=("late taking",)),
        database=TermUnseen,
    ),
    "take-by-rehab": PlantedInGroup(
        rule="only a live Member takes a task",
        bias=GroupBias(stories=("members come and go",)),
        patches=((placement, "_able", _alive_is_able),),
        database=AnyStanding,
    ),
    "assign-unrevoked": PlantedInGroup(
        rule="revoke before assign",
        bias=GroupBias(stories=("record in motion",)),
        database=NobodyHolds,
    ),
    "given-too-soon": PlantedInGroup(
        rule="a token is given back when nothing of its program is left",
        bias=GroupBias(stories=("record in motion",)),
        patches=((next_task_request, "_given", _given_too_soon),),
    ),
    "holdings-unread": PlantedInGroup(
        rule="after a promotion holdings are read anew before trust is extended",
        bias=GroupBias(stories=("lost taking",)),
        patches=(
            (task_intake, "in_doubt", _no_doubt),
            (task_intake, "moved", _no_doubt),
        ),
    ),
    "beat-unseen": PlantedInGroup(
        rule="the observer ends a session only with the beat that it saw",
        patches=((MemoryDatabase, "beat_matches", BeatUnseen.beat_matches),),
        database=BeatUnseen,
    ),
    "join-unseen": PlantedInGroup(
        rule="a join raises the version",
        bias=GroupBias(stories=("members come and go",)),
        database=JoinUnseen,
    ),
    "old-term": PlantedInGroup(
        rule="a term that was given up or lost is never started again",
        bias=GroupBias(stories=("lost release",)),
        patches=(
            (task_intake, "read", _read_forgetfully),
            (task_start_stop, "_may_start", _start_forgetfully),
        ),
    ),
    "decide-twice": PlantedInGroup(
        rule="one version is decided on once",
        bias=GroupBias(stories=("observer dies with a worker", "members come and go")),
        database=VersionUnseen,
    ),
    "gap-is-silence": PlantedInGroup(
        rule="what an observer did not watch proves nothing",
        patches=((observer, "watched", _goes_on_watching), (observer, "kept", _always_kept)),
    ),
    "late-counted-again": PlantedInGroup(
        rule="B10: a decision about a standing rests on nothing before the last one",
        bias=GroupBias(stories=("late again",), plain=True, nodes=4, timing=(3.0, 0.6)),
        patches=((observer, "decided_since", _nothing_decided),),
    ),
    "suspended-followed": PlantedInGroup(
        rule="B6: while the observer is suspended nobody ends its session to follow it",
        bias=GroupBias(stories=("suspended observer dies",)),
        patches=((next_request, "_suspended", _never),),
        database=SuspensionUnseen,
    ),
    "policy-unread": PlantedInGroup(
        rule="B11: whoever observes judges by the policy of the record",
        patches=((next_task_request, "observer_policy_of", _own_observer_policy),),
    ),
    "never-looks": PlantedInGroup(
        rule="O6: one heartbeat of a few looks at everything, whatever it was told",
        bias=GroupBias(stories=("record in motion",), to_calm=True, deaf=True),
        patches=((LastSeen, "may_watch", _watch_for_ever),),
    ),
    "apart-for-ever": PlantedInGroup(
        rule="what went on without the database ends when it is another node's",
        bias=GroupBias(stories=("worker pauses", "late question"), to_calm=True),
        patches=((task_start_stop, "_decide_detached", _stays_detached),),
    ),
}


@contextmanager
def planted_in_group(name: str) -> Iterator[type[MemoryDatabase]]:
    """Break one rule for a while; gives the database class to simulate with."""
    bug = PLANTED_IN_GROUPS[name]
    with patched(bug.patches):
        yield bug.database
