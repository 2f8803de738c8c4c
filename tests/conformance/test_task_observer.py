"""The observer's decisions, and the reports of nodes that they rest on."""

from __future__ import annotations

import uuid
from dataclasses import replace

from coordinator.protocol.messages.group_record import (
    NO_POLICY,
    TasksPolicy,
)
from coordinator.protocol.messages.task_requests import (
    ChangeStanding,
    Decide,
    EndSession,
    ReportTasks,
    TaskReport,
)
from tests.conformance.team import (
    MEMBER,
    PROMOTABLE,
    REHAB,
    caught_up,
    mentored,
    read,
    take,
    tell,
    watched,
)

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
