"""On a terminal of 80 columns long names give way, and never a figure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console, RenderableType

from coordinator.app.admin.status import History, NodeLine, Server, Takeover
from coordinator.cli.render.fitting import FittedScreen, FittedTable
from coordinator.cli.render.history_tables import history_parts, plot_parts
from coordinator.cli.render.status_tables import _differences, nodes_table
from coordinator.cli.render.tables import footer_line
from coordinator.cli.shared import TimeStyle

SERVER = Server(
    label="coord-operations@db-1.frankfurt.example.org:5432/production",
    scope="this-machine",
    revision="0001",
    server_time=datetime(2026, 11, 30, 11, 0, 0, 123000, tzinfo=UTC),
    round_trip_s=0.0042,
)


def lines(part: RenderableType, width: int = 80) -> list[str]:
    screen = Console(width=width, color_system=None)
    with screen.capture() as captured:
        screen.print(part)
    return [line.rstrip() for line in captured.get().splitlines()]


def node(name: str, host: str, **changes: object) -> NodeLine:
    facts: dict[str, object] = {
        "node": name,
        "role": "standby",
        "state": "ok",
        "beat_age_s": 0.4,
        "lease_left_s": None,
        "heartbeat_s": 1.0,
        "liveness_s": 6.0,
        "host": host,
        "pid": 4194304,
        "priority": 1,
        "version": "0.1.0",
        "standing": "member",
        "config_hash": "a91f",
        "isolation": "plain",
        "uptime_s": 300.0,
        "end_reason": None,
    }
    return NodeLine(**(facts | changes))


def test_an_address_is_shown_where_it_takes_nothing_from_the_rest():
    wide, narrow = node("node-1", "web-1", address="10.0.0.7"), node("node-1", "web-1")

    assert "ADDRESS" not in lines(nodes_table([narrow])[0])[0]
    shown = lines(nodes_table([wide])[0])
    assert shown == lines(nodes_table([narrow])[0])
    assert [it.split()[-1] for it in lines(nodes_table([wide])[0], 120)] == ["ADDRESS", "10.0.0.7"]


def test_a_long_name_takes_no_figure_from_the_screen():
    name, host = "collector-in-frankfurt-am-main-0001.internal", "ip-10-23-117-204.eu-central-1"
    shown = lines(nodes_table([node(name, host), node("node-2", "web-2")])[0])

    assert max(len(line) for line in shown) <= 80
    head, first, second = shown
    assert head.split()[:7] == ["NODE", "ROLE", "STATE", "LAST", "BEAT", "LEASE", "HOST:PID"]
    for line in (first, second):
        assert "standby  ok" in line
        assert "0.4 s" in line
    assert first.startswith("collector")
    assert "node-2" in second


def takeover(term: int, gap_s: float) -> Takeover:
    return Takeover(
        group="g",
        term=term,
        acquired_at=SERVER.server_time,
        age_s=1.0,
        ended_at=None,
        previous="node-2",
        node="node-1",
        how="takeover",
        reason="no heartbeat of node-2 for 6.01 s",
        end_how=None,
        end_reason=None,
        gap_s=gap_s,
        detected_s=6.0,
    )


HISTORY = History(server=SERVER, takeovers=(takeover(1796043133751, -5.69), takeover(2, 6.02)))


def test_a_history_tells_the_whole_reason_in_eighty_columns():
    table = history_parts(HISTORY, TimeStyle.ISO, several=False)[0]

    shown = lines(table)
    assert max(len(line) for line in shown) <= 80
    assert all(word in " ".join(shown) for word in ("heartbeat", "6.01", "overlap 5.69 s"))


def test_a_plot_shortens_its_bars_and_no_figure():
    shown = lines(plot_parts(HISTORY)[0])

    assert max(len(line) for line in shown) <= 80
    _, longest, overlap = shown
    assert all(text in longest for text in ("2026-11-30T11:00:00Z", "6.02 s  █"))
    assert "…" not in longest
    assert "overlap 5.69 s" in overlap


def test_a_wide_terminal_and_a_pipe_show_everything():
    table, _ = nodes_table([node("node-1", "web-1")])

    assert lines(table, 1000)[0].split()[-3:] == ["UPTIME", "VERSION", "CONFIG"]


def test_the_footer_keeps_who_answered_and_loses_what_matters_least():
    assert lines(footer_line(SERVER), 1000) == [
        f"server {SERVER.label}  this machine only  schema 0001  server time 11:00:00.1Z"
        "  round trip 4.2 ms"
    ]
    assert lines(footer_line(SERVER), 100) == [
        f"server {SERVER.label}  this machine only  schema 0001"
    ]


def test_a_column_that_wraps_loses_no_word():
    text = "a process that left its session and cleared its environment may survive the guardian"
    table = FittedTable(("LEVEL", "PROMISE"), [("plain", text)], wraps=("PROMISE",))
    shown = lines(table, 40)

    assert max(len(line) for line in shown) <= 40
    assert " ".join(line[7:].strip() for line in shown[1:]) == text


def test_a_killed_holder_is_not_shown_as_if_all_were_well():
    dead = node("node-1", "web-1", role="active", state="dead", lease_left_s=0.0)
    screen = Console(width=200, force_terminal=True, color_system="standard")
    with screen.capture() as captured:
        screen.print(nodes_table([dead])[0])

    assert "\x1b[32m" not in captured.get()
    assert "\x1b[1;31m" in captured.get()


def test_what_differs_from_the_active_node_is_told_by_its_key():
    active = node("node-1", "web-1", role="active")
    other = node("node-2", "web-2", liveness_s=9.0, config_hash="77c2")

    assert _differences([active, other]) == [
        "node-2: livenessCheckInterval 9 s, the active node's is 6 s"
    ]


@pytest.mark.parametrize("width", [1, 20, 60])
def test_no_width_is_too_narrow_to_draw(width: int):
    assert lines(nodes_table([node("node-1", "web-1")])[0], width)


def test_a_low_terminal_loses_rows_of_the_table_and_no_line_below_it() -> None:
    table = FittedTable(["NODE"], [[f"node-{number}"] for number in range(30)])
    screen = Console(width=80, height=10, color_system=None)

    with screen.capture() as captured:
        screen.print(FittedScreen([table, "nobody is active", "Ctrl-C ends"]), end="")
    lines = [line.rstrip() for line in captured.get().splitlines()]

    assert lines[:2] == ["NODE", "node-0"]
    assert lines[-3:] == [
        "24 more rows do not fit this terminal",
        "nobody is active",
        "Ctrl-C ends",
    ]
    assert len(lines) == 10
