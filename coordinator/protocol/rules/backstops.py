"""Backstop deadlines: runs that agent or spare must kill because the guardian has not (G7, G9).

The guardian kills a run at its deadline. Agent and spare kill it a little later if it is still
alive; they do not ask why the guardian did not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

#: Any process with a handle may kill a run this long after its deadline; the guardian needs less.
BACKSTOP_S = 0.05


def late(deadlines: Mapping[int, float], now: float) -> set[int]:
    """Return the runs that the guardian should have killed by now."""
    return {run for run, trusted_until in deadlines.items() if now >= trusted_until + BACKSTOP_S}


def first_late_at(deadlines: Mapping[int, float]) -> float:
    """Return the moment at which the first run becomes late; infinity without runs."""
    return min(deadlines.values(), default=math.inf) + BACKSTOP_S
