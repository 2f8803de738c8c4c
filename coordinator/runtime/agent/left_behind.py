"""Runs that dead agents left; their successor kills them if no other process does (G7)."""

from __future__ import annotations

from collections.abc import Mapping

from coordinator.runtime.isolation import deadlines
from coordinator.runtime.isolation.levels import Handle


class LeftBehind:
    """Handles by the numbers of the dead agents, and the deadlines that the guardian shows."""

    def __init__(self, handles: Mapping[int, Handle], deadlines_fd: int) -> None:
        self.handles: dict[int, Handle] = dict(handles)
        self._deadlines_fd = deadlines_fd

    def clear(self) -> None:
        """Forget the runs: nothing of them is left."""
        self.handles = {}

    def deadlines(self) -> dict[int, float]:
        """Return the deadlines of these runs, as the guardian shows them."""
        if not self.handles:
            return {}
        seen = deadlines.read(self._deadlines_fd)
        return {run: until for run, until in seen.items() if run in self.handles}
