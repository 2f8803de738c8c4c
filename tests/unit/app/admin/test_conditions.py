"""Conditions of `coord wait`, and verdicts of `coord check`."""

from __future__ import annotations

import pytest

from coordinator.app.admin.conditions import Level, condition_of, verdict_of, worst
from coordinator.app.admin.status import Wait
from coordinator.errors import UsageError
from tests.unit.app.test_planned_lines import line
from tests.unit.cli.test_fitting import node
from tests.unit.cli.test_status_tables import active, group

TWO = active("orders", term=8, beat_age_s=0.25)
STANDBY = node("node-2", "web-2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("active", True),
        ("leaderless", False),
        ("idle", False),
        ("standby", False),
        ("holder=node-1", True),
        ("holder=node-2", False),
        ("holder!=node-2", True),
        ("holder!=node-1", False),
        ("term>7", True),
        ("term>8", False),
        ("term>=8", True),
        ("term<9", True),
        ("term<=7", False),
        ("term=8", True),
    ],
)
def test_a_condition_is_judged_by_the_group(text: str, expected: bool) -> None:
    assert condition_of(text)(TWO) is expected


def test_nobody_is_not_another_holder() -> None:
    assert not condition_of("holder!=node-2")(group("orders"))


@pytest.mark.parametrize("text", ["", "paused?", "holder=", "term>", "term>x", "term", "active "])
def test_another_text_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match="holder=NODE"):
        condition_of(text)


def test_a_group_with_a_standby_is_ok() -> None:
    found = verdict_of(active("orders", nodes=(*TWO.nodes, STANDBY), term=8, beat_age_s=0.25))

    assert found.level is Level.OK
    assert found.text == "orders: node-1 is active, term 8; 1 standby"
    assert found.figures == ("standbys=1", "term=8", "heartbeat_age=0.250s")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "and no other node could take over"),
        ({"nodes": (*TWO.nodes, node("node-2", "w", priority=0))}, "no other node could take over"),
        (
            {"nodes": (*TWO.nodes, STANDBY), "planned": (line(kind="drain", node="node-2"),)},
            "no other node could take over",
        ),
        ({"nodes": (node("node-1", "w", state="late"), STANDBY)}, "its heartbeat is late"),
        (
            {
                "nodes": (*TWO.nodes, STANDBY),
                "wait": Wait(timeline=2, why="failover", left_s=1.0),
            },
            "timeline 2 is not settled",
        ),
    ],
)
def test_a_group_that_a_failure_would_stop_is_a_warning(changed: dict, words: str) -> None:
    found = verdict_of(active("orders", **changed))

    assert found.level is Level.WARNING
    assert words in found.text


def test_a_group_without_an_active_node_is_critical() -> None:
    found = verdict_of(group("orders", state="leaderless", leaderless_s=3.5))

    assert found.level is Level.CRITICAL
    assert found.text == "orders: nobody is active (term 3)"
    assert "leaderless=3.500s" in found.figures


def test_the_worst_of_several_groups_is_told_with_what_is_wrong() -> None:
    good = verdict_of(active("orders", nodes=(*TWO.nodes, STANDBY)))
    found = worst([good, verdict_of(group("reports"))])

    assert found.level is Level.CRITICAL
    assert found.text == "reports: nobody is active (term 3)"
    assert found.figures == ("groups=2", "bad=1")
    assert worst([good, good]).text == "2 groups are active"
