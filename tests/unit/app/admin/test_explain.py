"""`coord explain`: each situation has its sentences, and the time of the next change."""

from __future__ import annotations

import pytest

from coordinator.app.admin.explain.facts import ScheduleFact, SuspensionFact, WaitFact
from coordinator.app.admin.explain.outage import while_away, wrong_schema
from coordinator.app.admin.explain.program import explain_program
from coordinator.app.admin.explain.tasks import explain_task, explain_tasks
from coordinator.protocol.rules.restarts import CRASH_LOOP, RETIRED
from tests.unit.app.admin.situations import (
    dead,
    gave_back,
    group,
    left,
    node,
    on_node,
    planned,
    released,
    task,
    task_group,
    term,
    token,
)

LOOP = f"{CRASH_LOOP}: 5 quick ends in a row, the last with exit code 1"

# --- a group of one program ---------------------------------------------------------------------


def test_a_holder_is_told_with_the_cause_its_trust_and_who_is_next() -> None:
    """R4: the standby with the higher priority goes first."""
    facts = group(
        node("node-1"),
        node("node-2"),
        node("node-3", priority=5, where="web-3:97"),
        terms=(term(),),
    )

    found = explain_program(facts)

    assert found.state == "active"
    assert found.sentences == (
        "orders: node-1 is active, term 3, since 13:48:04Z (14m).",
        "It took the token because the session of node-2 was over (no heartbeat of node-2 for"
        " 6.12 s); nobody was active for 6.41 s before.",
        "Its last heartbeat is 0.3 s old, and it is trusted for 4.4 s more without another one.",
        "If it ends, node-3 (web-3:97) is the next to take the token, then node-2.",
    )


def test_a_lease_that_is_not_over_is_told_with_the_stop_and_the_takeover() -> None:
    facts = group(node("node-1", state="late", beat_age_s=3.5), node("node-2"))

    said = explain_program(facts).sentences[1]

    assert said == (
        "Its last heartbeat is 3.5 s old, and one is due every 1 s. If no other one comes, its"
        " program is stopped in 1.2 s, and another node may take the token in 2.5 s."
    )


def test_a_takeover_that_is_due_is_told_with_its_latest_moment() -> None:
    """Liveness: one interval, one heartbeat and 0.1 s after the last heartbeat."""
    found = explain_program(group(dead("node-1", 6.4), node("node-2")))

    assert (found.state, found.expected_s) == ("leaderless", pytest.approx(0.7))
    assert found.sentences == (
        "orders: nobody has been active since 14:01:57Z (6.4 s).",
        "The last holder, node-1, term 3, sent its last heartbeat 6.4 s ago; its"
        " livenessCheckInterval is 6 s.",
        "The lease of node-1 is over, so its program is stopped. node-2 waits until it has been"
        " silent for the whole 6 s, and takes the token in 0.7 s at the latest.",
    )


def test_a_standby_that_has_just_joined_watches_for_a_whole_interval() -> None:
    """O1: it has seen nothing before its own first reading."""
    found = explain_program(group(dead("node-1", 60.0), node("node-2", joined_age_s=2.0)))

    assert found.expected_s == pytest.approx(6.0 - 2.0 + 1.1)


def test_a_takeover_that_is_long_overdue_has_something_in_its_way() -> None:
    found = explain_program(group(dead("node-1", 60.0), node("node-2")))

    assert found.expected_s is None
    assert found.sentences[-1].startswith("The takeover by node-2 is due for 52.9 s: something")


def test_a_group_without_a_node_waits_for_one() -> None:
    facts = group(
        left("node-1", 7200.0, "SIGTERM"),
        token=released(7200.0),
        terms=(gave_back(3, "node-1", 7200.0, "SIGTERM"),),
    )

    found = explain_program(facts)

    assert (found.state, found.expected_s) == ("idle", None)
    assert found.sentences == (
        "orders: nobody has been active since 12:02:04Z (2h).",
        "The last holder, node-1, gave term 3 back: SIGTERM.",
        "No node of the group lives: node-1 was the last one that left, 2h ago (SIGTERM).",
        "Nothing happens until a node is started: `coord run -g orders`.",
    )


def test_a_group_whose_only_node_is_silent_is_an_outage() -> None:
    found = explain_program(group(dead("node-1", 20.0)))

    assert found.state == "leaderless"
    assert found.sentences[2:] == (
        "No node of the group lives.",
        "Nothing happens until a node is started: `coord run -g orders`.",
    )


def test_nodes_that_never_take_the_token_are_named() -> None:
    facts = group(
        node("node-2", priority=0),
        node("node-3", priority=0),
        token=token(None, term=0, held=False),
    )

    found = explain_program(facts)

    assert (found.state, found.expected_s) == ("leaderless", None)
    assert found.sentences == (
        "orders: nobody is active.",
        "Nobody has ever held the token.",
        "node-2 and node-3 live, but all have priority 0 and never take the token: start a node"
        " with a higher priority.",
    )


def test_a_crash_loop_is_told_with_its_next_start() -> None:
    facts = group(node("node-1"), token=released(2.0), terms=(gave_back(3, "node-1", 2.0, LOOP),))

    found = explain_program(facts)

    assert found.expected_s == pytest.approx(4.0)
    assert found.sentences[1:] == (
        f"The last holder, node-1, gave term 3 back: {LOOP}.",
        "node-1 is in a crash loop: it takes the token and starts its program again in 4.0 s, for"
        " no other live node may.",
    )


def test_a_program_that_crashes_on_every_node_starts_where_it_crashed_first() -> None:
    facts = group(
        node("node-1"),
        node("node-2"),
        token=released(1.0, "node-2"),
        terms=(gave_back(4, "node-2", 1.0, LOOP), gave_back(3, "node-1", 4.5, LOOP)),
    )

    found = explain_program(facts)

    assert found.expected_s == pytest.approx(1.5)
    assert "node-1 is in a crash loop" in found.sentences[-1]
    assert "in 1.5 s before any other node." in found.sentences[-1]


def test_a_crash_loop_of_one_node_leaves_the_token_to_another() -> None:
    facts = group(
        node("node-1"),
        node("node-2"),
        token=released(0.2),
        terms=(gave_back(3, "node-1", 0.2, LOOP),),
    )

    assert explain_program(facts).sentences[-1] == (
        "The token is free: node-2 takes it within a heartbeat."
    )


def test_a_node_that_never_takes_the_token_again_has_to_be_restarted() -> None:
    why = f"the program ended (exit code 0): {RETIRED}"
    facts = group(node("node-1"), token=released(60.0), terms=(gave_back(3, "node-1", 60.0, why),))

    found = explain_program(facts)

    assert found.expected_s is None
    assert found.sentences[-1] == ("node-1 does not take the token again by itself: restart it.")


def test_a_branch_that_is_not_settled_is_told_with_the_rest_of_its_wait() -> None:
    """E2: free tokens are not taken either."""
    wait = WaitFact(timeline=2, why="failover", left_s=3.25)
    found = explain_program(group(node("node-1"), token=released(30.0), wait=wait))

    assert found.expected_s == 3.25
    assert found.sentences[-1] == (
        "No node takes the token yet: the database is on timeline 2, after a failover or a"
        " restore, which may have lost the last commits; a program that an earlier grant started"
        " may still run; 3.2 s are left."
    )


def test_a_schedule_is_told_with_its_next_and_its_last_run() -> None:
    schedule = ScheduleFact(due_s=12.0, fired_age_s=48.0, outcome="ok", ended=False, end_reason="")

    found = explain_program(group(node("node-1"), schedule=schedule))

    assert found.expected_s == 12.0
    assert found.sentences[-2:] == (
        "The next run is due in 12.0 s.",
        "The last run began 48.0 s ago: ok.",
    )


def test_a_row_of_the_holder_that_was_removed_does_not_stop_the_others() -> None:
    found = explain_program(group(node("node-2")))

    assert found.sentences[1] == "Term 3 is held by node-1, whose row was removed."


def test_a_pause_of_work_is_told_with_who_why_and_its_end() -> None:
    """A2: nobody takes the token of a program until it has ended."""
    pause = planned("pause work", by="ana", reason="deploy 4711", until_s=1500.0)
    facts = group(node("node-1"), token=released(600.0), planned=(pause,))

    found = explain_program(facts)

    assert (found.state, found.expected_s) == ("leaderless", 1500.0)
    assert found.sentences[-1] == (
        "The group has been paused since 13:52:04Z (10m), asked for by ana (deploy 4711): nobody"
        " runs its program or its tasks, until it ends in 25m, or `coord resume orders`."
    )


def test_a_pause_of_takeovers_is_told_beside_the_active_node() -> None:
    """A3: the holder goes on."""
    found = explain_program(
        group(node("node-1"), node("node-2"), planned=(planned("pause takeovers"),))
    )

    assert found.state == "active"
    assert found.sentences[-1] == (
        "The group has been paused since 13:52:04Z (10m): nobody takes a token, whatever happens to"
        " its holder, until `coord resume orders`."
    )


def test_a_switchover_and_a_drain_are_told_and_a_drained_node_takes_nothing() -> None:
    """A7"""
    plans = (
        planned("switchover", node="node-3", due_s=90.0, by="ana"),
        planned("drain", node="node-2"),
    )
    said = explain_program(
        group(node("node-1"), node("node-2"), node("node-3"), planned=plans)
    ).sentences

    assert "A switchover to node-3 is due in 2m, asked for by ana." in said
    assert said[-1] == "If it ends, node-3 is the next to take the token."


@pytest.mark.parametrize(
    "plan",
    [
        planned("pause work", open_s=40.0),
        planned("drain", node="node-1", open_s=40.0),
        planned("resign", node="node-1", open_s=40.0),
        planned("switchover", node="node-2", open_s=40.0),
        planned("switchover", open_s=40.0),
    ],
)
def test_a_program_that_does_not_end_is_told_where_a_change_waits_for_it(plan) -> None:
    """G4, A1: a process that cannot be killed keeps the token where it is."""
    nodes = node("node-1"), node("node-2")

    assert explain_program(group(*nodes, planned=(plan,))).sentences[-1] == (
        "node-1 was to give the token up 40.0 s ago, and has not: its program has not ended. After"
        " its stopTimeout it is killed. If that is over, too, a process of it cannot be killed, for"
        " it belongs to another user or is stuck on a disk: the log of node-1 names it. Until it is"
        " gone the token is kept, and nobody else starts."
    )


@pytest.mark.parametrize(
    "plan",
    [
        planned("pause work", open_s=2.0),
        planned("pause takeovers", open_s=40.0),
        planned("drain", node="node-2", open_s=40.0),
        planned("resign", node="node-2", open_s=40.0),
        planned("switchover", node="node-2", due_s=90.0),
        planned("switchover", node="node-1", open_s=40.0),
    ],
)
def test_a_change_that_asks_nothing_of_the_holder_yet_is_no_program_that_does_not_end(plan) -> None:
    found = explain_program(group(node("node-1"), node("node-2"), planned=(plan,)))

    assert not [said for said in found.sentences if "was to give the token up" in said]


# --- a group that spreads tasks -----------------------------------------------------------------


def test_a_task_group_is_told_by_its_observer_and_what_waits() -> None:
    facts = task_group(node("node-1"), node("node-2", standing="rehab", caught_up=False))
    tasks = (
        task("archive", state="running", node="node-1", responsible="node-1", why="holds it"),
        task("probe", why="waits for node-4 (pinned)", alert=True),
    )

    found = explain_tasks(facts, tasks)

    assert found.sentences == (
        "night: node-1 observes, term 3, since 13:48:04Z (14m).",
        "node-1 is a live Member.",
        "node-2 is in Rehab, and has not caught up with the record yet.",
        "Of 2 tasks 1 running and 1 waiting.",
        "probe is waiting: nobody should run it, waits for node-4 (pinned).",
    )


def test_a_task_that_is_pinned_to_a_dead_node_waits_for_it() -> None:
    """P6: nobody else ever runs it."""
    facts = task_group(node("node-1"), dead("node-4", 300.0))
    probe = task(
        "probe", why="waits for node-4 (pinned)", alert=True, preferred="node-4", pinned=True
    )

    found = explain_task(facts, probe)

    assert (found.state, found.expected_s) == ("waiting", None)
    assert found.sentences == (
        "night/probe: waiting since 14:01:04Z (1m).",
        "Nobody should run it: waits for node-4 (pinned).",
        "node-4 is silent for 5m: start it again; no other node runs it meanwhile.",
    )


def test_a_task_without_room_names_the_nodes_that_are_full() -> None:
    """P12: no node is given more than its capacity."""
    full = node("node-1", held_count=2, capacity=2)
    why = "no room: the one live Member may run no more programs"

    found = explain_task(task_group(full), task(why=why, alert=True))

    assert found.sentences[1:] == (
        f"Nobody should run it: {why}.",
        "node-1 runs 2 of 2. Add a node, or raise the limit of processes of one: its capacity"
        " follows from that.",
    )


def test_a_task_of_a_silent_node_moves_after_the_observers_wait() -> None:
    """B4: the session is ended first, after its own interval."""
    facts = task_group(node("node-1"), dead("node-2", 6.5))
    stuck = task(
        state="stuck", node="node-2", term=5, responsible="node-1", why="fewest tasks of 1"
    )

    found = explain_task(facts, stuck)

    assert found.expected_s == pytest.approx(0.5)
    assert found.sentences[-1] == (
        "node-2 is silent for 6.5 s: the observer, node-1, ends its session in 0.5 s. node-1"
        " should run it then: fewest tasks of 1."
    )


def test_a_suspended_observer_is_told_with_who_and_why() -> None:
    """B6: while it is suspended no session is ended."""
    suspension = SuspensionFact(age_s=600.0, by="ana", reason="deploy 4711")
    facts = task_group(node("node-1"), dead("node-2"), suspension=suspension)

    said = explain_task(facts, task(state="stuck", node="node-2")).sentences[-1]

    assert said == (
        "The observer has been suspended since 13:52:04Z (10m) by ana (deploy 4711): until `coord"
        " observer resume -g night` no session is ended, and no task of a dead node is taken over."
    )


def test_a_task_that_failed_everywhere_starts_again_after_its_pause() -> None:
    """D7: it goes round, and begins anew when it has failed on all alike."""
    facts = task_group(node("node-1"))
    failed = on_node("node-1", failed_count=2, last_error="exit code 3")
    looping = task(since_s=2.0, responsible="node-1", why="fewest tasks of 1", nodes=(failed,))

    found = explain_task(facts, looping)

    assert found.expected_s == pytest.approx(4.0)
    assert found.sentences[1:] == (
        "node-1 should run it: fewest tasks of 1. It is in a crash loop there, and node-1 starts"
        " it again in 4.0 s.",
        "On node-1 it failed 2 times: exit code 3.",
    )


def test_a_disabled_task_is_told_with_its_reason_and_how_to_enable_it() -> None:
    found = explain_task(
        task_group(node("node-1")), task("once", state="disabled", end_reason="done")
    )

    assert found.sentences == (
        "night/once: disabled since 14:01:04Z (1m).",
        "It is disabled (done), and runs nowhere until `coord task enable once -g night`.",
    )


# --- the database ------------------------------------------------------------------------------


def test_an_outage_is_told_with_the_lease_and_the_return() -> None:
    """T1: an interval of 11 s gives a lease of 8.8 s."""
    said = while_away("db:5432: connection refused", 11.0)

    assert said[0] == "Nobody can tell who is active: db:5432: connection refused."
    assert "at most 8.8 s after the last heartbeat that was acknowledged" in said[1]
    assert "else 11 s after a node has seen it first" in said[2]


def test_a_schema_that_is_too_old_is_told_with_what_goes_on() -> None:
    said = wrong_schema("schema 'app' is at 0000")

    assert said[0] == "Nobody of this version can run: schema 'app' is at 0000."
    assert "`coord db upgrade`" in said[1]
