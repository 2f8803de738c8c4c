"""G12: the record of a node for the last command of its unit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordinator.runtime.agent import node_record
from coordinator.runtime.agent.node_record import NodeRecord, read

HANDLE = {"level": "plain", "pid": 7}


@pytest.fixture(autouse=True)
def somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process may be in no cgroup v2."""
    monkeypatch.setattr(node_record.unit_cgroup, "place", lambda: "/cgroup/unit")


def kept(path: Path, *, succeeds: bool = False) -> NodeRecord:
    return NodeRecord(str(path / "node-1"), start="i", group="g", node="n", succeeds=succeeds)


def test_a_run_is_written_down_before_its_handle_is_known(tmp_path):
    """Rule G12."""
    record = kept(tmp_path)
    record.entered("s")
    record.ordered(5)
    ordered = read(str(tmp_path / "node-1"))
    record.started(5, HANDLE)
    started = read(str(tmp_path / "node-1"))

    assert ordered is not None
    assert started is not None
    assert (ordered.session, ordered.runs) == ("s", {5: None})
    assert started.runs == {5: HANDLE}
    assert (started.group, started.node) == ("g", "n")
    assert (started.origin.start, started.origin.place) == ("i", "/cgroup/unit")


def test_a_successor_keeps_the_runs_of_a_dead_agent_until_they_are_gone(tmp_path):
    record = kept(tmp_path)
    record.entered("s")
    record.ordered(5)

    successor = kept(tmp_path, succeeds=True)
    successor.ordered(6)
    both = read(str(tmp_path / "node-1"))
    successor.inherited_over()
    own = read(str(tmp_path / "node-1"))

    assert both is not None
    assert own is not None
    assert (set(both.runs), set(own.runs)) == ({5, 6}, {6})


def test_a_run_that_is_over_and_a_node_that_left_leave_nothing(tmp_path):
    record = kept(tmp_path)
    record.entered("s")
    record.ordered(5)
    record.over(5)
    before = read(str(tmp_path / "node-1"))
    record.end()

    assert before is not None
    assert before.runs == {}
    assert read(str(tmp_path / "node-1")) is None


def test_the_session_of_a_record_that_cannot_be_kept_is_forgotten(tmp_path):
    """Rule G12: a run that is not there never ran, so none may be missing."""
    record = kept(tmp_path)
    record.entered("s")
    os.mkdir(tmp_path / "node-1" / "run-5.new")  # the run cannot be written

    record.ordered(5)

    assert read(str(tmp_path / "node-1")) is None


def test_a_new_node_begins_with_an_empty_record(tmp_path):
    record = kept(tmp_path)
    record.entered("s")
    record.ordered(5)

    kept(tmp_path).entered("t")
    found = read(str(tmp_path / "node-1"))

    assert found is not None
    assert (found.session, found.runs) == ("t", {})


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"session": "s"}', "\xff"])
def test_a_record_that_is_no_record_is_none(tmp_path, text: str):
    (tmp_path / "session").write_text(text)

    assert read(str(tmp_path)) is None
