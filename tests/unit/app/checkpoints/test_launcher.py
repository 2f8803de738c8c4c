"""A start of a program that has a checkpoint waits for segments that may come back."""

from __future__ import annotations

import pytest

from coordinator.app.checkpoints import launcher
from coordinator.segments.faults import CheckpointLostError


def test_segments_that_come_back_in_time_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(launcher, "AGAIN_S", 0.001)
    tries = []

    def restore() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise CheckpointLostError("0 of 2 segments can be read")

    launcher._patiently(restore)

    assert len(tries) == 4
    assert capsys.readouterr().err.count("waiting for the last checkpoint: 0 of 2") == 1


def test_what_does_not_come_back_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launcher, "AGAIN_S", 0.001)
    monkeypatch.setattr(launcher, "PATIENCE_S", 0.01)

    def restore() -> None:
        raise CheckpointLostError("0 of 2 segments can be read")

    with pytest.raises(CheckpointLostError):
        launcher._patiently(restore)
