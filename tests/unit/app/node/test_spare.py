"""The real spare, while it waits: what it knows to kill when the guardian dies."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from coordinator.app.node import spare
from coordinator.runtime.linux import processes as proctable
from coordinator.runtime.linux.channel import pair

Message = dict[str, Any]


@pytest.fixture
def sleepers() -> Iterator[list[Message]]:
    """Return the handles of three programs that never end by themselves."""
    processes = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(3)]
    keeper = {"level": "plain", "keeper": 0, "keeper_started": 0, "marker": "none"}
    yield [
        keeper | {"pid": process.pid, "started": proctable.started(process.pid)}
        for process in processes
    ]
    for process in processes:
        process.kill()
        process.wait()


def left_by_spare_that_heard(*messages: Message) -> int:
    """Let a spare hear this and then its guardian's death; return its exit code."""
    here, there = pair()
    child = os.fork()
    if child == 0:
        here.close()
        spare.wait(there, None)
        os._exit(99)
    there.close()
    for message in messages:
        assert here.send(message)
    here.close()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def living(handles: list[Message]) -> list[bool]:
    return [proctable.lives(handle["pid"], handle["started"]) for handle in handles]


def test_spare_kills_all_that_it_was_told_of_but_what_has_ended(sleepers: list[Message]):
    code = left_by_spare_that_heard(
        {"say": "runs", "runs": [], "session": None, "term": 0},
        *({"say": "running", "run": n, "handle": h} for n, h in enumerate(sleepers, 1)),
        {"say": "idle", "run": 2},
        {"say": "session", "session": None, "term": 7},
    )

    assert code == 1
    assert living(sleepers) == [False, True, False]


def test_spare_that_is_told_everything_anew_forgets_the_rest(sleepers: list[Message]):
    left_by_spare_that_heard(
        {"say": "running", "run": 1, "handle": sleepers[0]},
        {"say": "runs", "runs": [[2, sleepers[1]], [3, sleepers[2]]], "session": None, "term": 0},
    )

    assert living(sleepers) == [True, False, False]


def test_spare_that_is_to_quit_kills_nothing(sleepers: list[Message]):
    code = left_by_spare_that_heard(
        {"say": "running", "run": 1, "handle": sleepers[0]}, {"say": "quit"}
    )

    assert code == 0
    assert living(sleepers) == [True, True, True]
