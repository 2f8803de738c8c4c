"""When others than the guardian kill a run: it is late, as all who hold its handle see (G7, G9).

The guardian kills at the deadline. Agent and spare kill a little later what should be dead by
then; neither asks why the guardian did not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

#: So long after its deadline a run is everybody's to kill; the guardian needs less.
BELT_S = 0.05


def late(deadlines: Mapping[int, float], now: float) -> set[int]:
    """Return the runs that the guardian should have killed."""
    return {run for run, trusted_until in deadlines.items() if now >= trusted_until + BELT_S}


def look_at(deadlines: Mapping[int, float]) -> float:
    """Return when the first of the runs will be late; never, when there is none."""
    return min(deadlines.values(), default=math.inf) + BELT_S
