"""Tokens of tasks: only Members take them, and they change hands in the same two ways only."""

from __future__ import annotations

import uuid

import pytest

from coordinator.protocol.messages.group_record import (
    TaskDef,
)
from coordinator.protocol.messages.task_requests import (
    RaiseTaskFloors,
    WantedTask,
)
from tests.conformance.team import PROMOTABLE, REHAB, give, over, read, take, watched

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
