"""Runs of task groups that were found once, kept as they happened: each fails when its rule breaks.

Some are told on a script, some as a world of two machines.
"""

from __future__ import annotations

from collections.abc import Callable

from coordinator.protocol.group.observer import ObserverPolicy
from coordinator.protocol.messages.group_record import (
    NO_POLICY,
    OnDone,
    OnPartition,
    Standing,
    TaskDef,
    TasksPolicy,
)
from coordinator.protocol.messages.requests import Beat
from coordinator.protocol.messages.task_requests import Decide, EndSession, ReportTasks
from coordinator.protocol.node.events import ProgramRefused
from coordinator.protocol.rules.timing import Timing
from tests.simulation.group.checkers import group_violations
from tests.simulation.group.script import GroupScript
from tests.simulation.plans import faults
from tests.simulation.plans.script import TIMING
from tests.simulation.plans.stories import Fault
from tests.simulation.world.history import Ran
from tests.simulation.world.settings import GROUP, Net, NodeSettings, WorldSettings
from tests.simulation.world.world import World
from tests.support.fakes import memory_operator as operator
from tests.support.fakes.memory_store import MemoryDatabase


def a_term_that_was_given_up_is_given_back_again() -> None:
    """A failover may bring a holding back that its own node has given up since: it must not stay.

    1. n0 holds t under term 1; its program ends, and n0 releases it.
    2. n0 takes t again, under term 2.
    3. The primary dies. On timeline 2 the row says what it said before 1: n0's session, term 1.
    4. n0 lives on, and stops what runs under term 2. Nobody but n0 can free the row, and nobody
       may run t under term 1 any more.
    """
    script = GroupScript("n0")
    operator.define(script.database, GROUP, TaskDef(name="t", on_done=OnDone.RELEASE))
    script.go_on(2.0)
    (first,) = script["n0"].runs("t")
    before = script.database.snapshot()
    script["n0"].end(script.now, first.run)
    script.go_on(3.0)
    (second,) = script["n0"].runs("t")
    assert second.term > first.term

    script.database.restore(before, timeline=2)
    script.go_on(12.0)

    (third,) = script["n0"].runs("t")
    assert third.term > second.term


def a_refused_decision_is_looked_at_before_it_is_asked_again() -> None:
    """An observer whose decision was refused looks again; asking again alone helps nobody.

    1. n1 is next in line for the observer's token, and watches the sessions as the observer does.
    2. The observer n0 dies. n1 takes its token, which ends n0's session.
    3. What n1 has seen still shows n0 silent: it decides to end n0, and is refused.
    """
    script = GroupScript("n0", "n1")
    script.go_on(4.0)
    token = script.database.tokens[script["n0"].facts.token]
    assert token.node is not None
    successor = next(name for name in script.nodes if name != token.node)
    script.silent.add(token.node)
    script.go_on(10.0)

    decided = [request for _, request in script[successor].asked if isinstance(request, Decide)]
    endings = [
        one
        for request in decided
        for one in request.decisions
        if isinstance(one, EndSession) and one.node == token.node
    ]
    assert script.database.tokens[script["n0"].facts.token].node == successor
    assert len(endings) <= 2, f"{len(endings)} decisions to end a session that had ended"


def a_silence_that_was_not_watched_proves_nothing() -> None:
    """B1: a gap in the watching starts the wait again, also when the beat is the same after it.

    1. The observer sees n1 at beat b, and n1 is silent from then on.
    2. The observer itself is stopped for longer than the gap that is allowed.
    3. It looks again, and sees beat b. It does not know what it missed: the database may have
       been set back to just this beat. It waits the whole interval again.
    """
    script = GroupScript("n0", "n1")
    script.go_on(4.0)
    holder = script.database.tokens[script["n0"].facts.token].node
    assert holder is not None
    other = next(name for name in script.nodes if name != holder)
    script.silent.add(other)
    script.go_on(1.0)
    script.silent.add(holder)
    script.go_on(4.4)
    script.silent.remove(holder)
    began = script.now

    script.go_on(2.0)
    assert script.database.session_lives(GROUP, other, script[other].node.session)
    script.go_on(6.0)
    assert not script.database.session_lives(GROUP, other, script[other].node.session)
    assert script.now > began + 6.0


def a_repeatable_task_is_not_begun_without_trust() -> None:
    """H9: to go on without the database is one thing, to begin without it another.

    1. n0 takes a task that may go on without the database, and orders its program's start.
    2. n0's machine stops before the program has started.
    3. n0's session is ended, and n1 runs the task.
    4. n0's machine goes on. The program must not start: nobody is apart, n0 is just late.
    """
    tasks = tuple(
        TaskDef(name=f"t{number}", on_partition=OnPartition.CONTINUE) for number in range(8)
    )
    told = _told(tasks, (Fault(0.3, "freeze_at_start", "n0", 12.0, mark=1),))
    assert not told, told


def a_repeatable_task_that_never_began_is_not_apart() -> None:
    """H9: a start that is refused when the session is over leaves nothing that goes on.

    1. n0 orders the start of a task that may go on without the database.
    2. Trust ends before the guardian has answered.
    3. The guardian refuses: the program never ran.
    4. The database is back. n0 is to run the task, and nothing of an older run is in the way.
    """
    script = GroupScript("n0")
    task = TaskDef(name="t", on_partition=OnPartition.CONTINUE)
    operator.define(script.database, GROUP, task)
    script.go_on(2.0)
    (first,) = script["n0"].runs("t")
    script.database.available = False
    script.go_on(TIMING.liveness_s)
    assert script["n0"].node.session is None

    del script["n0"].running[first.run]
    script["n0"].take_in(ProgramRefused(script.now, first.run, "trust is over", 0))
    script.database.available = True
    script.go_on(4 * TIMING.liveness_s)

    (second,) = script["n0"].runs("t")
    assert second.term > first.term


def a_repeatable_task_goes_on_while_its_node_is_cut_off() -> None:
    """H9: without the database it runs on, and it ends when it is another node's by then.

    1. n0 and n1 run four tasks each that may go on without the database.
    2. n0 is cut off, for three intervals. Its tasks are taken by n1; n0's programs go on.
    3. n0 is back. It stops what is n1's by now, and each task runs once.
    """
    tasks = tuple(
        TaskDef(name=f"t{number}", on_partition=OnPartition.CONTINUE) for number in range(8)
    )
    history = _world(tasks, (Fault(8.0, "cut", "n0", 9.0, mark=1),)).run()

    cut = [run for run in history.runs if run.node == "n0" and run.start < 8.0 < _end(run)]
    assert cut
    assert all(_end(run) > 17.0 for run in cut), [(run.task, run.end) for run in cut]
    told = group_violations(history)
    assert not told, told


def a_task_that_stays_is_taken_again_after_a_release() -> None:
    """H5: who stays where it is (failback = false) must not be left alone by both.

    1. n0 holds t, which does not go back. n1 joins, and becomes a Member; it would go first.
    2. n1 reads the record: t is held, so it stays with n0.
    3. n0's program ends, and n0 gives t back. No version is raised: n1 has no reason to look.
    4. n0 reads the record: t is free, so it is n1's. Each leaves it to the other.
    """
    script = GroupScript("n0", "n1")
    names = tuple(f"t{number}" for number in range(8))
    for name in names:
        task = TaskDef(name=name, failback=False, on_done=OnDone.RELEASE)
        operator.define(script.database, GROUP, task)
    script.silent.add("n1")
    script.go_on(3.0)
    assert all(script["n0"].runs(name) for name in names)
    script.silent.remove("n1")
    script.go_on(8.0)

    for run in tuple(script["n0"].running):
        script["n0"].end(script.now, run)
    script.go_on(20.0)

    running = {name: [*script["n0"].runs(name), *script["n1"].runs(name)] for name in names}
    assert all(len(runs) == 1 for runs in running.values()), running


def the_policy_of_the_record_goes_before_the_own() -> None:
    """B11: it is obeyed by whoever observes, at once, and without a restart.

    1. n0 observes. By its own file a node that is caught up becomes a Member at once.
    2. The group's policy says 1,000 s. n1 joins, and stays Promotable.
    3. The policy says nothing any more. n1 becomes a Member.
    """
    script = GroupScript("n0", "n1")
    script.silent.add("n1")
    script.go_on(3.0)
    assert script.database.nodes[GROUP, "n0"].standing is Standing.MEMBER

    operator.set_policy(script.database, GROUP, TasksPolicy(to_member_s=1000.0))
    script.silent.remove("n1")
    script.go_on(8.0)
    assert script.database.nodes[GROUP, "n1"].standing is Standing.PROMOTABLE

    operator.set_policy(script.database, GROUP, NO_POLICY)
    script.go_on(8.0)
    assert script.database.nodes[GROUP, "n1"].standing is Standing.MEMBER


def a_beat_that_the_observer_did_not_see_saves_the_session() -> None:
    """B4: a session is ended with the beat that was seen, and no other.

    1. n0 observes; n1 falls silent.
    2. Just before its silence is long enough n1 beats, and n0 does not look any more.
    3. n0 decides to end it, by what it saw. The database knows better.
    """
    script = GroupScript("n0", "n1")
    script.silent.add("n1")
    script.go_on(3.0)
    script.silent.remove("n1")
    script.go_on(3.0)
    script.silent.add("n1")
    script.go_on(1.5)
    task_state = script["n0"].node.task_state
    assert task_state is not None
    assert task_state.watched is not None
    (silent_at,) = (one.silent_at for one in task_state.watched.sessions if one.seen.node == "n1")
    script.go_on(silent_at - script.now - 0.1)
    session = script.database.nodes[GROUP, "n1"].session
    assert session is not None

    script.database.carry_out(script["n1"].facts, Beat(session=session))
    script.go_on(0.5)

    asked = [request for _, request in script["n0"].asked if isinstance(request, Decide)]
    assert any(isinstance(one, EndSession) for request in asked for one in request.decisions)
    assert not script.database.nodes[GROUP, "n1"].ended


def a_group_that_starts_tells_no_alert() -> None:
    """H8: until the first Member is made nobody may run anything, which is no news to anybody."""
    script = GroupScript("n0", "n1", "n2")
    for name in ("a", "b", "c"):
        operator.define(script.database, GROUP, TaskDef(name=name))

    script.go_on(10.0)

    assert sum(len(one.running) for one in script.nodes.values()) == 3
    notes = [
        told.note
        for one in script.nodes.values()
        for _, request in one.asked
        if isinstance(request, ReportTasks)
        for told in request.told
    ]
    assert "alert" not in notes, notes


def _end(run: Ran) -> float:
    return float("inf") if run.end is None else run.end


def _told(tasks: tuple[TaskDef, ...], plan: tuple[Fault, ...]) -> list[str]:
    """Return what the judges say of a world of two nodes."""
    return group_violations(_world(tasks, plan).run())


def _world(tasks: tuple[TaskDef, ...], plan: tuple[Fault, ...]) -> World:
    """Return a world of two nodes, n0 a little earlier than n1."""
    timing = Timing(liveness_s=3.0, heartbeat_s=0.6)
    nodes = tuple(
        NodeSettings(
            name=name, label=name, rate=1.0, offset_s=10.0, timing=timing, joins_at=joins_at
        )
        for name, joins_at in (("n0", 0.0), ("n1", 2.0))
    )
    settings = WorldSettings(
        seed=0,
        nodes=nodes,
        net=Net(),
        faults_until_s=20.0,
        tasks=tasks,
        observer_policy=ObserverPolicy(to_member_s=0.0, grace_s=0.0),
    )
    world = World(settings, MemoryDatabase)
    faults.schedule(world, list(plan))
    return world


FOUND_IN_GROUPS: tuple[Callable[[], None], ...] = (
    a_term_that_was_given_up_is_given_back_again,
    a_refused_decision_is_looked_at_before_it_is_asked_again,
    a_repeatable_task_is_not_begun_without_trust,
    a_repeatable_task_that_never_began_is_not_apart,
    a_repeatable_task_goes_on_while_its_node_is_cut_off,
    a_task_that_stays_is_taken_again_after_a_release,
    a_group_that_starts_tells_no_alert,
)
#: By the name of the planted bug that fails it.
OF_PLANTED_IN_GROUPS: dict[str, Callable[[], None]] = {
    "policy-unread": the_policy_of_the_record_goes_before_the_own,
    "beat-unseen": a_beat_that_the_observer_did_not_see_saves_the_session,
    "gap-is-silence": a_silence_that_was_not_watched_proves_nothing,
}
