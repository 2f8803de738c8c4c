"""Verdict of the page: level and words."""

from __future__ import annotations

import pytest

from coordinator.app.admin.page.verdict import CRITICAL, IDLE, OK, WARNING, Sentence, judge
from coordinator.app.admin.status import Wait
from tests.unit.cli.test_fitting import node
from tests.unit.cli.test_status_tables import active, group

ACTIVE = active("orders", term=8, since_age_s=840.0)
STANDBY = node("node-2", "web-2")


def test_an_active_group_names_its_node_term_and_time():
    found = judge(active("orders", nodes=(*ACTIVE.nodes, STANDBY), term=8, since_age_s=840.0))

    assert found == Sentence(OK, "node-1 is active, term 8, 14m; 1 standby ready")


def test_an_active_group_without_a_standby_is_a_warning():
    found = judge(ACTIVE)

    assert found.level == WARNING
    assert found.text == "node-1 is active, term 8, 14m; no other node could take over"


def test_a_group_that_lost_its_node_says_for_how_long_and_what_is_expected():
    lost = group("orders", state="leaderless", leaderless_s=3.2, nodes=(STANDBY,))

    assert judge(lost, 0.8) == Sentence(
        CRITICAL, "nobody has been active for 3.2 s; a takeover is expected in 0.8 s"
    )
    assert judge(lost, -1.0).text.endswith("a takeover is expected now")
    assert judge(lost).text == "nobody has been active for 3.2 s"


@pytest.mark.parametrize(
    ("changed", "level", "words"),
    [
        ({"nodes": ()}, CRITICAL, "; no live node may take over"),
        ({"paused": "pause work by ana"}, WARNING, ": pause work by ana"),
        (
            {"wait": Wait(timeline=2, why="failover", left_s=4.0)},
            CRITICAL,
            "; timeline 2 of the database is not settled yet, 4.0 s left",
        ),
        (
            {"end_reason": "crash loop: exit code 1", "next_start_s": 3.0},
            CRITICAL,
            "; crash loop: exit code 1; started again in 3.0 s",
        ),
    ],
)
def test_a_leaderless_group_says_what_is_in_the_way(changed, level, words):
    fields = {"state": "leaderless", "leaderless_s": 5.0, "nodes": (STANDBY,)} | changed

    found = judge(group("orders", **fields), 1.0)

    assert found == Sentence(level, f"nobody has been active for 5.0 s{words}")


def test_a_group_without_a_live_node_that_gave_its_token_back_is_idle():
    found = judge(group("orders", state="idle", last_holder="node-1", term=3, since_age_s=7200.0))

    assert found == Sentence(IDLE, "no live node; the last active one was node-1, term 3, 2h ago")


def test_a_task_group_is_about_its_observer():
    found = judge(
        group("orders", state="leaderless", leaderless_s=2.0, hosts_tasks=True, nodes=(STANDBY,))
    )

    assert found.text == "nobody has observed for 2.0 s"
