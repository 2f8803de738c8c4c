"""The judges of task groups: pure functions from what happened to the promises that were broken."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

from tests.simulation.checks.checkers import (
    LAST_MOMENTS_S,
    SAME_MOMENT_S,
    falling_terms,
    overlapping,
    repeated_terms,
    ungranted,
)
from tests.simulation.world.history import Granted, History, Outcome, Ran

#: No node has more to ask in a second: 27 was the most that was seen, among changes and failures.
ASKED_MAX = 60


def group_violations(history: History) -> list[str]:
    """Return every promise about tasks that was broken, the safety ones first."""
    runs, grants = _by_task(history.runs), _grants_by_task(history.grants)
    told = list(history.witnessed)
    for task in sorted(runs):
        told += [f"{task}: {what}" for what in _of_task(task, runs[task], grants[task], history)]
    for task in sorted(grants):
        told += [f"{task}: {what}" for what in repeated_terms(grants[task])]
    told += too_busy(history.asked)
    if history.ended_at >= history.calm_from + history.calm_within_s + LAST_MOMENTS_S:
        told += disagreeing(history.outcome) if history.outcome is not None else []
        told += restless(history)
    return told


def _by_task(runs: Iterable[Ran]) -> dict[str, list[Ran]]:
    found: defaultdict[str, list[Ran]] = defaultdict(list)
    for run in runs:
        found[run.task].append(run)
    return found


def _grants_by_task(grants: Iterable[Granted]) -> defaultdict[str, list[Granted]]:
    found: defaultdict[str, list[Granted]] = defaultdict(list)
    for grant in grants:
        if grant.task:
            found[grant.task].append(grant)
    return found


def _of_task(task: str, runs: list[Ran], grants: list[Granted], history: History) -> list[str]:
    if task in history.repeatable:
        return [*overlapping_together(runs, history.ended_at), *ungranted(runs, grants)]
    return [
        *overlapping(runs, history.ended_at),
        *falling_terms(runs),
        *ungranted(runs, grants),
    ]


def overlapping_together(runs: Iterable[Ran], ended_at: float) -> list[str]:
    """Name every start of a repeatable task beside a run that was still trusted.

    A node that has lost the database may go on; but it must know, by its own clock, that it is
    apart before anybody else may start.
    """
    found = []
    ordered = sorted(runs, key=lambda run: run.start)
    for place, later in enumerate(ordered):
        for run in ordered[:place]:
            lives = (ended_at if run.end is None else run.end) > later.start + SAME_MOMENT_S
            apart = later.start >= run.trusted_until - SAME_MOMENT_S
            # A process that goes on after its machine was stopped has started long before.
            again = any(one.key == later.key for one in ordered[:place])
            if lives and not apart and not again and run.key != later.key:
                found.append(
                    f"together: at {later.start:.3f} {later.node} (term {later.term}) started"
                    f" beside {run.node} (term {run.term}), trusted until {run.trusted_until:.3f}"
                )
    return found


def disagreeing(outcome: Outcome) -> list[str]:
    """Name every task that does not run on its own node alone, and every node that is behind."""
    found = [
        f"behind: {node} has acted on version {version}, the group is at {outcome.version}"
        for node, version in sorted(outcome.acted.items())
        if version != outcome.version
    ]
    for task in sorted(outcome.wanted.keys() | outcome.running.keys()):
        wanted, running = outcome.wanted.get(task), outcome.running.get(task, [])
        if running != ([] if wanted is None else [wanted]):
            found.append(f"misplaced: {task} runs on {running}, and belongs to {wanted}")
    return found


def alone_s(history: History, node: str, died_at: float) -> dict[str, float]:
    """Return how long nobody ran each task that a node ran when it died.

    A task that nobody ran again counts until the end.
    """
    waits: dict[str, float] = {}
    for task, runs in _by_task(history.runs).items():
        ended = [run.end for run in runs if run.node == node and run.end is not None]
        if not any(abs(end - died_at) <= SAME_MOMENT_S for end in ended):
            continue
        starts = [run.start for run in runs if run.start >= died_at]
        waits[task] = min(starts, default=history.ended_at) - died_at
    return waits


def too_busy(asked: Iterable[tuple[float, str]]) -> list[str]:
    """Name every node that asked the database again and again, without a pause, and when it began.

    Shapes: (moment, node), in the order of the moments.
    """
    found: dict[str, str] = {}
    lately: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=ASKED_MAX))
    for at, node in asked:
        moments = lately[node]
        if len(moments) == ASKED_MAX and at - moments[0] < 1.0:
            found.setdefault(node, f"busy: {node} asked {ASKED_MAX} times in a second at {at:.3f}")
        moments.append(at)
    return list(found.values())


def restless(history: History) -> list[str]:
    """Name every token that still changed hands when all had been calm for long enough."""
    due_at = history.calm_from + history.calm_within_s
    return [
        f"restless: at {grant.at:.3f} {grant.node} took {grant.task or 'the token'} again"
        for grant in history.grants
        if grant.at > due_at
    ]
