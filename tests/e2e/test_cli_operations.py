"""`coord sql` and `coord operation`: statements, errors with their place, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support.nodes.processes import eventually
from tests.support.servers.catalogue import CLUSTER, fill_catalogue, offer
from tests.support.statements import CANCEL, EXAMPLES

pytestmark = pytest.mark.real

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def filled(database: Database) -> Database:
    fill_catalogue(database)
    offer(database)
    return database


def environment(database: Database) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("COORD", "PG"))}
    return kept | {
        "COORD_DATABASE_URL": database.conninfo,
        "COORD_DATABASE_SCHEMA": database.schema,
        "COORD_QUIET": "1",
        "TERM": "dumb",
    }


def coord(database: Database, *arguments: str, given: str = "") -> tuple[int, str, str]:
    answer = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", *arguments],
        env=environment(database),
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return answer.returncode, answer.stdout, answer.stderr


def test_a_mark_of_the_byte_order_and_a_narrow_encoding_bother_nobody(
    database: Database, tmp_path: Path
):
    (tmp_path / "a.sql").write_text("SELECT 'price in €' AS told", encoding="utf-8-sig")
    command = [sys.executable, "-m", "coordinator.cli", "sql", "-f", str(tmp_path / "a.sql")]

    answer = subprocess.run(
        command,
        env=environment(database) | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (answer.returncode, answer.stderr) == (0, "")
    assert "price in \\u20ac" in answer.stdout


def made(database: Database) -> list[tuple[object, ...]]:
    return database.query("SELECT type, location, place, name FROM operation ORDER BY created_at")


EXPECTED = [
    ("rebuild", "SYSTEM", None, None),
    ("rebuild", "SYSTEM", None, None),
    ("rebuild", "CLUSTER", CLUSTER, None),
    ("rebuild", "CLUSTER", CLUSTER, None),
    ("rebuild", "CLUSTER", CLUSTER, None),
    ("rebuild", "CLUSTER", CLUSTER, "my_rebuild_task"),
    ("check_disk", "NODE", "my_node1", None),
    ("check_disk", "CLUSTER", CLUSTER, None),
    ("check_disk", "NODE", "my_node1", None),
    ("rebalance", "SYSTEM", None, None),
]


def test_the_examples_from_the_command_line(filled: Database):
    arguments = [word for text in EXAMPLES for word in ("-c", text)]

    code, said, wrong = coord(filled, "sql", *arguments)

    assert (code, wrong) == (0, "")
    assert len(ID.findall(said)) == len(EXAMPLES)
    assert made(filled) == EXPECTED


def test_the_examples_from_a_file_and_a_pipe(filled: Database, tmp_path: Path):
    script = tmp_path / "tasks.sql"
    script.write_text(
        "-- all of them\n" + "\n".join(EXAMPLES) + "\nCREATE TASK my_task TYPE rebuild;"
    )

    assert coord(filled, "sql", "-f", str(script))[0] == 0
    code, _, wrong = coord(filled, "sql", given=CANCEL)

    assert (code, wrong) == (0, "")
    assert made(filled) == [*EXPECTED, ("rebuild", "SYSTEM", None, "my_task")]
    state = filled.query("SELECT state FROM operation WHERE name = 'my_task'")
    assert state == [("CANCELLED",)]


def test_the_prompt(filled: Database):
    """With its history, its listing, an error that ends nothing, and several lines."""
    leader, follower = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "coordinator.cli", "sql"],
            env={**environment(filled), "XDG_STATE_HOME": os.devnull},
            stdin=follower,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            for line in (
                "\\d",
                "CREATE TASK TYPE",
                "  rebuild;",
                "CREATE TASK TYPE x;",
                EXAMPLES[-1],
            ):
                os.write(leader, line.encode() + b"\n")
            eventually(lambda: len(made(filled)) == 2, 30, lambda: str(made(filled)))
            os.write(leader, b"\\q\n")
            assert process.stdout is not None
            said = process.stdout.read().decode()
    finally:
        os.close(leader)
        os.close(follower)

    assert process.returncode == 0
    assert made(filled) == [("rebuild", "SYSTEM", None, None), ("rebalance", "SYSTEM", None, None)]
    assert "ERROR: 22023: there is no type 'x'" in said
    assert "segment_groups (list)" in said


def test_an_error_shows_its_place_and_its_hint(filled: Database):
    text = "CREATE TASK\n  TYPE rebuild LOCATION NODE my_node1"

    code, said, wrong = coord(filled, "sql", "-c", text)

    assert (code, said) == (2, "")
    assert wrong.splitlines() == [
        "coord: ERROR: 0A000: type rebuild is not supported on LOCATION NODE",
        "coord: LINE 2:   TYPE rebuild LOCATION NODE my_node1",
        "coord:                                      ^",
        "coord: HINT: Use LOCATION CLUSTER 'my_lts_cluster1' OPTIONS node = 'my_node1'.",
    ]
    assert made(filled) == []
    assert coord(filled, "sql", "-c", "CANCEL TASK 'nobody'")[0] == 4
    assert coord(filled, "sql", "-c", "DELETE FROM x")[0] == 2


def test_what_is_shown_of_operations(filled: Database):
    ref = json.loads(coord(filled, "-o", "json", "sql", "-c", EXAMPLES[5])[1])["id"]

    _, listed, _ = coord(filled, "operation", "list")
    shown = json.loads(coord(filled, "operation", "show", "my_rebuild_task", "-o", "json")[1])
    tree = json.loads(coord(filled, "operation", "tree", ref, "-o", "json")[1])
    _, rows, _ = coord(filled, "sql", "-o", "tsv", "-c", "SELECT name, state FROM sys.tasks")

    assert re.search(rf"{ref} +my_rebuild_task +rebuild +CLUSTER {CLUSTER} +PENDING +0/0", listed)
    assert re.search(r"PENDING .* \d\S*( \w)? ago ", listed)
    assert (shown["id"], shown["state"], shown["locationType"]) == (ref, "PENDING", "CLUSTER")
    assert [each["kind"] for each in tree["subtaskList"]] == ["plan"]
    assert rows == "name\tstate\nmy_rebuild_task\tPENDING\n"
    assert "plan" in coord(filled, "operation", "tree", ref)[1]
    assert "my_rebuild_task" in coord(filled, "operation", "show", ref)[1]


def test_waiting_has_the_result_s_exit_code(filled: Database):
    filled.query("DELETE FROM operation_node")

    code, said, _ = coord(filled, "sql", "--wait", "-c", "CREATE TASK done TYPE rebalance")
    assert (code, said.splitlines()[-1]) == (
        0,
        "done: COMPLETE (0/0 subtasks): no node of any group offers rebalance",
    )

    coord(filled, "sql", "-c", EXAMPLES[5])
    assert coord(filled, "operation", "cancel", "my_rebuild_task")[0] == 0
    code, said, _ = coord(filled, "operation", "wait", "my_rebuild_task")
    assert (code, said) == (3, "my_rebuild_task: CANCELLED (0/0 subtasks)\n")
    assert coord(filled, "operation", "wait", "nothing")[0] == 4
    assert coord(filled, "operation", "cancel", "done")[0] == 2
