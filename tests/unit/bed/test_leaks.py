"""A test that leaves something behind fails: each kind is seen, and named."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from tests.support import leaks


def test_each_kind_of_leak_is_named(monkeypatch: pytest.MonkeyPatch, request) -> None:
    monkeypatch.setattr(leaks, "GONE_WITHIN_S", 3 * leaks.LOOK_EVERY_S)
    test = request.node.nodeid
    before = leaks.begin(test)
    end = threading.Event()

    read_fd, write_fd = os.pipe()
    thread = threading.Thread(target=end.wait, name="forgotten")
    thread.start()
    with subprocess.Popen(["sleep", "60"]) as process:
        found = leaks.left(before, test)
        process.kill()
    end.set()
    thread.join()
    os.close(read_fd)
    os.close(write_fd)

    assert [line.partition(" ")[0] for line in found] == [
        *("descriptor", "descriptor", "thread", "process")
    ]
    assert found[2] == "thread forgotten"
    assert "sleep 60" in found[3]
    assert leaks.left(before, test) == []
