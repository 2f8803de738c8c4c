"""The process that serves a node's disks, as its agent watches it (V10)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from coordinator.app.checkpoints import around
from tests.support.nodes.processes import eventually

#: Says once that it lives, writes down its process number, and says nothing more.
STANDS_STILL = (
    "import os, sys; os.write(1, b'.'); open(sys.argv[1], 'a').write(f'{os.getpid()}\\n');"
    " sys.stdin.read()"
)


def test_a_process_that_says_nothing_any_more_is_killed_and_another_one_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(around, "SILENT_MAX_S", 0.2)
    monkeypatch.setattr(around, "AGAIN_FIRST_S", 0.01)
    told = tmp_path / "processes"
    told.touch()
    with (tmp_path / "settings").open("w") as settings:
        command = (sys.executable, "-c", STANDS_STILL, str(told))
        served = around._ServedDisks(command, settings.fileno())
        served.start()
        eventually(lambda: len(told.read_text().split()) >= 2, 30, told.read_text)
        served.end()

    first = int(told.read_text().split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert "their process said nothing for" in capfd.readouterr().err
