"""G12: what the last command of a unit finds of a node whose processes left the unit's cgroup."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.app.config.settings import NodeSettings, ProgramSettings
from coordinator.app.node.service import after_stop
from coordinator.protocol.rules.burial import hindrance
from coordinator.runtime.agent.node_record import NodeRecord, Recorded
from coordinator.runtime.isolation import unit_cgroup

ENVIRON = {"INVOCATION_ID": "i"}


@pytest.fixture(autouse=True)
def empty_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cgroup of a unit; this process may be in no cgroup v2."""
    monkeypatch.setattr(unit_cgroup, "place", lambda: "/cgroup/unit")
    monkeypatch.setattr(unit_cgroup, "others", lambda _path: frozenset())


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def node(tmp_path: Path) -> NodeRecord:
    """Record of a node whose guardian is this process's parent, which lives."""
    record = NodeRecord(str(tmp_path / "node-1"), start="i", group="g", node="n")
    record.entered("s")
    return record


def found(tmp_path: Path) -> tuple[str, Recorded]:
    ((path, record),) = after_stop.found({"RUNTIME_DIRECTORY": str(tmp_path)})
    return path, record


def dead_guardian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after_stop.processes, "lives", lambda _pid, _started: False)


def test_a_guardian_that_was_moved_out_of_the_cgroup_keeps_its_session(tmp_path, node, program):
    """Rule G12: nothing of a node that lives is killed."""
    node.ordered(1)
    node.started(1, {"level": "plain", "pid": program.pid})
    path, record = found(tmp_path)
    settings = NodeSettings(task_id="n", group_id="g", program=ProgramSettings(argv=("true",)))
    buried: list[str] = []

    def bury(_settings: NodeSettings, session: str, _reason: str) -> bool:
        buried.append(session)
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(after_stop, "LOOKS_MAX", 1)
        ending = after_stop.end(path, record, ENVIRON, settings, bury)

    assert record.guardian[0] == os.getppid()
    assert "the node's guardian lives" in ending.hindrance
    assert buried == []
    assert program.poll() is None


def test_a_run_that_was_ordered_after_the_record_was_read_may_live(tmp_path, node, monkeypatch):
    path, record = found(tmp_path)
    node.ordered(1)
    dead_guardian(monkeypatch)

    assert "being started" in hindrance(after_stop.remains(path, record, "i"))


def test_a_record_that_was_removed_after_it_was_read_may_miss_a_run(tmp_path, node, monkeypatch):
    path, record = found(tmp_path)
    node.end()
    dead_guardian(monkeypatch)

    assert "being started" in hindrance(after_stop.remains(path, record, "i"))


def test_nothing_hinders_when_the_guardian_is_dead_and_no_run_is_left(tmp_path, node, monkeypatch):
    path, record = found(tmp_path)
    dead_guardian(monkeypatch)

    assert hindrance(after_stop.remains(path, record, "i")) == ""
