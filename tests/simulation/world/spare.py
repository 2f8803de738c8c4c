"""A simulated spare, while it waits: it kills what is late by the handles that it knows (G9).

What is late is decided by protocol/node/state/spare_watch.py. It is told of handles by messages, of
deadlines by memory that the guardian shares.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from coordinator.protocol.guardian import wire
from coordinator.protocol.node.state.spare_watch import SpareWatch
from tests.simulation.world.processes import Process

if TYPE_CHECKING:
    from tests.simulation.world.host import Host


class Spare(Process):
    """The spare of a host; `knows` are the runs that it has handles of."""

    __slots__ = ("alarm", "host", "watch")

    def __init__(self, host: Host, knows: Iterable[int]) -> None:
        super().__init__()
        self.host_frozen = host.frozen
        self.host, self.watch = host, SpareWatch(runs=frozenset(knows))
        self.alarm = float("inf")

    def hear(self, message: dict[str, Any]) -> None:
        """Understand one message of the guardian."""
        word = wire.for_spare(message)
        assert word is not None, message
        self.watch = self.watch.after_message(self.host.local()).hear(word)
        self.wait()

    def wait(self) -> None:
        """Wake when the watch has something to do."""
        moment = self.watch.wake_at(self.host.shown(self.watch.runs))
        if moment != self.alarm:
            self.alarm = moment
            if moment != float("inf"):
                self.host.at_local(moment, self.deliver, self._ring, moment)

    def _ring(self, moment: float) -> None:
        if moment == self.alarm:
            self.alarm = float("inf")
            self._strike()
            self.wait()

    def _strike(self) -> None:
        now = self.host.local()
        late = self.watch.late(self.host.shown(self.watch.runs), now)
        for run in late:
            self.host.programs.kill(run, by_agent=True)
        if late:
            self.watch = self.watch.after_kill(late, (), now)
        if self.watch.guardian_stands_still(now):
            self.watch = self.watch.after_ending_the_guardian()
            self.host.end_frozen_guardian(self)
