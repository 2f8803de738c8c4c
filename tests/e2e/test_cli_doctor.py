"""`coord doctor`: the level of isolation that a node started here would reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.runtime.isolation import levels as isolation
from tests.conftest import Database
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.roles import Roles


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coordinator.cli", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_guardians_level_is_told_with_its_promise():
    answer = doctor("--guardian", "-o", "json")

    assert answer.returncode == 0, answer.stderr
    levels = {row["level"]: row for row in json.loads(answer.stdout)["isolation"]}
    used = [level for level, row in levels.items() if row["used"]]
    assert used == [isolation.choose("auto")]
    assert {level for level, row in levels.items() if row["available"]} == {
        level.name for level in isolation.available() if level.available
    }
    assert all(row["promise"] for row in levels.values())


def test_a_person_sees_one_line_for_each_level():
    answer = doctor("--guardian")

    marked = [line for line in answer.stdout.splitlines() if line.startswith("* ")]
    assert len(marked) == 1
    assert isolation.choose("auto") in marked[0]
    assert len(answer.stdout.splitlines()) == 1 + len(isolation.LEVELS)


def findings(database: Database, *arguments: str, **env: str) -> tuple[int, dict[str, str]]:
    """Return the exit code and the worst light of each area."""
    order = ("green", "amber", "red")
    environ = os.environ | {"COORD_TASK_ID": "node-1", "COORD_GROUP_ID": "orders"} | env
    environ |= {
        "COORD_DATABASE_URL": database.conninfo,
        "COORD_DATABASE_SCHEMA": database.schema,
    }
    command = [sys.executable, "-m", "coordinator.cli", "doctor", "-o", "json", *arguments]
    done = subprocess.run(
        command, env=environ, cwd="/", capture_output=True, text=True, timeout=60, check=False
    )
    worst: dict[str, str] = {}
    for each in json.loads(done.stdout)["findings"]:
        before = worst.get(each["area"], "green")
        worst[each["area"]] = max(before, each["light"], key=order.index)
        assert each["light"] == "green" or each["remedy"]
    return done.returncode, worst


@pytest.mark.real
def test_a_database_that_is_ready_has_no_red_light(database: Database) -> None:
    code, found = findings(database)

    assert code == 0
    assert "red" not in found.values()
    assert {"guardian", "connection", "settings", "clock", "schema", "rights", "name"} <= set(found)
    assert (found["listen"], found["pooler"]) == ("green", "green")


@pytest.mark.real
def test_each_step_goes_on_after_a_failure_of_another(unmigrated: Database, tmp_path: Path) -> None:
    code, found = findings(unmigrated)
    assert (code, found["schema"], found["connection"]) == (78, "red", "green")

    nowhere = Database(f"host={tmp_path} user=u dbname=d password=s3cret", "app")
    code, found = findings(nowhere)
    assert (code, found["connection"], found["guardian"] != "red") == (69, "red", True)

    config = tmp_path / "Config.toml"
    config.write_text("heartbeatFrequency = -1\n")
    config.chmod(0o600)
    code, found = findings(unmigrated, "-c", str(config))
    assert (code, found["config"], found["schema"]) == (78, "red", "red")


@pytest.mark.real
def test_a_name_that_is_taken_and_a_right_that_is_missing_are_red(
    database: Database, roles: Roles
) -> None:
    with joined_nodes(database, "node-1"):
        code, found = findings(database)
    assert (code, found["name"]) == (78, "red")

    stranger = Database(roles.login("node", "reports"), database.schema)
    code, found = findings(stranger)
    assert (code, found["rights"]) == (77, "red")
