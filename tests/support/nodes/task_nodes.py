"""Real nodes of a task group for tests: members, tasks, and what their programs wrote down."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from coordinator.protocol.messages.group_record import TaskDef
from coordinator.store.admin.admin_store import AdminStore
from tests.support.nodes.processes import Bed, RunningNode, eventually

BEACON = Path(__file__).with_name("beacon.c")


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One run of one task's program, by its own hand; seconds of CLOCK_BOOTTIME."""

    task: str
    node: str
    term: int
    pid: int
    first: float
    last: float


def task_runs(record: Path) -> list[TaskRun]:
    """Return the runs in a record of beacons, in the order in which they began."""
    runs: dict[tuple[str, str, int, int], TaskRun] = {}
    if not record.exists():
        return []
    for line in record.read_text().splitlines():
        fields = line.split()
        if len(fields) != 5:
            continue  # the line that is being written at this moment
        key = (fields[0], fields[1], int(fields[2]), int(fields[3]))
        moment = float(fields[4])
        known = runs.get(key)
        runs[key] = TaskRun(*key, known.first if known else moment, moment)
    return sorted(runs.values(), key=lambda run: run.first)


def overlapping(runs: Iterable[TaskRun]) -> list[tuple[TaskRun, TaskRun]]:
    """Return the pairs of runs of one task that lived at the same moment."""
    by_task: dict[str, list[TaskRun]] = {}
    for run in runs:
        by_task.setdefault(run.task, []).append(run)
    found = []
    for own in by_task.values():
        own.sort(key=lambda run: run.first)
        latest = own[0]
        for run in own[1:]:
            if run.first <= latest.last:
                found.append((latest, run))
            latest = max(latest, run, key=lambda each: each.last)
    return found


@cache
def beacon() -> Path:
    """Build the beacon once; skips the test where there is no compiler, but not in CI."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None and os.environ.get("CI") == "true":
        pytest.fail("there is no C compiler")
    if compiler is None:
        pytest.skip("there is no C compiler: install gcc")
    built = Path(os.environ.get("TMPDIR", "/tmp")) / f"coord-beacon-{os.getpid()}"
    subprocess.run([compiler, "-O1", "-o", str(built), str(BEACON)], check=True)
    built.chmod(0o755)
    return built


class TaskBed(Bed):
    """A task group under test, on one database."""

    #: Clean for so long, a node becomes a Member: short, as tests are.
    to_member_s = 1.0
    grace_s = 0.5

    def member(self, name: str, config: str = "") -> RunningNode:
        """Start one node of the group."""
        text = (
            "hostsTasks = true\n"
            f"[tasksPolicy]\ntoMember = {self.to_member_s}\nobserverGrace = {self.grace_s}\n"
        )
        return self.start(name, config=config or text)

    @contextmanager
    def operator(self) -> Iterator[AdminStore]:
        """Open what administers tasks."""
        with AdminStore(self.conninfo, schema=self.schema, where="test", timeout_s=5.0) as operator:
            yield operator

    def spec(self, step_ms: int = 20) -> str:
        """Return the spec of a task whose program is a beacon."""
        return f'{{"command": ["{beacon()}", "{self.record}", "{step_ms}"]}}'

    def add(self, *definitions: TaskDef) -> None:
        """Add tasks."""
        with self.operator() as operator:
            for definition in definitions:
                operator.add(self.group, definition, who="test")

    def ask(self, query: str, **values: object) -> list[dict[str, Any]]:
        """Ask the database; `{schema}` is put in."""
        composed = sql.SQL(query).format(  # type: ignore[arg-type]
            schema=sql.Identifier(self.schema)
        )
        with psycopg.connect(self.conninfo, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(composed, values).fetchall()

    def task_runs(self) -> list[TaskRun]:
        """Return the runs recorded so far."""
        return task_runs(self.record)

    def where(self) -> dict[str, str]:
        """Return who holds each task's token right now."""
        rows = self.ask(
            "SELECT group_id, task_id FROM {schema}.token_holder"
            " WHERE session IS NOT NULL AND group_id LIKE %(like)s",
            like=f"{self.group}/%",
        )
        tokens = {row["group_id"].removeprefix(f"{self.group}/"): row["task_id"] for row in rows}
        return {task: node for task, node in tokens.items() if not task.startswith("_")}

    def standings(self) -> dict[str, str]:
        """Return the standing of every node."""
        rows = self.ask(
            "SELECT task_id, standing FROM {schema}.health_check WHERE group_id = %(group)s",
            group=self.group,
        )
        return {row["task_id"]: row["standing"] for row in rows}

    def wait_for_members(self, *names: str, within_s: float = 20.0) -> None:
        """Wait until these nodes are Members."""

        def all_members() -> bool:
            standings = self.standings()
            return all(standings.get(name) == "member" for name in names)

        eventually(
            all_members, within_s, lambda: f"Members {names}: {self.standings()}{self.story()}"
        )


@contextmanager
def task_bed(tmp_path: Path, conninfo: str, schema: str, group: str = "G") -> Iterator[TaskBed]:
    """Give a test bed and leave nothing running behind it."""
    made = TaskBed(tmp_path, conninfo, schema, group)
    try:
        yield made
    finally:
        made.end()
