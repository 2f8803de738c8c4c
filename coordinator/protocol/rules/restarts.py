"""Restarts after a program has ended by itself: backoff, and detection of crash loops."""

from __future__ import annotations

from dataclasses import dataclass

#: A program that ran for this long did not crash at once; the count of quick ends starts again.
STEADY_S = 10.0
#: The first restart waits this long, in seconds; each further one waits twice as long.
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
#: This many quick ends in a row are a crash loop: the token goes to another node.
QUICK_ENDS_MAX = 5
#: Beginning of the reason for which the token is given back then, in the history; `coord status`
#: knows a crash loop by it.
CRASH_LOOP = "crash loop"
#: End of that reason when this node never takes the token again in its present life.
RETIRED = "not started here again"


@dataclass(frozen=True, slots=True)
class Restarts:
    """Number of quick ends in a row, and the moment from which the program may start again."""

    quick_ends: int = 0
    start_at: float = float("-inf")


def ended(restarts: Restarts, ran_s: float, now: float) -> Restarts:
    """Count one end that the program brought about itself."""
    quick_ends = 1 if ran_s >= STEADY_S else restarts.quick_ends + 1
    backoff_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (quick_ends - 1))
    return Restarts(quick_ends, now + backoff_s)


def crash_loop(restarts: Restarts) -> bool:
    """Say whether this node should let another one try."""
    return restarts.quick_ends >= QUICK_ENDS_MAX


def status_words(status: int) -> str:
    """Return how a program ended; a negative status is a signal."""
    return f"exit code {status}" if status >= 0 else f"signal {-status}"


def code_of(status: int) -> int:
    """Return the exit code of a program's end, as a shell has it; status below 0: a signal."""
    return status if status >= 0 else 128 - status
