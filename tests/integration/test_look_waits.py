"""Status after a failover: timeline, wait and reason (rule E3)."""

from __future__ import annotations

import pytest
from psycopg.conninfo import make_conninfo

from coordinator.app.admin.status import GroupLine, StatusReader
from coordinator.app.config.database_choice import Resolved
from coordinator.cli.render.documents import group_fields
from coordinator.cli.render.status_tables import _nodes_parts
from tests.conftest import Database
from tests.support.nodes.store_nodes import joined_nodes

pytestmark = pytest.mark.real


def group_of(database: Database) -> GroupLine:
    conninfo = make_conninfo(database.conninfo)
    resolved = Resolved(conninfo=conninfo, label="here", scope="server")
    look = StatusReader(resolved, schema=database.schema, timeout_s=10.0)
    try:
        return look.status("orders").groups[0]
    finally:
        look.close()


def unsettle(database: Database) -> None:
    database.query("UPDATE database_epoch SET settled = false, first_seen_at = clock_timestamp()")
    database.query("UPDATE group_record SET settled_branch = NULL, settled_start = NULL")


def test_a_settled_branch_holds_up_nobody(database: Database) -> None:
    with joined_nodes(database, "a"):
        assert group_of(database).wait is None


def test_an_unsettled_branch_is_told_with_timeline_wait_and_reason(database: Database) -> None:
    with joined_nodes(database, "a", liveness_s=3000.0):
        unsettle(database)
        group = group_of(database)

    assert group.wait is not None
    assert (group.wait.timeline, group.wait.why) == (1, "failover")
    assert group.wait.left_s is not None
    assert 0 < group.wait.left_s <= 3000
    assert set(group_fields(group)["wait"]) == {"timeline", "why", "seconds"}
    _, notes = _nodes_parts(group, everything=False)
    assert any("the database is on timeline 1, after a failover or a restore" in n for n in notes)


def test_a_group_that_has_settled_the_branch_waits_no_more(database: Database) -> None:
    with joined_nodes(database, "a"):
        unsettle(database)
        database.query(
            "UPDATE group_record SET (settled_branch, settled_start) ="
            " (SELECT branch, started_at FROM database_epoch)"
        )
        assert group_of(database).wait is None
