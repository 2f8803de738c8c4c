"""X1 to X4: `coord task run` on real nodes: once now, under the task's token, with its outcome."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.protocol.messages.group_record import TaskDef
from tests.conftest import Database
from tests.e2e.planned.conftest import Coord
from tests.support.nodes.processes import eventually
from tests.support.nodes.task_nodes import TaskBed, task_bed

pytestmark = pytest.mark.real

#: Writes its node, term and number; the runs by hand end as the file `how` says.
PROGRAM = """
echo "$COORD_NODE $COORD_TERM $COORD_RUN_COUNT" >> RECORD
[ -e WAIT ] && read line < WAIT
[ ! -e FAIL ]
"""


def nightly(tmp_path: Path) -> TaskDef:
    """Return a task whose schedule makes one run at once, and the next in an hour."""
    script = PROGRAM
    for name in ("RECORD", "WAIT", "FAIL"):
        script = script.replace(name, str(tmp_path / name.lower()))
    spec = {"command": ["sh", "-c", script], "trigger": {"interval": 3600.0}}
    return TaskDef(name="nightly", spec=json.dumps(spec))


def started(tmp_path: Path) -> list[str]:
    record = tmp_path / "record"
    return record.read_text().splitlines() if record.exists() else []


def first_run_is_over(database: Database) -> Callable[[], bool]:
    return lambda: database.query("SELECT last_outcome FROM schedule WHERE name = ''") == [("ok",)]


def begin(made: TaskBed, database: Database, tmp_path: Path, *nodes: str) -> None:
    """Start nodes, and wait until the schedule's own first run has ended."""
    for node in nodes:
        made.member(node)
    made.wait_for_members(*nodes)
    made.add(nightly(tmp_path))
    eventually(first_run_is_over(database), 20, lambda: made.story())


def waiting_command(database: Database) -> subprocess.Popen[str]:
    """Start `coord task run --wait` as a process of its own."""
    clean = {key: text for key, text in os.environ.items() if not key.startswith("COORD_")}
    place = {
        "COORD_DATABASE_URL": database.conninfo,
        "COORD_DATABASE_SCHEMA": database.schema,
        "COORD_GROUP_ID": "G",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "coordinator.cli", "task", "run", "nightly", "--wait"],
        env=clean | place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_by_hand_is_made_at_once_and_the_schedule_goes_on_unchanged(
    database: Database, tmp_path: Path, coord: Coord
) -> None:
    """X2, X3: the next slot in an hour stays where it was; a failed run ends nothing."""
    plan = "SELECT fired_count, next_fire_at, ended FROM schedule WHERE name = ''"
    with task_bed(tmp_path, database.conninfo, database.schema) as made:
        begin(made, database, tmp_path, "node-1")
        before = database.query(plan)

        well = coord("task", "run", "nightly", "-g", "G", "--wait")
        (tmp_path / "fail").touch()
        badly = coord("task", "run", "nightly", "-g", "G", "--wait")

        assert (well.returncode, well.stderr) == (0, "")
        assert well.stdout.startswith("G/nightly: ok on node-1, after ")
        assert badly.returncode == 1
        assert "the run failed on node-1: sh: exit code 1" in badly.stderr
        assert started(tmp_path) == ["node-1 1 1", "node-1 1 1", "node-1 1 2"]
        assert database.query(plan) == before
        jobs = coord("jobs", "G", "-o", "json")
        by_hand = json.loads(jobs.stdout)["jobs"][1]
        assert (by_hand["job"], by_hand["lastOutcome"]) == ("G/nightly by hand", "failed")
        told = "SELECT kind, count(*) FROM event WHERE kind LIKE 'run %' GROUP BY kind ORDER BY 1"
        assert database.query(told) == [("run asked", 2), ("run failed", 1), ("run ok", 1)]


def test_a_run_whose_node_dies_is_told_as_died_and_never_made_again(
    database: Database, tmp_path: Path
) -> None:
    """X4: the other node takes the task over, and does not begin the run again."""
    with task_bed(tmp_path, database.conninfo, database.schema) as made:
        begin(made, database, tmp_path, "node-1", "node-2")
        holder = made.where()["nightly"]
        os.mkfifo(tmp_path / "wait")
        command = waiting_command(database)
        try:
            eventually(lambda: len(started(tmp_path)) == 2, 20, lambda: made.story())

            made.nodes[holder].send(signal.SIGKILL, "all")
            said, trouble = command.communicate(timeout=60)

            assert (command.returncode, said) == (76, "")
            assert f"the run died with its node on {holder}; it is not repeated" in trouble
            eventually(
                lambda: (
                    database.query("SELECT last_outcome FROM schedule WHERE name = '_hand'")
                    == [("died",)]
                ),
                30,
                lambda: made.story(),
            )
            assert len(started(tmp_path)) == 2
            events = database.query("SELECT count(*) FROM event WHERE kind = 'run-died'")
            assert events == [(1,)]
        finally:
            command.kill()
            command.communicate()


@pytest.mark.long
def test_a_run_goes_on_when_the_terminal_of_its_asker_is_closed(
    database: Database, tmp_path: Path
) -> None:
    """X2: while it goes on a second one is refused, and its end is written all the same."""
    with task_bed(tmp_path, database.conninfo, database.schema) as made:
        begin(made, database, tmp_path, "node-1")
        os.mkfifo(tmp_path / "wait")
        command = waiting_command(database)
        try:
            eventually(lambda: len(started(tmp_path)) == 2, 20, lambda: made.story())
            command.send_signal(signal.SIGHUP)
            command.communicate(timeout=30)

            second = waiting_command(database)
            _, trouble = second.communicate(timeout=30)
            (tmp_path / "wait").write_text("go on\n")

            assert second.returncode == 3
            assert "it runs already, on node-1" in trouble
            eventually(
                lambda: (
                    database.query("SELECT last_outcome FROM schedule WHERE name = '_hand'")
                    == [("ok",)]
                ),
                20,
                lambda: made.story(),
            )
            assert len(started(tmp_path)) == 2
        finally:
            command.kill()
            command.communicate()
