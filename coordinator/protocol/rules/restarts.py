"""Answer the program's own end: restart, release or stop; and crash loops."""

from __future__ import annotations

from dataclasses import dataclass

#: A program that ran this long was not crashing at once; its count starts again.
STEADY_S = 10.0
#: The first restart waits this long, each further one twice as long.
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
#: So many quick ends in a row are a crash loop: the token goes to another node.
QUICK_ENDS_MAX = 5


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often in a row the program ended quickly, and when it may start again."""

    quick_ends: int = 0
    start_at: float = float("-inf")


def ended(restarts: Restarts, ran_s: float, now: float) -> Restarts:
    """Count one end of the program by itself."""
    quick_ends = 1 if ran_s >= STEADY_S else restarts.quick_ends + 1
    backoff_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (quick_ends - 1))
    return Restarts(quick_ends, now + backoff_s)


def crash_loop(restarts: Restarts) -> bool:
    """Say whether this node should let another one try."""
    return restarts.quick_ends >= QUICK_ENDS_MAX
