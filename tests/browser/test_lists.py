"""Lists below the pictures: tasks, decisions, schedules and operations, and a group that goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import pictures
from tests.browser.conftest import Browser
from tests.conftest import Database
from tests.support.servers.catalogue import CLUSTER, fill_catalogue, offer
from tests.support.servers.page import served

pytestmark = pytest.mark.real

OPERATION = "SELECT sys_create_task('rebuild', 'CLUSTER', %s, '{}', 'my_rebuild_task')::text"
#: Nobody beats here.
AWAKE = "UPDATE health_check SET last_heartbeat = now() + interval '1 hour'"
#: Two decisions of one kind about one node under one version: the observer came back to it.
TWICE = """
INSERT INTO observer_decision
    (group_id, version, at, observer, term, node, kind, before, after, reason)
SELECT group_id, version, at, observer, term, node, kind, before, after, reason
FROM observer_decision WHERE kind = 'end'
"""
GONE = ("schedule", "task_node", "task", "token_holder", "health_check", "group_record")

#: Texts of the cells of a table, by row.
CELLS = """
(place) => [...document.querySelectorAll(`#${place} tbody tr`)]
  .map((row) => [...row.cells].map((cell) => cell.textContent.trim()))
"""
#: The group was read so often.
HEARD = "([times]) => performance.getEntriesByName('coord-group').length >= times"
#: The lanes of the nodes: title, and the tasks in it.
LANES = """
() => [...document.querySelectorAll('#placement .lane')]
  .map((lane) => [lane.children[0].textContent, lane.children[1].textContent])
"""


def test_tasks_decisions_schedules_and_operations_are_those_of_the_database(
    database: Database, browser: Browser, tmp_path: Path
) -> None:
    with database.connect() as sql, sql.transaction():
        pictures.fill(sql)
        sql.execute(AWAKE)
        sql.execute(TWICE)
    fill_catalogue(database)
    offer(database)
    with database.connect() as sql:
        sql.execute(OPERATION, (CLUSTER,))

    with served(database.conninfo, database.schema, tmp_path, "--group", "night") as page:
        look = browser.look(page.url)

        def rows(place: str) -> dict[str, list[str]]:
            return {row[0]: row[1:] for row in look.tab.evaluate(CELLS, place)}

        assert {name: row[:2] for name, row in rows("tasks").items()} == {
            name: ["waiting", "\u2013"] if name == "mail" else ["running", f"node-{place % 4 + 1}"]
            for place, name in enumerate(pictures.TASKS)
        }
        assert ["node-1, 3 tasks", "archivefetchreport"] in look.tab.evaluate(LANES)
        assert ["nowhere, 1 task", "mail"] in look.tab.evaluate(LANES)
        assert look.text("#observer") == "Observer: node-1, term 3"
        jobs = rows("jobs")
        assert jobs["night/archive"][2:4] == ["ok", "5.4 s"]
        assert jobs["night/report"][2:] == ["failed", "0.8 s", "in 20m", "168", "2", "exit code 3"]
        look.wait("() => document.querySelectorAll('#operations tbody tr').length === 1")
        place = ["rebuild", f"CLUSTER {CLUSTER}", "PENDING", "0/0"]
        assert rows("operations")["my_rebuild_task"][:4] == place

        look.wait(HEARD, 3)
        decided = [row[1:] for row in look.tab.evaluate(CELLS, "decisions")]
        assert sorted(decided) == [
            *[["node-4", "end", "live", "ended", "no heartbeat for 6 s"]] * 2,
            ["node-4", "standing", "rehab", "member", "live for 12 s"],
        ]

        for name in GONE:
            database.query(f"DELETE FROM {name} WHERE group_id ~ '^night'")
        look.wait("() => document.getElementById('group').hidden")
        assert look.text("#empty") == "No groups yet: start a node with coord run."
        assert look.told == []
