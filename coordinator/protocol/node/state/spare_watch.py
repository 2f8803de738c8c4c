"""The spare's watch on all runs: it kills what neither guardian nor agent has killed (rule G9).

It depends on no message: the guardian shows each run's deadline in shared memory. A guardian that
does not notice that the spare has killed a run is frozen, and is ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from coordinator.protocol.guardian import wire
from coordinator.protocol.rules import backstops

#: Seconds between two attempts to kill late runs.
AGAIN_S = 0.05
#: A guardian that has not noticed a kill by the spare for this many seconds is frozen.
UNNOTICED_MAX_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpareWatch:
    """Runs of a node, as its spare knows them; moments are seconds of its clock.

    runs:            runs whose handles it knows.
    dead:            runs that it has killed, and the guardian has not noticed yet.
    killed:          number of runs that it has killed so far.
    again_at:        before it, no kill is tried again.
    unnoticed_since: the guardian's last message, or the death of the first of `dead`.
    """

    runs: frozenset[int] = frozenset()
    dead: frozenset[int] = frozenset()
    killed: int = 0
    again_at: float = -math.inf
    unnoticed_since: float = math.inf

    def after_runs(self, runs: Iterable[int]) -> SpareWatch:
        """Replace the known runs."""
        known = frozenset(runs)
        return replace(self, runs=known, dead=self.dead & known)

    def after_start(self, run: int) -> SpareWatch:
        """Add one run whose handle is known."""
        return replace(self, runs=self.runs | {run})

    def after_end(self, run: int) -> SpareWatch:
        """Remove a run of which nothing is left."""
        return replace(self, runs=self.runs - {run}, dead=self.dead - {run})

    def hear(self, word: wire.ToSpare) -> SpareWatch:
        """Apply a message of the guardian about runs."""
        match word:
            case wire.RunsTold(runs):
                return self.after_runs(number for number, _ in runs)
            case wire.RunTold(run):
                return self.after_start(run)
            case wire.RunOver(run):
                return self.after_end(run)
            case _:
                return self

    def after_message(self, now: float) -> SpareWatch:
        """Note a message of the guardian.

        Its content may be old: it counts that it was received after the kill.
        """
        return replace(self, unnoticed_since=now)

    def after_kill(self, tried: Iterable[int], left: Iterable[int], now: float) -> SpareWatch:
        """Note which of the runs to be killed are dead; left: those that are not."""
        dead = frozenset(tried) - frozenset(left)
        first = bool(dead) and not self.dead
        return replace(
            self,
            again_at=now + AGAIN_S,
            unnoticed_since=now if first else self.unnoticed_since,
            dead=self.dead | dead,
            killed=self.killed + len(dead),
        )

    def after_ending_the_guardian(self) -> SpareWatch:
        """Note that the guardian was ended, so that it is not ended again."""
        return replace(self, unnoticed_since=math.inf)

    def late(self, shown: Mapping[int, float], now: float) -> set[int]:
        """Return the runs to kill now; shown: each run's deadline."""
        return backstops.late(self._living(shown), now)

    def guardian_stands_still(self, now: float) -> bool:
        """Say whether the guardian has not noticed for too long that the spare has killed a run."""
        return bool(self.dead) and now >= self.unnoticed_since + UNNOTICED_MAX_S

    def wake_at(self, shown: Mapping[int, float]) -> float:
        """Return the moment of the next action, if no message of the guardian comes before."""
        late_at = max(backstops.first_late_at(self._living(shown)), self.again_at)
        return min(late_at, self.unnoticed_since + UNNOTICED_MAX_S) if self.dead else late_at

    def _living(self, shown: Mapping[int, float]) -> dict[int, float]:
        """Return the deadlines of the runs that have not been killed yet."""
        ours = self.runs - self.dead
        return {run: until for run, until in shown.items() if run in ours}
