"""The spare's watch on all runs: it kills what neither guardian nor agent has killed (rule G9).

It needs a word of nobody: the guardian shows in memory until when each run is trusted. A guardian
that does not notice what the spare has killed stands still, and is ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from coordinator.protocol.guardian import wire
from coordinator.protocol.rules import backstops

#: Between two tries to kill what is late.
AGAIN_S = 0.05
#: A guardian that has not noticed for so long that the spare killed a program stands still.
UNNOTICED_MAX_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpareWatch:
    """Runs of a node, as its spare knows them; moments are seconds of its clock.

    runs:            what it knows how to kill.
    dead:            what it has killed, and the guardian has not noticed yet.
    killed:          how many runs it has killed so far.
    again_at:        before it, nothing is tried again.
    unnoticed_since: when the guardian last gave a sign of life, or the first of `dead` died.
    """

    runs: frozenset[int] = frozenset()
    dead: frozenset[int] = frozenset()
    killed: int = 0
    again_at: float = -math.inf
    unnoticed_since: float = math.inf

    def after_runs(self, runs: Iterable[int]) -> SpareWatch:
        """Hear of all runs there are."""
        known = frozenset(runs)
        return replace(self, runs=known, dead=self.dead & known)

    def after_start(self, run: int) -> SpareWatch:
        """Hear how to kill one more run."""
        return replace(self, runs=self.runs | {run})

    def after_end(self, run: int) -> SpareWatch:
        """Hear that nothing of a run is left."""
        return replace(self, runs=self.runs - {run}, dead=self.dead - {run})

    def hear(self, word: wire.ToSpare) -> SpareWatch:
        """Take in what the guardian said of runs."""
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
        """Note that the guardian has said something.

        Some of what it says may be old: what counts is that it was heard after the kill.
        """
        return replace(self, unnoticed_since=now)

    def after_kill(self, tried: Iterable[int], left: Iterable[int], now: float) -> SpareWatch:
        """Note which of the runs that were to be killed are dead, and which are left."""
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
        """Note that the guardian was ended: it is done once."""
        return replace(self, unnoticed_since=math.inf)

    def late(self, shown: Mapping[int, float], now: float) -> set[int]:
        """Return what to kill now; shown: until when each run is trusted."""
        return backstops.late(self._living(shown), now)

    def guardian_stands_still(self, now: float) -> bool:
        """Say whether the guardian has not noticed for too long what the spare has killed."""
        return bool(self.dead) and now >= self.unnoticed_since + UNNOTICED_MAX_S

    def wake_at(self, shown: Mapping[int, float]) -> float:
        """Return when there is something to do, if the guardian says nothing before."""
        late_at = max(backstops.look_at(self._living(shown)), self.again_at)
        return min(late_at, self.unnoticed_since + UNNOTICED_MAX_S) if self.dead else late_at

    def _living(self, shown: Mapping[int, float]) -> dict[int, float]:
        """Return the deadlines of what has not been killed yet."""
        ours = self.runs - self.dead
        return {run: until for run, until in shown.items() if run in ours}
