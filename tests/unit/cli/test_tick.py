"""`coord tick`: one datagram to the node, or a clear word why there is none."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import pytest

from coordinator.cli.commands.once.tick import tick
from coordinator.errors import TokenLostError, UsageError


@pytest.fixture
def outside(monkeypatch):
    for name in ("NOTIFY_SOCKET", "COORD_TERM"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_report_arrives(outside):
    name = f"coord-test/{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0{name}")
        outside.setenv("NOTIFY_SOCKET", f"@{name}")

        tick()

        assert line.recv(100) == b"WATCHDOG=1"


def test_more_reports_than_are_read_hold_nobody_up(outside, tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(path)
        outside.setenv("NOTIFY_SOCKET", path)
        sent = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sent.setblocking(False)
        with sent, suppress(BlockingIOError):
            while True:
                sent.sendto(b"x", path)

        tick()
        assert line.recv(100) == b"x", "the report found no room"


def test_a_program_without_progress_timeout_may_report_all_the_same(outside):
    outside.setenv("COORD_TERM", "3")

    tick()


def test_outside_of_a_program_it_is_a_mistake(outside):
    with pytest.raises(UsageError, match="not inside a program that coord runs"):
        tick()


def test_a_run_that_is_over_is_told(outside):
    outside.setenv("NOTIFY_SOCKET", f"@coord-test/{os.urandom(8).hex()}")

    with pytest.raises(TokenLostError, match="nobody listens"):
        tick()
