"""The record of a task group: standings, versions, definitions, and who held what."""

from __future__ import annotations

import uuid
from dataclasses import replace

from coordinator.protocol.messages.group_record import (
    OnDone,
    OnPartition,
    TaskDef,
    TasksPolicy,
)
from coordinator.protocol.messages.task_requests import (
    EndSpread,
    ReadGroup,
)
from tests.conformance.team import (
    MEMBER,
    PROMOTABLE,
    REHAB,
    caught_up,
    give,
    mentored,
    over,
    read,
    take,
    watched,
)

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


# --- who held what when the version was made (P2) ---


def test_a_version_goes_on_to_show_who_held_a_task_when_it_was_made(team):
    """P2: tokens that are given back or taken meanwhile change nothing, for every reader."""
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
