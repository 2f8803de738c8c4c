"""The judges: pure functions from what happened to the promises that were broken.

They know nothing of the machine. An empty answer means that the promise was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from tests.simulation.world.history import Granted, History, Ran

#: Moments closer than this are one moment: a run may start when another has just ended.
SAME_MOMENT_S = 1e-9
#: Events of the last moments of a world have no time to be put right.
LAST_MOMENTS_S = 0.5


def overlapping(runs: Iterable[Ran], ended_at: float) -> list[str]:
    """Name every moment at which two programs ran at once, on two nodes or on one."""
    found = []
    latest: Ran | None = None
    for run in sorted(runs, key=lambda run: (run.start, run.end or ended_at)):
        if latest is not None and run.start < _end(latest, ended_at) - SAME_MOMENT_S:
            shared_s = min(_end(run, ended_at), _end(latest, ended_at)) - run.start
            if shared_s > SAME_MOMENT_S:
                found.append(
                    f"overlap: at {run.start:.3f} {run.node} (term {run.term}) started while"
                    f" {latest.node} (term {latest.term}) ran on, together {shared_s:.3f} s"
                )
        if latest is None or _end(run, ended_at) > _end(latest, ended_at):
            latest = run
    return found


def beside_another(one_offs: Iterable[Ran], runs: Iterable[Ran], ended_at: float) -> list[str]:
    """Name every one-off that ran beside a run of another holding: a program, or another one-off.

    Beside those of its own holding it may run (M12).
    """
    everything = [*one_offs, *runs]
    return [
        f"one-off: {one.node} (term {one.term}) ran from {one.start:.3f} on beside {other.node}"
        f" (term {other.term}), which ran from {other.start:.3f} on"
        for one in one_offs
        for other in everything
        if (one.node, one.session, one.term) != (other.node, other.session, other.term)
        and one.start < _end(other, ended_at) - SAME_MOMENT_S
        and other.start < _end(one, ended_at) - SAME_MOMENT_S
    ]


def falling_terms(runs: Iterable[Ran]) -> list[str]:
    """Name every start whose term is not above all terms that ran before, or its own holding's."""
    found = []
    highest, holder = 0, ("", "")
    for run in sorted(runs, key=lambda run: run.start):
        holding = (run.node, run.session)
        if run.term == highest and holding == holder:
            continue
        if run.term <= highest:
            found.append(
                f"term: at {run.start:.3f} {run.node} ran under {run.term} after {highest}"
            )
        highest, holder = max(highest, run.term), holding
    return found


def repeated_terms(grants: Iterable[Granted]) -> list[str]:
    """Name every grant whose term does not rise above the one before, lost commits included."""
    return [
        f"grant: at {later.at:.3f} {later.node} got term {later.term} after {earlier.term}"
        for earlier, later in pairwise(grants)
        if later.term <= earlier.term
    ]


def ungranted(runs: Iterable[Ran], grants: Iterable[Granted]) -> list[str]:
    """Name every run whose term the store had not granted to its node and session before."""
    granted = {(grant.node, grant.session, grant.term): grant.at for grant in grants}
    return [
        f"ungranted: at {run.start:.3f} {run.node} ran under {run.term}, which it never got"
        for run in runs
        if run.start < granted.get((run.node, run.session, run.term), float("inf"))
    ]


def unnoticed(history: History) -> list[str]:
    """Name every program that hung and ran on in one stretch for longer than it may (M1, M3)."""
    return [
        f"hung: at {hung.at:.3f} the program of {hung.node} hung, and was not stopped"
        for hung in history.hangs
        for run in history.runs
        if run.key == hung.key
        and run.start <= hung.at
        and _end(run, history.ended_at) > hung.at + history.found_within_s
    ]


def stalled(history: History) -> list[str]:
    """Say whether nobody ran after everything had healed, or a holder did not stay."""
    due_at = history.calm_from + history.calm_within_s
    if due_at + LAST_MOMENTS_S > history.ended_at:
        return []
    late = [run for run in history.runs if _end(run, history.ended_at) > due_at]
    staying = [run for run in late if run.start <= due_at and run.end is None]
    if staying:
        return []
    told = ", ".join(f"{run.node} {run.start:.2f}-{run.end or 0:.2f}" for run in late)
    return [f"stalled: healed at {history.calm_from:.2f}, no lasting run by {due_at:.2f} ({told})"]


def _end(run: Ran, ended_at: float) -> float:
    return ended_at if run.end is None else run.end


def violations(history: History) -> list[str]:
    """Return every promise that was broken, the safety ones first."""
    judges: tuple[Callable[[], list[str]], ...] = (
        lambda: overlapping(history.runs, history.ended_at),
        lambda: beside_another(history.one_offs, history.runs, history.ended_at),
        lambda: falling_terms(history.runs),
        lambda: repeated_terms(history.grants),
        lambda: ungranted(history.runs, history.grants),
        lambda: list(history.witnessed),
        lambda: unnoticed(history),
        lambda: stalled(history),
    )
    return [told for judge in judges for told in judge()]
