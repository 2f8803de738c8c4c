"""The counts and judgements of the benchmarks of many nodes and tasks, on figures made by hand."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict

import pytest

from bench import fleet, swarm
from bench.page import goals, report_scale
from bench.page.goals import Line
from bench.parts.scale import bottleneck, cores_for, end_of, nodes_for
from bench.parts.tasks import death_of
from tests.support.nodes.task_scale import Outcome


def step(asked_per_s: float, on_time: float = 1.0, **more: float) -> dict[str, float]:
    made = {"asked_per_s": asked_per_s, "on_time": on_time, "beats_per_s": asked_per_s}
    made |= {"server_cores": 0.3, "swarm_cores": 0.4, "wait_p99_s": 0.01, "trip_p99_s": 0.02}
    return {**made, "delay_p99_s": 0.03, **more}


def death(**changes: float) -> dict[str, float]:
    made = {"taken_s": 0.9, "moved_others": 0, "overlaps": 0, "own": 51}
    return {**made, **changes}


def line(found: dict, what: str) -> Line:
    return next(line for line in goals.table(found) if what in line.what)


def judged(*deaths: dict) -> Line:
    return line({"tasks": {"deaths": list(deaths)}}, "1,000 tasks")


# --- arithmetic -------------------------------------------------------------------------------


def test_half_a_millisecond_a_beat_is_half_a_core_for_a_thousand_nodes():
    assert cores_for(0.5, 1000, 1.0) == pytest.approx(0.5)
    assert cores_for(0.5, 1000, 2.0) == pytest.approx(0.25)


def test_one_core_at_half_a_millisecond_carries_two_thousand_nodes():
    assert nodes_for(0.5, 1, 1.0) == pytest.approx(2000)
    assert nodes_for(0.5, 1, 3.0) == pytest.approx(6000)
    assert cores_for(0.5, 2000, 1.0) == pytest.approx(1)


def test_a_beat_is_on_time_within_half_a_heartbeat():
    assert fleet.on_time_share([0.1, 0.25, 0.26, 0.9], heartbeat_s=0.5) == 0.5
    assert fleet.on_time_share([0.1, 0.25, 0.26, 0.9], heartbeat_s=1.0) == 0.75


def test_a_swarm_that_beats_not_at_all_is_not_on_time():
    assert fleet.on_time_share([], heartbeat_s=1.0) == 0.0


def test_the_end_is_between_the_last_that_held_and_the_first_that_did_not():
    steps = [step(500), step(1000, 0.99), step(2000, 0.989), step(1500)]

    assert end_of(steps) == (1500, 2000)


def test_what_held_above_the_first_failure_does_not_count():
    assert end_of([step(500), step(1000, 0.5), step(2000)]) == (500, 1000)


def test_an_end_that_was_not_met_is_not_made_up():
    assert end_of([step(500), step(1000)]) == (1000, None)
    assert "above 1000" in report_scale.ending([step(500), step(1000)], 2)


def test_a_full_machine_is_the_bottleneck_and_the_larger_part_is_named():
    assert "swarm uses most" in bottleneck(step(1, server_cores=0.6, swarm_cores=1.2), 2)
    assert "server uses most" in bottleneck(step(1, server_cores=1.2, swarm_cores=0.6), 2)


def test_with_cores_to_spare_the_bottleneck_is_where_beats_waited():
    assert bottleneck(step(1, wait_p99_s=0.9, trip_p99_s=0.1), 2).startswith("the swarm")
    assert bottleneck(step(1, wait_p99_s=0.1, trip_p99_s=0.9), 2).startswith("the server")


# --- shards, and the statement ----------------------------------------------------------------


def test_every_node_of_a_group_has_the_same_shard_and_both_shards_are_used():
    groups = [swarm.group_of("g", number, 10) for number in range(1000)]
    shards = {group: swarm.shard_of(group, 2) for group in groups}

    assert len(shards) == 100
    assert groups.count("g-7") == 10
    assert 35 <= sum(shards.values()) <= 65


# --- judging ----------------------------------------------------------------------------------


def size_of(nodes: int, **changes: float) -> dict[str, float]:
    return {"nodes": nodes, "on_time": 1.0, "server_cores": 0.5, "server_cpu_ms": 0.5, **changes}


def idle_cost(*cpu_ms: float) -> Line:
    sizes = {f"nodes_{n}": defaultdict(float, cpu_ms=cost) for n, cost in enumerate(cpu_ms)}
    return line({"idle": sizes}, "from 10 to 500 nodes")


def test_a_beat_that_gets_cheaper_with_more_nodes_is_what_we_want():
    assert idle_cost(1.9, 0.7, 0.5).held is True
    assert idle_cost(1.0, 1.2, 0.5).held is True
    assert idle_cost(1.0, 0.5, 1.21).held is False


def test_a_goal_that_is_not_held_says_why_where_that_is_known():
    sizes = {"nodes_10": defaultdict(float, ratio_cpu_ms=1.6)}
    cost = line({"idle": sizes}, "server CPU of a beat")

    assert cost.held is False
    assert "ADR 13" in cost.why
    assert line({"idle": {"nodes_10": defaultdict(float)}}, "server CPU of a beat").why == ""


def shapes_cost(ratio: float) -> Line:
    return line({"idle": {"shapes": {"500": ratio}}}, "as many nodes in groups of 10")


def test_one_large_group_costs_what_many_small_ones_do():
    assert shapes_cost(1.2).held is True
    assert shapes_cost(1.2).measured == "1.20 (500 nodes)"
    assert shapes_cost(1.21).held is False
    assert shapes_cost(0.79).held is False
    assert line({"idle": {}}, "as many nodes in groups of 10").held is None


def test_a_thousand_tasks_hold_when_the_slowest_run_is_within_a_second():
    assert judged(death(), death(taken_s=1.0)).held is True
    assert judged(death(), death(taken_s=1.01)).held is False


def test_one_other_task_that_moved_or_ran_twice_is_too_many():
    assert judged(death(), death(moved_others=1)).held is False
    assert judged(death(overlaps=1), death()).held is False


def test_what_was_not_measured_is_not_judged():
    assert line({}, "1,000 tasks").held is None
    assert line({}, "1,000 nodes").held is None


@pytest.mark.parametrize(
    ("nodes", "share", "held"), [(1000, 0.99, True), (1000, 0.98, False), (50, 1.0, None)]
)
def test_a_thousand_nodes_are_judged_by_a_thousand_nodes(nodes, share, held):
    at = size_of(nodes, on_time=share)
    shapes = {"one group": [at], "groups of 10": [{**at, "on_time": 1.0}]}

    assert line({"scale": {"shapes": shapes}}, "1,000 nodes").held is held


@pytest.mark.parametrize(
    ("took_s", "span_s", "none", "held"),
    [(3.0, 0.0, 0, True), (3.61, 0.0, 0, False), (3.0, 0.11, 0, False), (3.0, 0.0, 1, False)],
)
def test_a_paused_machine_is_judged_by_its_successor_and_by_its_thaw(took_s, span_s, none, held):
    after = {"n": 30, "p50": 2.8, "max": took_s}
    cell = {"after": after, "overlaps": 4, "runs": 30, "late_lines_max": 1, "none": none}
    cells = {"coord": {"faults": {"pause": {**cell, "overlap_s_max": span_s}}}}

    assert line({"failover": {"cells": cells}}, "SIGSTOP of all").held is held


def test_a_task_that_moved_and_was_not_the_dead_nodes_is_counted():
    outcome = Outcome(
        fullest=1.1,
        own=frozenset("ab"),
        moved=frozenset("abc"),
        taken_s=0.8,
        returned=frozenset("a"),
        displaced=frozenset("b"),
        overlaps=0,
    )

    found = death_of(outcome)

    assert (found["own"], found["moved_others"]) == (2, 1)
    assert (found["returned"], found["returned_others"], found["displaced"]) == (1, 0, 1)


# --- the page ---------------------------------------------------------------------------------


FIGURES = (
    "server_cpu_ms",
    "server_cores",
    "swarm_cores",
    "wal_bytes",
    "statements_per_beat",
    "commits_per_beat",
    "hot_share",
    "server_pss_mib",
    "beats_per_s",
    "on_time",
    "delay_p50_s",
    "delay_p99_s",
    "wait_p99_s",
    "joins_s",
)


def size(nodes: int) -> dict:
    counts = {"nodes": nodes, "connections": nodes, "join_failures": 0, "failures": 0}
    return {**dict.fromkeys(FIGURES, 0.5), **counts}


def measured() -> dict:
    alone = {"clients": 32, "beats_per_s": 9000.0, "server_cores": 1.0}
    alone |= {"server_cpu_ms": 0.1, "client_cores": 0.1}
    return {
        "heartbeat_s": 1.0,
        "liveness_s": 30.0,
        "cores": 2,
        "shapes": {"one group": [size(10), size(1000)], "groups of 10": [size(10), size(1000)]},
        "end": {"nodes": 500, "steps": [step(500), step(1000, 0.9, wait_p99_s=0.8)]},
        "alone": alone,
        "two": {**size(1000), "servers": [size(480), size(520)]},
    }


def test_the_page_says_where_it_ended_and_what_a_thousand_nodes_cost():
    page = "\n".join(report_scale.scale({"scale": measured()}, "benchmarks"))

    assert "500 beats/s were on time, and 1000 were not. The swarm: beats are sent late." in page
    assert "1,000 nodes cost\n0.50 cores of a server" in page
    assert "used up by 2000 nodes" in page


def test_the_curves_can_be_drawn():
    for svg in report_scale.curves({"scale": measured()}).values():
        assert ET.fromstring(svg).tag.endswith("svg")


def test_nothing_is_written_about_what_was_not_measured():
    assert list(report_scale.scale({}, "benchmarks")) == []
    assert list(report_scale.tasks({})) == []
    assert report_scale.curves({}) == {}
