"""Progress of an operation, in lines."""

from __future__ import annotations

import io
from typing import Any

import pytest

from coordinator.app.admin.operations.session import Progress
from coordinator.cli.render.operations.progress import follow, line, share, subtask_lines
from coordinator.cli.render.operations.tables import ended_line, size

MIB = 1 << 20


def row(**changes: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "name": None,
        "state": "RUNNING",
        "waits_for": None,
        "subtasks": 8,
        "subtasks_completed": 2,
        "subtasks_failed": 0,
        "progress_total": 0,
        "progress_completed": 0,
        "bytes_total": 0,
        "bytes_completed": 0,
        "bytes_per_s": None,
        "eta_s": None,
        "error": None,
        **changes,
    }


def subtask(number: int) -> dict[str, Any]:
    return {
        "entity": f"disk-{number}",
        "owner": "a\x1b[2J",
        "progress_completed": 1,
        "progress_total": 4,
        "bytes_completed": MIB,
        "bytes_total": 4 * MIB,
        "eta_s": 3.0,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.25),
        ({"progress_total": 10, "progress_completed": 5}, 0.5),
        ({"bytes_total": 100, "bytes_completed": 90, "progress_total": 10}, 0.9),
        ({"bytes_total": 100, "bytes_completed": 300}, 1.0),
        ({"subtasks": 0, "subtasks_completed": 0}, 0.0),
    ],
)
def test_the_share_is_of_bytes_else_of_units_else_of_subtasks(changes, expected):
    assert share(Progress(row(**changes), [])) == expected


def test_one_line_has_throughput_and_the_time_that_is_left():
    seen = row(bytes_total=4 * MIB, bytes_completed=MIB, bytes_per_s=MIB // 2, eta_s=6.0)

    assert line(Progress(seen, [])) == (
        "[########......................]  25% RUNNING  2/8 subtasks  1.0 MiB/4.0 MiB"
        "  512.0 KiB/s  ETA 6.0 s"
    )
    assert "PENDING, waits for 7  " in line(Progress(row(state="PENDING", waits_for=7), []))


def test_running_subtasks_have_lines_of_their_own_that_a_terminal_does_not_obey():
    lines = subtask_lines(Progress(row(), [subtask(number) for number in range(10)]))

    assert lines[0] == "  disk-0 on a?[2J: 1/4 units, 1.0 MiB/4.0 MiB, ETA 3.0 s"
    assert (len(lines), lines[-1]) == (9, "  and 2 more")


def test_without_a_terminal_a_line_is_printed_when_something_changed():
    stream = io.StringIO()
    steps = [
        Progress(row(subtasks_completed=done, subtasks=100), []) for done in (0, 1, 2, 15, 16)
    ] + [Progress(row(state="COMPLETE", subtasks=100, subtasks_completed=100), [])]

    assert list(follow(steps, stream, quiet=False)) == steps
    printed = [text.split("] ")[1].split("%")[0].strip() for text in stream.getvalue().splitlines()]
    assert printed == ["0", "15", "100"]


def test_the_last_line():
    failed = row(state="COMPLETE_WITH_ERRORS", subtasks_failed=1, error="x: broken")

    assert ended_line(failed) == "1: COMPLETE_WITH_ERRORS (2/8, 1 failed subtasks): x: broken"
    assert [size(count) for count in (None, 0, 1023, 1024, 5 << 30, 1 << 60)] == [
        *("-", "0 B", "1023 B", "1.0 KiB", "5.0 GiB", "1048576.0 TiB"),
    ]
