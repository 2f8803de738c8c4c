"""Find the processes with a mark without waiting for one that holds its reader up."""

from __future__ import annotations

import os
from pathlib import Path

from coordinator.runtime.linux import marks
from tests.support.nodes.guarded_node import await_fact


def a_proc(folder: Path, environments: dict[int, bytes | None]) -> str:
    """Make a /proc; of a process without an environment the reading never returns."""
    for pid, text in environments.items():
        (folder / str(pid)).mkdir()
        if text is None:
            os.mkfifo(folder / str(pid) / "environ")
        else:
            (folder / str(pid) / "environ").write_bytes(text)
    return str(folder)


def test_the_marked_are_told_from_the_others(tmp_path: Path):
    proc = a_proc(tmp_path, {5: b"A=1\0RUN=x\0", 6: b"A=1\0", 7: b"RUN=\0", 8: b"XRUN=y\0"})

    assert marks.values_of(b"RUN", [5, 6, 7, 8, 9], proc) == {5: b"x"}


def test_a_process_that_holds_its_reader_up_hides_no_other(tmp_path: Path):
    proc = a_proc(tmp_path, {1: b"RUN=a\0", 2: None, 3: b"RUN=b\0", 4: None, 5: b"RUN=c\0"})

    assert marks.values_of(b"RUN", [1, 2, 3, 4, 5], proc) == {1: b"a", 3: b"b", 5: b"c"}


def test_no_reader_is_left_behind(tmp_path: Path):
    proc = a_proc(tmp_path, {1: None, 2: b"RUN=b\0"})
    before = children()

    def collected() -> bool:
        marks.values_of(b"RUN", [1, 2], proc)
        return len(children() - before) <= 2  # the two that were dismissed just now

    for _ in range(20):
        marks.values_of(b"RUN", [1, 2], proc)
    await_fact(collected, "dismissed readers are collected by the next one")


def children() -> set[str]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(path.read_text().split())
