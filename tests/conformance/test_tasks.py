"""Tasks over many nodes: only Members take them, tokens change hands in the same two ways only."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from coordinator.protocol.messages.group_record import (
    NO_POLICY,
    GroupRecord,
    OnDone,
    OnPartition,
    Standing,
    TaskDef,
    TasksPolicy,
)
from coordinator.protocol.messages.requests import Answer
from coordinator.protocol.messages.task_requests import (
    CatchUp,
    ChangeStanding,
    Decide,
    Decision,
    EndSession,
    EndSpread,
    GivenTask,
    RaiseTaskFloors,
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


@pytest.fixture
def team(world: World, node: Callable[..., Node]) -> Team:
    return Team(world, node)


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


# --- standings ------------------------------------------------------------------------------------


def test_a_node_that_joins_for_the_first_time_is_promotable(team):
    (first,) = team.join("a")

    record = read(first)

    assert record.nodes["a"].standing is PROMOTABLE
    assert record.nodes["a"].live
    assert record.nodes["a"].session == first.session
    assert not record.nodes["a"].caught_up


def test_a_node_that_is_connected_and_never_joined_is_none(team, connected):
    (first,) = team.join("a")

    connected("b", hosts_tasks=True)

    assert set(read(first).nodes) == {"a"}


def test_a_member_that_left_joins_in_rehab(team):
    first, second = team.members("a", "b")
    assert second.leave().done

    second.session = str(uuid.uuid4())
    assert second.join().done

    assert read(first).nodes["b"].standing is REHAB


def test_a_member_that_was_ended_joins_in_rehab(team):
    first, second = team.members("a", "b")
    assert team.decide(team.end("b")).done

    second.rejoin()

    assert read(first).nodes["b"].standing is REHAB


def test_a_member_that_joins_in_place_of_its_own_session_is_in_rehab(team):
    first, second = team.members("a", "b")

    assert second.rejoin().done

    assert read(first).nodes["b"].standing is REHAB


def test_a_promotable_node_stays_promotable_when_it_joins_again(team):
    first, second = team.join("a", "b")

    assert second.rejoin().done

    assert read(first).nodes["b"].standing is PROMOTABLE


def test_a_join_that_is_asked_again_changes_nothing(team):
    first, second = team.join("a", "b")
    assert second.ask(caught_up(second, second)).done
    before = read(first)
    assert before.nodes["b"].caught_up

    assert second.join().done

    assert read(first) == before


def test_a_node_of_a_program_is_a_member_always(node):
    alone = node("a")
    alone.rejoin()

    assert read(alone).nodes["a"].standing is MEMBER


def test_a_join_clears_catching_up(team):
    first, second = team.join("a", "b")
    assert second.ask(caught_up(second, second)).done
    assert read(first).nodes["b"].caught_up

    second.rejoin()

    assert not read(first).nodes["b"].caught_up


# --- the version ----------------------------------------------------------------------------------


def test_each_change_of_the_record_raises_the_version_and_is_told(team):
    """H3: every change makes every node look again."""
    first, second = team.members("a", "b")
    give_and_take = {
        "a task": lambda: team.world.define(TaskDef(name="mail")),
        "a changed task": lambda: team.world.define(TaskDef(name="mail", failback=False)),
        "an observer suspended": lambda: team.world.suspend(suspended=True),
        "an observer resumed": lambda: team.world.suspend(suspended=False),
        "a policy": lambda: team.world.set_policy(TasksPolicy(to_member_s=10.0)),
        "a standing": lambda: team.decide(team.standing("b", REHAB)),
        "a node caught up": lambda: mentored(first, second),
        "a session ended": lambda: team.decide(team.end("b")),
        "a node that joins": second.rejoin,
        "a node that leaves": second.leave,
        "a deleted task": lambda: team.world.delete("mail"),
    }
    for what, change in give_and_take.items():
        while first.heard(0.0):
            pass
        before = first.look().group_version

        change()

        assert (what, first.look().group_version) == (what, before + 1)
        assert (what, first.heard()) == (what, True)


def test_tokens_come_and_go_without_the_version(team):
    first, second = team.members("a", "b")
    team.with_tasks("mail")
    before = read(first).version

    take(first, "mail")
    while second.heard(0.0):
        pass
    assert give(first, over("mail")).done

    assert read(first).version == before
    assert second.heard()


def test_a_beat_shows_the_version_and_the_observers_token(team):
    first, second = team.members("a", "b")

    view = second.beat().view

    assert view.group_version == read(first).version
    assert (view.token.node, view.token.term) == ("a", team.term)
    assert view.holder.session == first.session


# --- taking ---------------------------------------------------------------------------------------


def test_a_member_takes_many_tokens_at_once(team):
    first, _ = team.members("a", "b")
    team.with_tasks("mail", "report", "archive")

    answer = take(first, "mail", "report")

    assert answer.done
    assert sorted(answer.taken) == [("mail", 1), ("report", 1)]
    record = read(first)
    assert record.token("mail").session == first.session
    assert (record.token("mail").node, record.token("mail").free) == ("a", False)
    assert record.token("archive").free


def test_taking_a_task_is_a_heartbeat_of_the_taker(team):
    (first,) = team.members("a")
    team.with_tasks("mail")
    before = watched(first)["a"].beat

    take(first, "mail")

    assert watched(first)["a"].beat == before + 1


@pytest.mark.parametrize("standing", [PROMOTABLE, REHAB])
def test_a_promotable_or_rehab_node_takes_nothing(team, standing):
    """H1: not by hand either."""
    _, second = team.members("a", "b")
    team.with_tasks("mail")
    assert team.decide(team.standing("b", standing)).done

    answer = take(second, "mail")

    assert not answer.done
    assert answer.taken == ()
    assert read(second).token("mail").free


def test_who_decided_on_an_older_version_takes_nothing(team):
    (first,) = team.members("a")
    team.with_tasks("mail")
    old = read(first).version
    team.with_tasks("report")

    assert not take(first, "mail", version=old).done
    assert read(first).token("mail").free


def test_a_live_holder_is_never_robbed(team):
    """R5: its session would have to end first."""
    first, second = team.members("a", "b")
    team.with_tasks("mail")
    take(first, "mail")

    answer = take(second, "mail")

    assert answer.done
    assert answer.taken == ()
    assert read(second).token("mail").session == first.session


def test_the_token_of_an_ended_session_is_taken_in_a_higher_term(team):
    first, second = team.members("a", "b")
    team.with_tasks("mail")
    take(second, "mail")
    assert team.decide(team.end("b")).done
    assert read(first).token("mail").free

    answer = take(first, "mail")

    assert answer.taken == (("mail", 2),)
    assert (2, "a", "takeover", "b", None) in team.world.history()
    assert (1, "b", "first", None, "session ended") in team.world.history()


def test_the_token_of_a_holder_that_joined_again_is_free(team):
    """Its earlier session is over, even though the node lives."""
    first, second = team.members("a", "b")
    team.with_tasks("mail")
    take(second, "mail")

    second.rejoin()

    assert read(first).token("mail").free
    assert take(first, "mail").taken == (("mail", 2),)


def test_of_two_takers_that_saw_the_same_one_wins(team):
    """R2: compare-and-set on the row."""
    first, second = team.members("a", "b")
    team.with_tasks("mail")
    seen = (WantedTask(task="mail", seen_term=0, next_term=1),)

    taken = [take(node, wanted=seen).taken for node in (first, second)]

    assert taken == [(("mail", 1),), ()]


def test_a_token_that_was_held_since_it_was_seen_is_not_taken(team):
    """R2: it is free again, but in a later term."""
    first, second = team.members("a", "b")
    team.with_tasks("mail")
    seen = (WantedTask(task="mail", seen_term=0, next_term=1),)
    take(first, "mail")
    give(first, over("mail"))

    assert take(second, wanted=seen).taken == ()
    assert read(second).token("mail").free


def test_nothing_is_taken_on_an_identity_that_is_not_settled(team):
    """E2"""
    (first,) = team.members("a")
    team.with_tasks("mail")
    team.world.unsettle()

    assert not take(first, "mail").done
    assert read(first).token("mail").free


def test_nothing_is_taken_on_another_branch(team):
    (first,) = team.members("a")
    team.with_tasks("mail")

    assert not take(first, "mail", branch=str(uuid.uuid4())).done


def test_an_ended_session_takes_nothing(team):
    _, second = team.members("a", "b")
    team.with_tasks("mail")
    assert team.decide(team.end("b")).done

    assert not take(second, "mail").done


def test_a_disabled_or_deleted_task_is_passed_over(team):
    (first,) = team.members("a")
    team.with_tasks("mail", "report")
    team.world.define(TaskDef(name="archive", enabled=False))
    team.world.delete("report")

    answer = take(first, "archive", "mail", "report", "unknown")

    assert answer.done
    assert answer.taken == (("mail", 1),)


def test_a_term_is_never_below_what_the_taker_or_any_node_remembers(team):
    """N1, N3"""
    (first,) = team.members("a")
    team.with_tasks("mail", "report")
    assert first.ask(RaiseTaskFloors(floors=(("mail", 7),))).done
    wanted = (
        WantedTask(task="mail", seen_term=0, next_term=1),
        WantedTask(task="report", seen_term=0, next_term=100),
    )

    answer = take(first, wanted=wanted)

    assert sorted(answer.taken) == [("mail", 8), ("report", 100)]


def test_a_floor_that_is_raised_stays(team):
    """N3"""
    (first,) = team.members("a")
    team.with_tasks("mail")

    for term, floor in ((7, 7), (3, 7)):
        assert first.ask(RaiseTaskFloors(floors=(("mail", term),))).done
        assert read(first).token("mail").floor == floor


def test_terms_of_a_deleted_task_go_on(team):
    """N2"""
    (first,) = team.members("a")
    team.with_tasks("mail")
    take(first, "mail")
    give(first, over("mail"))

    team.world.delete("mail")
    again = team.world.define(TaskDef(name="mail"))

    assert again.revision == 2
    assert take(first, "mail").taken == (("mail", 2),)


def test_a_deleted_task_is_seen_as_long_as_it_is_held(team):
    (first,) = team.members("a")
    team.with_tasks("mail")
    take(first, "mail")

    team.world.delete("mail")

    record = read(first)
    assert "mail" not in record.tasks
    assert record.tokens["mail"].session == first.session
    give(first, over("mail"))
    assert "mail" not in read(first).tokens


# --- giving back ----------------------------------------------------------------------------------


def test_a_released_token_is_free_and_keeps_its_term(team):
    first, second = team.members("a", "b")
    team.with_tasks("mail", "report")
    take(first, "mail", "report")

    assert give(first, over("mail")).done

    token = read(second).token("mail")
    assert (token.free, token.session, token.node, token.term) == (True, None, "a", 1)
    assert not read(second).token("report").free
    assert take(second, "mail").taken == (("mail", 2),)


@pytest.mark.parametrize("term", [0, 2])
def test_a_release_of_another_term_changes_nothing(team, term):
    (first,) = team.members("a")
    team.with_tasks("mail")
    take(first, "mail")
    before = read(first)

    give(first, over("mail", term, failed=True, done=True))

    assert read(first) == before


def test_a_release_by_another_session_changes_nothing(team):
    first, second = team.members("a", "b")
    team.with_tasks("mail")
    take(first, "mail")

    give(second, over("mail"))

    assert read(first).token("mail").session == first.session


def test_an_ended_session_releases_nothing(team):
    first, second = team.members("a", "b")
    team.with_tasks("mail")
    take(second, "mail")
    assert team.decide(team.end("b")).done

    assert not give(second, over("mail")).done
    assert read(first).token("mail").session == second.session


def test_a_task_that_failed_here_is_counted_until_the_node_joins_again(team):
    first, second = team.members("a", "b")
    team.with_tasks("mail")
    for term in (1, 2):
        version = read(first).version
        take(second, "mail")
        give(second, over("mail", term, failed=True))
        assert read(first).failures == {("mail", "b"): term}
        assert read(first).version == version + 1

    second.rejoin()

    assert read(first).failures == {}


def test_a_task_that_is_changed_has_failed_nowhere(team):
    (first,) = team.members("a")
    team.with_tasks("mail")
    take(first, "mail")
    give(first, over("mail", failed=True))

    team.world.define(TaskDef(name="mail", spec='{"command": ["true"]}'))

    assert read(first).failures == {}


def test_a_task_that_is_done_is_disabled(team):
    (first,) = team.members("a")
    team.with_tasks("mail")
    take(first, "mail")
    version = read(first).version

    give(first, over("mail", done=True))

    record = read(first)
    assert not record.tasks["mail"].enabled
    assert record.tasks["mail"].revision == 1
    assert record.version == version + 1
    assert take(first, "mail").taken == ()


def test_who_leaves_gives_everything_back(team):
    first, second = team.members("a", "b")
    team.with_tasks("mail", "report")
    take(second, "mail", "report")

    assert second.leave().done

    record = read(first)
    assert not record.nodes["b"].live
    assert [record.token(task).session for task in ("mail", "report")] == [None, None]


def test_the_observers_token_is_released_alone(team):
    (first,) = team.members("a")
    team.with_tasks("mail")
    take(first, "mail")

    answer = first.release(team.term)

    assert answer.done
    assert answer.view.token.session is None
    assert read(first).token("mail").session == first.session


# --- the record -----------------------------------------------------------------------------------


def test_a_definition_is_read_as_it_was_written(team):
    (first,) = team.join("a")
    defined = TaskDef(
        name="mail",
        enabled=False,
        nodes=("a", "b"),
        preferred="b",
        pinned=True,
        failover=False,
        failback=False,
        on_partition=OnPartition.CONTINUE,
        on_done=OnDone.FINISH,
        progress_s=2.5,
        stop_timeout_s=0.75,
    )

    team.world.define(defined)

    assert read(first).tasks == {"mail": defined}


def test_tasks_of_another_group_are_not_read(team, node):
    team.join("a")
    team.with_tasks("mail")

    other = node("a", group="billing", hosts_tasks=True)

    assert read(other).tasks == {}
    assert set(read(other).nodes) == {"a"}


def test_the_record_is_read_in_the_same_snapshot_as_the_view(team):
    (first,) = team.join("a")

    answer = first.ask(ReadGroup())

    assert answer.group.version == answer.view.group_version


# --- the observer ---------------------------------------------------------------------------------


def test_the_observer_sees_every_live_session(team):
    _, second, third = team.join("a", "b", "c")
    third.leave()

    seen = watched(second)

    assert set(seen) == {"a", "b"}
    assert seen["b"].session == second.session
    assert (seen["b"].liveness_s, seen["b"].heartbeat_s) == (6.0, 1.0)
    assert seen["b"].standing is PROMOTABLE
    before = seen["b"].beat
    second.beat()
    assert watched(second)["b"].beat == before + 1


def test_a_session_that_is_ended_makes_its_member_go_to_rehab(team):
    """H4: with the reason."""
    first, second = team.members("a", "b")

    assert team.decide(team.end("b", "no beat for 6 s")).done

    assert not second.beat().done
    assert not read(first).nodes["b"].live
    assert read(first).nodes["b"].standing is REHAB
    assert team.world.decisions()[-1] == ("b", "no beat for 6 s")


def test_a_decision_on_a_node_that_beat_again_is_left_out(team):
    first, second, third = team.members("a", "b", "c")
    ends = team.end("b"), team.end("c")
    second.beat()

    assert team.decide(*ends).done

    nodes = read(first).nodes
    assert (nodes["b"].live, nodes["c"].live) == (True, False)
    assert second.beat().done
    assert not third.beat().done


def test_decisions_that_hold_no_more_leave_the_version_alone(team):
    first, second = team.members("a", "b")
    end = team.end("b")
    second.beat()
    of_another_session = ChangeStanding(
        node="b", session=str(uuid.uuid4()), before=MEMBER, after=REHAB, reason="late"
    )
    before = read(first)

    assert not team.decide(end, of_another_session).done

    assert read(first) == before


def test_a_standing_is_changed_only_from_what_was_seen(team):
    first, second = team.members("a", "b")
    stale = ChangeStanding(
        node="b", session=second.session, before=PROMOTABLE, after=MEMBER, reason="x"
    )

    assert not team.decide(stale).done
    assert team.decide(team.standing("b", REHAB, "late again and again")).done

    assert read(first).nodes["b"].standing is REHAB
    assert team.world.decisions()[-1] == ("b", "late again and again")


def test_of_two_decisions_on_the_same_version_one_is_made(team):
    """H10: two observers at once decide once."""
    team.members("a", "b", "c")
    version = read(team.observer).version

    answers = [team.decide(team.standing(name, REHAB), version=version).done for name in ("b", "c")]

    assert answers == [True, False]


def test_who_does_not_hold_the_observers_token_decides_nothing(team):
    first, second = team.members("a", "b")
    end = team.end("a")

    answer = second.ask(
        Decide(
            session=second.session,
            term=team.term,
            version=read(first).version,
            decisions=(end,),
        )
    )

    assert not answer.done
    assert first.beat().done


def test_a_stale_observer_decides_nothing(team):
    """Its session was ended, and its token taken, while it was away."""
    _, second = team.members("a", "b")
    assert second.take(second.look()).done
    end = EndSession(node="b", session=second.session, beat=watched(second)["b"].beat, reason="x")

    assert not team.decide(end).done
    assert not team.decide(end, term=team.term + 1).done
    assert second.beat().done


def test_a_decision_of_an_earlier_term_is_not_made(team):
    """The same session held the token before, gave it back, and took it again."""
    first, _ = team.members("a", "b")
    old = team.term
    assert first.release(old).done
    team.term = first.win()
    end = team.end("b")

    assert not team.decide(end, term=old).done
    assert team.decide(end).done


def test_a_suspended_observer_decides_nothing(team):
    """H10"""
    first, _ = team.members("a", "b")
    team.world.suspend(suspended=True)
    assert read(first).suspended

    assert not team.decide(team.end("b")).done

    team.world.suspend(suspended=False)
    assert team.decide(team.end("b")).done


def test_the_policy_of_the_group_is_read_with_its_record(team):
    """B11"""
    first, second = team.members("a", "b")
    assert read(first).policy == NO_POLICY

    team.world.set_policy(TasksPolicy(to_member_s=1.5, late_max=0, late_within_s=20.0))

    known = TasksPolicy(to_member_s=1.5, late_max=0, late_within_s=20.0)
    assert [read(node).policy for node in (first, second)] == [known, known]
    team.world.set_policy(NO_POLICY)
    assert read(first).policy == NO_POLICY


def test_nothing_is_decided_on_a_policy_that_is_gone(team):
    """B11: it is part of the version that a decision rests on."""
    first, _ = team.members("a", "b")
    old = read(first).version
    to_rehab = team.standing("b", REHAB)
    team.world.set_policy(TasksPolicy(late_max=0))

    assert not team.decide(to_rehab, version=old).done


def test_nothing_is_decided_on_an_identity_that_is_not_settled(team):
    team.members("a", "b")
    end = team.end("b")
    team.world.unsettle()

    assert not team.decide(end).done


def test_an_observer_that_is_followed_has_its_session_ended_for_all_to_see(team):
    """Its own tasks are free by that, and everybody looks again."""
    first, second = team.members("a", "b")
    team.with_tasks("mail")
    take(first, "mail")
    before = read(second).version

    assert second.take(second.look()).done

    record = read(second)
    assert record.version == before + 1
    assert not record.nodes["a"].live
    assert record.token("mail").free
    assert take(second, "mail").taken == (("mail", 2),)


# --- what nodes say -------------------------------------------------------------------------------


def test_what_a_node_tells_changes_nothing_that_is_decided_on(team):
    (first,) = team.members("a")
    team.with_tasks("mail")
    take(first, "mail")
    assert tell(first, read(first).version).done
    before = read(first)
    told = (
        TaskReport(task="mail", state="running", term=1),
        TaskReport(task="mail", state="backing off", term=1, error="exit 3", note="task failed"),
        TaskReport(task="unknown", state="idle", term=1),
    )

    assert first.ask(ReportTasks(session=first.session, version=before.version, told=told)).done

    assert read(first) == before


def test_an_ended_session_tells_nothing_and_catches_up_with_nothing(team):
    first, second = team.members("a", "b")
    assert team.decide(team.end("b")).done

    assert not tell(second, 1).done
    assert not second.ask(caught_up(second, second)).done
    assert not read(first).nodes["b"].caught_up


def mentored(mentor: Node, pupil: Node) -> Answer:
    """Let a pupil say what it acts on, and its mentor say that this is enough."""
    version = read(mentor).version
    assert tell(pupil, version).done
    return mentor.ask(caught_up(mentor, pupil, version))


def test_the_first_node_of_a_group_catches_up_alone(team):
    """H6: there is no Member that could be its mentor; the version rises once."""
    (first,) = team.join("a")
    before = read(first).version

    for _ in range(2):
        assert first.ask(caught_up(first, first)).done

    assert read(first).nodes["a"].caught_up
    assert read(first).version == before + 1


def test_where_there_is_a_member_no_node_calls_itself_caught_up(team):
    """H6."""
    (first,) = team.members("a")
    (second,) = team.join("b")
    assert tell(second, read(first).version).done

    second.ask(caught_up(second, second))

    assert not read(first).nodes["b"].caught_up


def test_a_mentor_sees_a_pupil_caught_up_that_acts_on_the_record(team):
    """H6."""
    (first,) = team.members("a")
    (second,) = team.join("b")
    assert read(first).nodes["b"].seen_version == -1

    first.ask(caught_up(first, second, 0))
    assert not read(first).nodes["b"].caught_up
    assert mentored(first, second).done

    assert read(first).nodes["b"].caught_up


def test_what_an_earlier_session_has_seen_is_not_what_the_next_one_acts_on(team):
    """H6."""
    (first,) = team.members("a")
    (second,) = team.join("b")
    assert tell(second, read(first).version).done

    assert second.rejoin().done

    assert read(first).nodes["b"].seen_version == -1


def test_only_a_live_member_is_a_mentor_and_only_of_the_session_that_it_saw(team):
    """H6."""
    first, second = team.members("a", "b")
    (third,) = team.join("c")
    version = read(first).version
    assert tell(third, version).done
    assert team.decide(team.standing("b", REHAB)).done

    second.ask(caught_up(second, third, version))
    other = replace(caught_up(first, third, version), pupil_session=first.session)
    first.ask(other)

    assert not read(first).nodes["c"].caught_up


# --- who held what when the version was made (P2) ---


def test_a_version_goes_on_to_show_who_held_a_task_when_it_was_made(team):
    """P2: whatever is given back and taken in the meantime, whoever reads, and when."""
    first, second = team.members("a", "b")
    team.with_tasks("t", "free")
    take(first, "t")
    team.world.define(TaskDef(name="another"))
    version = read(second).version

    def shown() -> list[str | None]:
        record = read(second)
        assert record.version == version
        return [record.token(task).base_holder for task in ("t", "free")]

    assert shown() == ["a", None]
    give(first, over("t"))
    assert shown() == ["a", None]
    assert read(second).token("t").free
    take(second, "t", "free")
    assert shown() == ["a", None]
    give(second, over("free"))
    assert shown() == ["a", None]

    team.world.define(TaskDef(name="third"))

    record = read(first)
    assert [record.token(task).base_holder for task in ("t", "free")] == ["b", None]
    assert record.token("t").base_taken == version
    assert record.token("free").base_node == "b"


def test_giving_back_raises_no_version(team):
    """A task that is only given back is placed as before."""
    first, second = team.members("a", "b")
    team.world.define(TaskDef(name="stays", failback=False))
    take(first, "stays")
    before = read(second).version

    give(first, over("stays"))

    assert read(second).version == before


def test_what_a_dead_node_held_is_free_at_the_next_version(team):
    first, second = team.members("a", "b")
    team.with_tasks("t")
    take(second, "t")

    assert team.decide(team.end("b")).done

    token = read(first).token("t")
    assert (token.base_holder, token.base_node) == (None, "b")


def test_a_new_member_begins_a_spread_and_the_observer_ends_it(team):
    """P4"""
    first, second = team.members("a", "b")
    gained = read(first)
    assert gained.spread_version == gained.version
    ends = EndSpread(session=first.session, term=team.term, version=gained.version)

    assert not first.ask(replace(ends, version=gained.version - 1)).done
    assert not second.ask(replace(ends, session=second.session)).done
    assert first.ask(ends).done
    assert not first.ask(replace(ends, version=gained.version + 1)).done

    after = read(second)
    assert (after.version, after.spread_version) == (gained.version + 1, 0)
    assert team.decide(team.standing("b", REHAB)).done
    assert read(second).spread_version == 0


def test_a_change_of_standing_is_marked_with_its_version(team):
    """B10: also one that is undone before anybody looks again."""
    first, _ = team.members("a", "b")
    before = watched(first)["b"].standing_version

    assert team.decide(team.standing("b", REHAB)).done
    assert team.decide(team.standing("b", MEMBER)).done

    assert watched(first)["b"].standing_version == read(first).version > before


# --- two kinds of groups (P13) ---


def test_a_node_with_a_program_is_refused_by_a_group_that_spreads_tasks(team, connected):
    team.members("a")
    for _ in range(2):  # with live nodes, then with tasks alone
        refused = connected("p").join()
        assert not refused.done
        assert "spreads tasks" in refused.refused
        team.with_tasks("t")
        team.nodes["a"].leave()


def test_a_node_with_tasks_is_refused_by_a_group_that_runs_a_program(team, node, connected):
    holder = node("p")

    refused = connected("a", hosts_tasks=True).join()
    assert not refused.done
    assert "runs one program" in refused.refused

    holder.leave()
    (first,) = team.members("a")
    assert read(first).nodes["a"].hosts_tasks
    assert not read(first).nodes["p"].hosts_tasks


def test_a_node_tells_how_many_programs_it_may_run(team, node):
    """P12"""
    team.members("a")
    node("b", hosts_tasks=True, capacity=7)

    assert read(team.observer).nodes["b"].capacity == 7


# --- a suspended observer (B6) ---


def test_a_suspended_observer_is_not_followed_while_its_session_lives(team):
    """H10: its session would be ended, and its tasks would move."""
    _, second = team.members("a", "b")
    view = second.look()
    team.world.suspend(suspended=True)

    assert not second.take(view).done
    assert read(second).nodes["a"].live

    team.world.suspend(suspended=False)
    assert second.take(second.look()).done


def test_a_suspended_observer_that_leaves_is_followed(team):
    first, second = team.members("a", "b")
    team.world.suspend(suspended=True)

    first.leave()

    assert second.take(second.look()).done
