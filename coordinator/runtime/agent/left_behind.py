"""The runs that dead agents left: their successor kills them, should nobody else (G7)."""

from __future__ import annotations

from collections.abc import Mapping

from coordinator.runtime.isolation import deadlines
from coordinator.runtime.isolation.levels import Handle


class LeftBehind:
    """Handles by the numbers that dead agents gave, and the deadlines that the guardian keeps."""

    def __init__(self, handles: Mapping[int, Handle], deadlines_fd: int) -> None:
        self.handles: dict[int, Handle] = dict(handles)
        self._deadlines_fd = deadlines_fd

    def clear(self) -> None:
        """Hear that nothing of them is left."""
        self.handles = {}

    def deadlines(self) -> dict[int, float]:
        """Return until when the guardian lets each of them live."""
        if not self.handles:
            return {}
        seen = deadlines.read(self._deadlines_fd)
        return {run: until for run, until in seen.items() if run in self.handles}
