"""Detection of a program that lives and does nothing (rules M1 to M4).

The group's own program shows signs of life in two ways: it reports progress, or its health checks
succeed. Where they fail to come, the program is stopped like one whose node resigns, and its token
is released with a mark: other nodes go first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from coordinator.protocol.node.events import (
    Command,
    LogLine,
    ProgramEnded,
    ProgramProgressed,
    ProgramRefused,
    StopProgram,
)
from coordinator.protocol.node.side_runs import runs
from coordinator.protocol.node.state.node import Node, give_up
from coordinator.protocol.node.state.run import INHERITED, Run
from coordinator.protocol.node.state.side_runs import (
    HungPolicy,
    Kind,
    ProgramWatch,
    SideRun,
)

Step = tuple[Node, tuple[Command, ...]]

#: Seconds, and share of progressTimeout, for which an overdue report is waited for once more: what
#: was reported while the node itself stood still is read first (M1).
SECOND_LOOK_S = 0.5
SECOND_LOOK_SHARE = 0.25


def begun(run: Run, policy: HungPolicy, now: float) -> ProgramWatch:
    """Begin to watch a run of the program that was just ordered."""
    health = policy.health
    check_at = float("inf") if health is None else now + health.delay_s
    return ProgramWatch(run=run.number, progressed_at=now, check_at=check_at)


def progressed(node: Node, event: ProgramProgressed) -> Node:
    """Note a report of progress of the run that is watched (M2)."""
    watch = node.program_watch
    if watch is None or not _is_of(watch, event.run):
        return node
    watch = replace(watch, progressed_at=event.now, overdue_at=None)
    return replace(node, program_watch=watch)


def checked(node: Node, side: SideRun, event: ProgramEnded | ProgramRefused) -> Node:
    """Note the end of a health check of the run that is watched (M3)."""
    node = runs.ended(node, side)
    watch, health = node.program_watch, node.policy.hung.health
    if watch is None or health is None or not _is_of(watch, side.about):
        return node
    check_at = max(event.now, side.started_at + health.interval_s)
    watch = replace(watch, check_at=check_at)
    why = runs.failure(side, event)
    if why is not None:
        watch = replace(watch, failures=watch.failures + 1 if why else 0, why=why)
    return replace(node, program_watch=watch)


def stop_or_check(node: Node, now: float) -> Step:
    """Stop the program if it has hung, and start the health check that is due."""
    watch = _watch(node)
    if watch is None:
        return node, ()
    node, why = _look(node, watch, now)
    if why:
        return _stop(node, why, now)
    if now < watch.check_at or runs.of_kind(node, Kind.HEALTH):
        return node, ()
    assert node.run is not None
    assert node.policy.hung.health is not None
    timeout_s = node.policy.hung.health.timeout_s
    term = node.run.term
    return runs.start(node, Kind.HEALTH, term=term, about=watch.run, for_s=timeout_s, now=now)


def moments(node: Node) -> Iterator[float]:
    """Yield every moment at which this module has something to decide."""
    watch = _watch(node)
    if watch is None:
        return
    yield from _progress_at(watch, node.policy.hung.progress_s)
    if runs.of_kind(node, Kind.HEALTH) is None:
        yield watch.check_at


def _watch(node: Node) -> ProgramWatch | None:
    """Return the watch on a program that may run, and was not told to end."""
    run = node.run
    if run is None or run.stopping or run.number == INHERITED:
        return None
    return node.program_watch


def _is_of(watch: ProgramWatch, run: int) -> bool:
    """Say whether a sign of life is one of the run that is watched; an old run's proves nothing."""
    return watch.run == run


def _progress_at(watch: ProgramWatch, progress_s: float) -> Iterator[float]:
    if not progress_s:
        return
    if watch.overdue_at is None:
        yield watch.progressed_at + progress_s
    else:
        yield watch.overdue_at + min(SECOND_LOOK_S, SECOND_LOOK_SHARE * progress_s)


def _look(node: Node, watch: ProgramWatch, now: float) -> tuple[Node, str]:
    """Return why the program counts as hung, if it does; an overdue report gets a second look."""
    hung = node.policy.hung
    if hung.health is not None and watch.failures >= hung.health.failures_max:
        checks = "1 health check" if watch.failures == 1 else f"{watch.failures} health checks"
        return node, f"{checks} failed ({watch.why})"
    due_at = next(_progress_at(watch, hung.progress_s), None)
    if due_at is None or now < due_at:
        return node, ""
    if watch.overdue_at is not None:
        return node, f"no progress for {hung.progress_s:g} s"
    return replace(node, program_watch=replace(watch, overdue_at=now)), ""


def _stop(node: Node, why: str, now: float) -> Step:
    """Stop the hung program, and have its token released with a mark (M4)."""
    run = node.run
    assert run is not None
    node = replace(node, run=replace(run, stopping=why), hung_term=run.term)
    wait_s = node.timing.liveness_s
    node = give_up(node, run.term, now + wait_s, why=why)
    line = LogLine("hung", (("why", why), ("wait_s", wait_s)))
    return node, (line, StopProgram(run.number, why))
