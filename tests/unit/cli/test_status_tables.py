"""`coord status`: live groups first, the last holder of others, and what is due in them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group

from coordinator.app.admin.status import GroupLine, NodeLine, Server, Status, Wait
from coordinator.cli.render.status_tables import IDLE_SHOWN_MAX, shown_first, status_parts
from coordinator.cli.shared import TimeStyle
from tests.unit.cli.test_fitting import node

SERVER = Server(
    label="db",
    scope="server",
    revision="0001",
    server_time=datetime(2026, 11, 30, 11, 0, tzinfo=UTC),
    round_trip_s=0.001,
)


def group(name: str, *nodes: NodeLine, **changed: Any) -> GroupLine:
    line = GroupLine(
        group=name,
        state="idle",
        holder=None,
        term=3,
        since=SERVER.server_time,
        since_age_s=3600.0,
        standby_count=0,
        beat_age_s=None,
        lease_left_s=None,
        leaderless_s=None,
        wait=None,
        nodes=nodes,
        last_holder="node-1",
    )
    return replace(line, **changed)


def active(name: str, **changed: Any) -> GroupLine:
    live = node("node-1", "web-1", role="active")
    return group(name, live, **({"state": "active", "holder": "node-1"} | changed))


def said(*groups: GroupLine, name: str | None = None, width: int = 200) -> list[str]:
    status = Status(server=SERVER, groups=groups)
    screen = Console(width=width, color_system=None)
    with screen.capture() as captured:
        screen.print(Group(*status_parts(status, name, TimeStyle.AGO, everything=False)))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_groups_without_a_live_node_stand_below_the_others_and_are_counted() -> None:
    idle = [group(f"a{number:02}", since_age_s=100.0 * number) for number in range(14)]
    lines = said(*idle, active("orders"))

    assert lines[1].split()[:3] == ["orders", "active", "node-1"]
    assert [line.split()[0] for line in lines[2:12]] == [f"a{n:02}" for n in range(IDLE_SHOWN_MAX)]
    assert "4 more groups without a live node are not shown (-v)" in lines


def test_a_group_without_a_holder_that_has_standbys_is_a_live_one() -> None:
    leaderless = group("reports", node("node-2", "web-2"), state="leaderless")

    assert shown_first([group("old"), leaderless], everything=False)[0] is leaderless


def test_a_crash_loop_is_shown_with_its_next_start() -> None:
    looping = group(
        "orders",
        node("node-1", "web-1"),
        state="leaderless",
        end_reason="crash loop: 5 quick ends in a row, the last with exit code 1",
        next_start_s=4.0,
    )
    line = "crash loop: 5 quick ends in a row, the last with exit code 1; started again in 4.0 s"

    assert f"orders: {line}" in said(looping)
    assert any(each.endswith(f"; the last was node-1; {line}") for each in said(looping, name="o"))


def test_an_idle_group_tells_since_when_and_who_was_last() -> None:
    idle = group("orders", end_reason="SIGTERM")

    assert said(idle)[1].split()[:3] == ["orders", "idle", "(node-1)"]
    assert (
        "orders: nobody is active, idle for 1h (term 3); the last was node-1; given back by node-1:"
        " SIGTERM"
    ) in said(idle, name="orders")


def test_a_wait_after_a_failover_is_told_before_anything_else() -> None:
    waiting = group(
        "orders",
        node("node-1", "web-1"),
        state="leaderless",
        end_reason="SIGTERM",
        wait=Wait(timeline=2, why="failover", left_s=3.0),
    )

    assert "orders: nobody takes the token yet on timeline 2; 3.0 s are left" in said(waiting)


def test_the_observer_of_a_task_group_is_called_observer() -> None:
    nodes = (
        node("node-1", "web-1", role="member", task_count=2, observer=True, ready=True),
        node("node-2", "web-2", role="rehab", task_count=0, ready=False),
    )
    tasks = group("night", *nodes, state="active", holder="node-1", hosts_tasks=True)

    assert said(tasks)[1].split()[2:4] == ["node-1", "(observer)"]
    lines = said(tasks, name="night")
    assert lines[1].split()[:3] == ["node-1", "observer", "ok"]
    assert lines[2].split()[:4] == ["node-2", "rehab", "not", "ready"]


def test_eighty_columns_cut_names_and_keep_every_figure() -> None:
    long = "a-group-with-a-name-of-some-fifty-letters-in-a-row-more"
    line = active(
        long,
        holder="a-node-with-a-long-name.example.org",
        term=1796043133751,
        beat_age_s=0.3,
        lease_left_s=20.5,
        standby_count=12,
    )

    lines = said(line, width=80)

    assert max(map(len, lines)) <= 80
    assert lines[0].split() == [
        *("GROUP", "STATE", "ACTIVE", "TERM", "SINCE", "STANDBY", "LAST", "BEAT", "LEASE"),
    ]
    assert all(
        figure in lines[1] for figure in ("1796043133751", "1h ago", "12", "0.3 s", "20.5 s")
    )
    assert lines[1].startswith("a-gr")
