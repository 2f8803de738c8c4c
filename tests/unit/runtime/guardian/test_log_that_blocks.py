"""A process that logs waits for no reader (rule G10): agent and guardian."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from coordinator.runtime.guardian import log_process as guard_log
from coordinator.runtime.guardian.log_process import GuardLog, Voice
from coordinator.runtime.log import line_writer
from coordinator.runtime.log import logger as log
from coordinator.runtime.log.line_writer import LineWriter

#: Nothing takes longer, also on a busy machine.
WAIT_S = 15.0


class Pipe:
    """A pipe with room for one page, to be filled, emptied and closed."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        fcntl.fcntl(self.write_fd, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.read_fd, False)

    def fill(self) -> None:
        os.set_blocking(self.write_fd, False)
        for size in (4096, 1):
            while True:
                try:
                    os.write(self.write_fd, b"." * size)
                except BlockingIOError:
                    break
        os.set_blocking(self.write_fd, True)

    def read_until(self, word: str) -> str:
        text = ""
        while word not in text:
            assert select.select([self.read_fd], [], [], WAIT_S)[0], f"no {word!r} in {text!r}"
            text += os.read(self.read_fd, 65536).decode()
        return text.lstrip(".")

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


@contextmanager
def stderr_is(fd: int) -> Iterator[None]:
    kept = os.dup(2)
    os.dup2(fd, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# --- the agent's ----------------------------------------------------------------------------------


def writer(pipe: Pipe) -> LineWriter:
    return LineWriter(pipe.write_fd, lambda lost: f"{lost} lost\n")


def test_lines_wait_for_a_full_pipe_and_those_beyond_are_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(line_writer, "LINES_MAX", 3)
    pipe.fill()
    lines = writer(pipe)

    for number in range(20):
        lines.put(f"line {number}\n")
    assert not lines.flush(0.05)
    kept, lost = [], 0
    while len(kept) + lost < 20:
        for line in pipe.read_until("\n").splitlines():
            first, second = line.split()
            if second == "lost":
                lost += int(first)
            else:
                kept.append(int(second))

    assert kept == sorted(set(kept))
    assert kept[0] == 0
    assert 0 < lost < 20


def test_lines_that_a_full_disk_refuses_are_counted():
    with open("/dev/full", "wb") as full:
        lines = LineWriter(full.fileno(), lambda lost: f"{lost} lost\n")
        lines.put("one\n")
        assert not lines.flush(WAIT_S)
        lines.put("two\n")
        assert not lines.flush(WAIT_S)
        read_fd, write_fd = os.pipe()
        os.dup2(write_fd, full.fileno())
        os.close(write_fd)
        lines.put("three\n")
        assert lines.flush(WAIT_S)
        assert os.read(read_fd, 1000) == b"three\n2 lost\n"
        os.close(read_fd)


def test_a_descriptor_that_somebody_made_nonblocking_loses_nothing(pipe: Pipe):
    os.set_blocking(pipe.write_fd, False)
    lines = writer(pipe)
    for number in range(500):
        lines.put(f"line {number} of many\n")

    assert pipe.read_until("line 499 of many\n").count("\n") == 500


def test_no_line_of_the_agent_nor_a_traceback_waits(pipe: Pipe, monkeypatch: pytest.MonkeyPatch):
    pipe.fill()
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    with stderr_is(pipe.write_fd):
        logger = log.set_up("info", "json")
        log.take_stderr(logger)
        log.say(logger, "database-lost", "g: the database does not answer", {"group": "g"})
        print("Traceback of\ntwo lines", file=sys.stderr)
        text = pipe.read_until("two lines")
        log.end()
    lines = [json.loads(line) for line in text.splitlines()]

    assert [line["message"] for line in lines] == [
        "g: the database does not answer",
        "Traceback of",
        "two lines",
    ]
    assert lines[0]["event"] == "database-lost"


# --- the guardian's -------------------------------------------------------------------------------


def collected(guard_log: GuardLog) -> None:
    """Collect the writer, as a guardian does at SIGCHLD."""
    pid, status = os.waitpid(guard_log._writer, 0)
    assert guard_log.child_ended(pid, os.waitstatus_to_exitcode(status))


def test_guardian_waits_for_no_reader_and_counts_what_was_lost(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(guard_log, "LINES_MAX", 2)
    pipe.fill()
    told = GuardLog(Voice())
    with stderr_is(pipe.write_fd):
        told.put("first")
        told.turn()
        for number in range(5):
            told.put(f"then {number}")
            told.turn()  # the first one's writer hangs
        text = pipe.read_until("first\n")
        collected(told)
        told.turn()
        text += pipe.read_until("lost\n")
        collected(told)

    assert text.splitlines() == [
        "coord: first",
        "coord: then 0",
        "coord: then 1",
        "coord: 3 lines of the guardian were lost",
    ]


def test_guardian_that_ends_gives_up_a_writer_that_hangs(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(guard_log, "END_MAX_S", 0.05)
    pipe.fill()
    told = GuardLog(Voice())
    with stderr_is(pipe.write_fd):
        told.put("last")
        told.end()

    _, status = os.waitpid(told._writer, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def test_guardian_that_ends_has_its_last_lines_written(pipe: Pipe):
    told = GuardLog(Voice())
    with stderr_is(pipe.write_fd):
        told.put("one")
        told.turn()
        told.put("two")
        told.end()

    assert pipe.read_until("two\n") == "coord: one\ncoord: two\n"


@pytest.mark.parametrize("style", ["text", "json"])
def test_guardians_line_looks_like_its_agents(pipe: Pipe, style: str):
    """One stream of one form: what reads the agent's lines reads the guardian's too."""
    fields = {"event": "guardian"}
    with stderr_is(pipe.write_fd):
        logger = log.set_up("info", style, group="g", node="n")
        logger.log(logging.WARNING, "agent died: ä", extra=fields)
        log.end()
    agents = pipe.read_until("\n")
    guardians = Voice(style, "info", "g", "n", True).line("agent died: ä", event="guardian")

    if style == "text":
        moment, line = guardians.split(" ", 1)
        assert agents.split(" ", 1)[1] == line
        assert len(moment) == len(agents.split(" ", 1)[0])
        return
    one, other = json.loads(agents), json.loads(guardians)
    assert list(one) == list(other)
    assert len(one.pop("time")) == len(other.pop("time"))
    assert one == other


def test_guardian_says_nothing_that_the_operator_does_not_want():
    told = GuardLog(Voice(level="error"))

    told.put("agent died: the spare takes over")
    told.turn()

    assert told._writer == 0
