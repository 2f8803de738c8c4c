"""A simulated spare, while it waits: it kills what is late by the handles that it knows (G9).

As runtime/agent/backstop.py does it: told of handles by messages, of deadlines by memory that the
guardian shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordinator.protocol.rules import backstops
from tests.simulation.world.processes import Process

if TYPE_CHECKING:
    from tests.simulation.world.host import Host

#: As in runtime/agent/backstop.py: a guardian that does not notice stands still.
UNNOTICED_MAX_S = 5.0


class Spare(Process):
    """The spare of a host; `knows` are the runs that it has handles of."""

    __slots__ = ("alarm", "host", "knows")

    def __init__(self, host: Host, knows: set[int]) -> None:
        super().__init__()
        self.host_frozen = host.frozen
        self.host, self.knows = host, set(knows)
        self.alarm = float("inf")

    def hear(self, message: dict[str, Any]) -> None:
        """Understand one message of the guardian."""
        match message:
            case {"say": "runs", "runs": runs}:
                self.knows = {number for number, _ in runs}
            case {"say": "running", "run": number}:
                self.knows.add(number)
            case {"say": "idle", "run": number}:
                self.knows.discard(number)
            case _:
                pass
        self.watch()

    def watch(self) -> None:
        """Wake when the first of the runs would be late."""
        moment = backstops.look_at(self._deadlines())
        if moment != self.alarm:
            self.alarm = moment
            if moment != float("inf"):
                self.host.at_local(moment, self.deliver, self._ring, moment)

    def _ring(self, moment: float) -> None:
        if moment == self.alarm:
            self.alarm = float("inf")
            self._strike()

    def _deadlines(self) -> dict[int, float]:
        seen = self.host.deadlines
        alive = self.host.programs.alive
        return {run: seen[run] for run in self.knows if run in seen and run in alive}

    def _strike(self) -> None:
        late = backstops.late(self._deadlines(), self.host.local())
        for run in late:
            self.host.programs.kill(run, by_agent=True)
        if late:
            self.host.after(UNNOTICED_MAX_S, self.deliver, self.host.end_frozen_guardian, self)
        else:
            self.watch()
