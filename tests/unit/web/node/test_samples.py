"""Metrics of a node, from its state and from what was read."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from coordinator.web.node import exposition
from coordinator.web.node.catalogue import METRICS, Kind
from coordinator.web.node.checks import Snapshot
from coordinator.web.node.samples import Figures, Gaps, Job, samples
from tests.unit.web.node.test_checks import HOLDER, STANDBY

FIGURES = Figures(
    round_trip_s=0.002,
    clock_offset_s=-0.5,
    leaderless_s=1.5,
    paused=True,
    standbys=2,
    beat_ages_s={"a": 0.25, "b": 7.0},
    takeovers={"first": 1, "takeover": 2},
    gaps=Gaps().with_one(0.04).with_one(6.5).with_one(400.0),
    jobs=(Job(name="orders", ok=9, failed=2, stopped=3, died=4, skipped=1, denied=5),),
)


def read(node, figures, now: float = 100.0) -> dict[tuple[str, ...], float]:
    """Return the values by name and labels, as a scraper reads them."""
    made = samples(Snapshot(node, 100.0, 100.0), figures, now, "1.2.3")
    reply = exposition.exposed(made, "", 7)
    assert reply.status == 200
    families = text_string_to_metric_families(reply.body.decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_holder_tells_of_itself_without_a_database():
    found = read(HOLDER, None)

    assert found == {
        ("coord_is_active", "orders", "a"): 1,
        ("coord_term", "orders", "a"): 7,
        ("coord_lease_remaining_seconds", "orders", "a"): 4,
        ("coord_node_info", "orders", "a", "1.2.3"): 1,
        ("coord_database_up", "orders", "a"): 0,
    }


def test_is_active_ends_with_trust_and_not_with_a_flag():
    """T4: the same snapshot, asked later."""
    assert read(HOLDER, None, now=103.9)["coord_is_active", "orders", "a"] == 1
    assert read(HOLDER, None, now=104.0)["coord_is_active", "orders", "a"] == 0


def test_a_standby_tells_of_its_group():
    found = read(STANDBY, FIGURES)

    assert found["coord_is_active", "orders", "a"] == 0
    assert found["coord_lease_remaining_seconds", "orders", "a"] == 0
    assert found["coord_database_up", "orders", "a"] == 1
    assert found["coord_group_leaderless_seconds", "orders"] == 1.5
    assert found["coord_group_paused", "orders"] == 1
    assert found["coord_standbys", "orders"] == 2
    assert found["coord_heartbeat_age_seconds", "orders", "b"] == 7.0
    assert found["coord_takeovers_total", "orders", "takeover"] == 2
    assert {key[-1]: value for key, value in found.items() if key[0] == "coord_job_runs_total"} == {
        "ok": 9,
        "failed": 2,
        "stopped": 3,
        "died": 4,
        "skipped": 1,
    }
    assert found["coord_gate_denied_total", "orders", "orders"] == 5
    assert found["coord_clock_offset_seconds", "orders", "a"] == -0.5


def test_a_gap_counts_in_each_bucket_above_it():
    found = read(STANDBY, FIGURES)

    def bucket(bound: str) -> float:
        return found["coord_takeover_gap_seconds_bucket", "orders", bound]

    assert [bucket(bound) for bound in ("0.05", "5.0", "10.0", "300.0", "+Inf")] == [1, 1, 2, 2, 3]
    assert found["coord_takeover_gap_seconds_count", "orders"] == 3
    assert found["coord_takeover_gap_seconds_sum", "orders"] == pytest.approx(406.54)


def test_an_overlap_is_no_gap():
    assert Gaps().with_one(-2.0) == Gaps().with_one(0.0)


def test_a_group_whose_nodes_have_left_waits_for_nobody():
    idle = replace(FIGURES, leaderless_s=None)

    assert read(STANDBY, idle)["coord_group_leaderless_seconds", "orders"] == 0


def test_every_metric_of_the_catalogue_is_given():
    made = samples(Snapshot(HOLDER, 100.0, 100.0), FIGURES, 100.0, "1.2.3")

    assert {each.metric for each in made} == set(METRICS)


def test_names_of_others_cannot_break_a_line():
    odd = replace(FIGURES, beat_ages_s={'a"} 1\n\\': 0.5})

    assert read(STANDBY, odd)["coord_heartbeat_age_seconds", "orders", 'a"} 1\n\\'] == 0.5


def test_a_client_that_accepts_openmetrics_gets_it():
    made = samples(Snapshot(HOLDER, 100.0, 100.0), FIGURES, 100.0, "1.2.3")
    reply = exposition.exposed(made, "application/openmetrics-text; version=1.0.0", 7)

    assert reply.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert reply.body.endswith(b"# EOF\n")


def test_without_the_extra_the_answer_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client.exposition", None)

    reply = exposition.exposed((), "", 7)

    assert reply.status == 501
    assert "pip install 'coord[metrics]'" in reply.body["error"]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_follows_the_conventions_of_prometheus(metric):
    assert re.fullmatch(r"coord_[a-z_]+[a-z]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert len({each.name for each in METRICS}) == len(METRICS)
