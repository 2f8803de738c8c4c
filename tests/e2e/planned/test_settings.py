"""The group's livenessCheckInterval, set by the command line while real nodes run (rules I)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.e2e.planned.conftest import Coord
from tests.support.nodes.processes import Bed, bed
from tests.support.nodes.record import overlaps, terms_rise

pytestmark = pytest.mark.real


@pytest.fixture
def pair(tmp_path: Path, database: Database) -> Iterator[Bed]:
    """Two nodes of one program, the first of which is active; 9 s in their files."""
    with bed(tmp_path, database.conninfo, database.schema) as made:
        made.liveness_s, made.heartbeat_s = 9.0, 0.5
        made.start("node-1")
        made.wait_for_run()
        made.start("node-2")
        made.wait_for_standbys(1)
        yield made
        assert overlaps(made.runs()) == []
        assert terms_rise(made.runs())


def test_an_interval_is_taken_over_by_all_nodes_and_no_program_stops(
    pair: Bed, coord: Coord, database: Database
):
    """I1 to I6: longer, then shorter; the one run of the program goes on."""
    longer = coord("group", "set", "orders", "livenessCheckInterval=12", "--yes")
    assert (longer.returncode, longer.stderr) == (0, "")
    assert longer.stdout == "orders: livenessCheckInterval = 12 s for all nodes\n"
    assert rows(database) == {("node-1", 12000), ("node-2", 12000)}

    shorter = coord("group", "set", "orders", "livenessCheckInterval=5s", "--yes", "--reason", "x")
    assert (shorter.returncode, shorter.stderr) == (0, "")
    assert rows(database) == {("node-1", 5000), ("node-2", 5000)}

    again = coord("group", "set", "orders", "livenessCheckInterval=5", "--yes")
    assert (again.returncode, again.stdout) == (3, "")
    assert "livenessCheckInterval is 5 s already" in again.stderr
    least = coord("group", "set", "orders", "livenessCheckInterval=1", "--yes")
    assert least.returncode == 3
    assert "whose heartbeatFrequency is 0.5 s: 1.5 s is the least" in least.stderr
    unknown = coord("group", "set", "orders", "heartbeatFrequency=1", "--yes")
    assert unknown.returncode == 2
    assert "is no setting of a group" in unknown.stderr

    shown = json.loads(coord("group", "show", "orders", "-o", "json").stdout)
    assert shown["livenessCheckInterval"] == 5.0
    (setting,) = shown["settings"]
    assert (setting["state"], setting["reason"], setting["lacking"]) == ("in force", "x", [])
    assert setting["contradicting"] == ["node-1", "node-2"]
    assert "livenessCheckInterval is 5 s for all nodes" in coord("status", "orders").stdout
    ((states,),) = database.query(
        "SELECT array_agg(state ORDER BY id) FROM sys_planned_changes WHERE group_id = 'orders'"
    )
    assert states == ["done", "in force"]
    assert len(pair.runs()) == 1


def rows(database: Database) -> set[tuple[str, int]]:
    """Return the interval in the row of each node."""
    return set(database.query("SELECT task_id, liveness_ms FROM health_check"))
