"""Runs that were ordered and wait for the state of their token (docs/protocol.md, rule Y4).

    ordered --loaded--> the guardian gets the order, if trust is still fresh (T5)
       |
       `----failed, stopped, killed--> refused: nothing ever ran

The agent reads a state beside its heartbeats, over a connection of its own. Meanwhile the guardian
knows nothing of the run. So what the machine orders about it, an extension or an end, is applied
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coordinator.protocol.guardian.events import EVERY_RUN
from coordinator.protocol.node.events import OpenGate, ProgramRefused, StartProgram
from coordinator.protocol.rules.timing import Timing
from coordinator.protocol.rules.trust import fresh

#: Orders that let a program act.
LetAct = StartProgram | OpenGate


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLoads:
    """Ordered starts whose state is still being read, by the number of their run."""

    timing: Timing
    runs: Mapping[int, LetAct] = field(default_factory=dict)

    def after_order(self, command: LetAct) -> StateLoads:
        """Note that a start, or the opening of a gate, was ordered."""
        return replace(self, runs={**self.runs, command.run: command})

    def after_extension(self, number: int, trusted_until: float) -> StateLoads:
        """Move the deadline of one run, or of every run."""
        if not self.runs:
            return self
        runs = {
            run: replace(command, trusted_until=max(command.trusted_until, trusted_until))
            if number in (EVERY_RUN, run)
            else command
            for run, command in self.runs.items()
        }
        return replace(self, runs=runs)

    def after_end(self, number: int, now: float) -> tuple[StateLoads, ProgramRefused | None]:
        """Drop a run that was told to end; it never ran. None: it waits for no state."""
        return self.after_failure(number, "stopped before it was started", 0, now)

    def after_failure(
        self, number: int, why: str, code: int, now: float
    ) -> tuple[StateLoads, ProgramRefused | None]:
        """Refuse a run whose state could not be read or written; None: it was dropped before."""
        if number not in self.runs:
            return self, None
        return self._without(number), ProgramRefused(now, number, why, code)

    def after_load(
        self, number: int, now: float
    ) -> tuple[StateLoads, LetAct | ProgramRefused | None]:
        """Return the order with the trust of now, or a refusal where that is not fresh.

        None: the run was dropped before.
        """
        command = self.runs.get(number)
        if command is None:
            return self, None
        timing, until = self.timing, command.trusted_until
        if not fresh(until, now, timing.lease_s, timing.heartbeat_s):
            return self.after_failure(number, "trust grew old while its state was read", 0, now)
        return self._without(number), command

    def _without(self, number: int) -> StateLoads:
        return replace(self, runs={run: it for run, it in self.runs.items() if run != number})
