"""`coord doctor`: the level of isolation that a node started here would reach."""

from __future__ import annotations

import json
import subprocess
import sys

from coordinator.runtime.isolation import levels as isolation


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
