"""Errors of segments and disks."""

from __future__ import annotations

from coordinator.errors import CoordError


class SegmentDamagedError(CoordError):
    """A segment's file is not what was written."""


class SegmentAbsentError(CoordError):
    """A segment's file is not on its device."""


class CheckpointLostError(CoordError):
    """Too few segments of a checkpoint can be read."""

    exit_code = 1


class SourceChangedError(CoordError):
    """Something was written to while it was read for a checkpoint."""


class DiskError(CoordError):
    """A storage device cannot be used; `state` is the one that it is in."""

    def __init__(self, text: str, state: str = "offline") -> None:
        super().__init__(text)
        self.state = state
