"""Start and end of a node's worker (rules Q2, J1 to J3).

The worker claims subtasks of operations under the node's session, so it is a run of the guardian
with the session's deadline: when the session is over, so is the worker, and only then may others
take its claims. It is started once in each session, to write what the node offers, and whenever an
operation of the group has an open subtask. It ends by itself when there is nothing to do. A worker
that shows no sign of life is killed, and started again when nothing of it is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from coordinator.protocol.node.events import (
    Command,
    ExtendTrust,
    KillProgram,
    LogLine,
    ProgramEnded,
    ProgramProgressed,
    ProgramRefused,
    ProgramStopping,
    StartProgram,
    StopProgram,
)
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.state.worker import WORKER, WorkerRun
from coordinator.protocol.operations.hung import SIGNS_S, Signs, missed
from coordinator.protocol.rules.epoch import may_act
from coordinator.protocol.rules.trust import fresh

Step = tuple[Node, tuple[Command, ...]]
ProgramEvent = ProgramRefused | ProgramStopping | ProgramEnded | ProgramProgressed

#: Heartbeats after which a worker that had nothing to do is started again, if nobody was notified:
#: by then a heartbeat has read everything.
IDLE_BEATS = 20
#: Seconds before a worker that failed is started again; doubled each time up to the longest.
AGAIN_S = 1.0
AGAIN_LONGEST_S = 10.0


def start_or_stop(node: Node, now: float) -> Step:
    """Start the worker when it is due, and stop it when the node leaves."""
    run = node.worker.run
    if run is not None:
        if node.leaving is None or run.stopping:
            return _watched(node, run, now)
        node = _with(node, replace(run, stopping=True))
        return node, (StopProgram(run.number, node.leaving.reason if node.leaving else ""),)
    if not _wanted(node) or now < node.worker.next_at or not _may_start(node, now):
        return node, ()
    assert node.session is not None
    run = WorkerRun(number=node.run_count + 1, session=node.session, signs=Signs(now))
    node = replace(_with(node, run), run_count=run.number)
    return node, (StartProgram(run.number, 0, node.trusted_until, side=WORKER),)


def moments(node: Node) -> Iterator[float]:
    """Yield every moment at which this module has something to decide."""
    if node.worker.run is None and _wanted(node):
        yield node.worker.next_at
    run = node.worker.run
    if run is not None and not (run.stopping or run.hung):
        yield run.signs.moment


def notified(node: Node, now: float) -> Node:
    """Return the node after a push: an operation may have begun; failures keep their pause."""
    if node.worker.failures:
        return node
    return replace(node, worker=replace(node.worker, next_at=min(node.worker.next_at, now)))


def extended(node: Node) -> tuple[Command, ...]:
    """Move the worker's deadline with the session's trust."""
    run = node.worker.run
    if run is None or run.session != node.session:
        return ()
    return (ExtendTrust(run.number, node.trusted_until),)


def killed(node: Node, reason: str) -> tuple[Command, ...]:
    """Kill the worker at once: its session is over, and its claims may be taken."""
    run = node.worker.run
    return () if run is None else (KillProgram(run.number, reason),)


def on_program(node: Node, event: ProgramEvent) -> Step | None:
    """Apply an event of the worker's run; None for another run's."""
    run = node.worker.run
    if run is None or run.number != event.run:
        return None
    match event:
        case ProgramProgressed():
            return _with(node, replace(run, signs=Signs(event.now))), ()
        case ProgramStopping():
            return node, ()
        case ProgramRefused() if not event.code:
            return _ended(node, run, event.now + node.timing.heartbeat_s, failed=False), ()
        case ProgramRefused():
            return _failed(node, run, event.now, event.why)
        case ProgramEnded() if run.hung:
            return _failed(node, run, event.now, run.hung)
        case ProgramEnded() if event.why == "itself" and event.status:
            return _failed(node, run, event.now, f"it ended with {event.status}")
        case ProgramEnded() if event.why == "itself":
            node = _ended(node, run, event.now + IDLE_BEATS * node.timing.heartbeat_s, failed=False)
            return replace(node, worker=replace(node.worker, offered_in=run.session)), ()
        case ProgramEnded():
            return _ended(node, run, event.now + node.timing.heartbeat_s, failed=False), ()


def _wanted(node: Node) -> bool:
    """Say whether a worker would have something to do."""
    if not node.policy.operates or node.session is None or node.leaving is not None:
        return False
    view = node.view
    return node.worker.offered_in != node.session or (view is not None and view.operations)


def _may_start(node: Node, now: float) -> bool:
    """Say whether a program may be started under the session, as S1 does under a token."""
    view, timing = node.view, node.timing
    return (
        view is not None
        and may_act(view)
        and now < node.trusted_until - timing.last_stop_s(timing.stop_timeout_s)
        and fresh(node.trusted_until, now, timing.lease_s, timing.heartbeat_s)
    )


def _watched(node: Node, run: WorkerRun, now: float) -> Step:
    """Kill the worker if it shows no sign of life (J1); one that is to end has its own limit."""
    if run.stopping or run.hung:
        return node, ()
    signs, hangs = missed(run.signs, now)
    why = f"no sign of life for {SIGNS_S:g} s" if hangs else ""
    node = _with(node, replace(run, signs=signs, hung=why))
    return node, (KillProgram(run.number, why),) if hangs else ()


def _with(node: Node, run: WorkerRun | None) -> Node:
    return replace(node, worker=replace(node.worker, run=run))


def _ended(node: Node, run: WorkerRun, next_at: float, *, failed: bool) -> Node:
    if run.session != node.session:
        next_at = float("-inf")  # a new session begins anew
    failures = node.worker.failures + 1 if failed else 0
    worker = replace(node.worker, run=None, next_at=next_at, failures=failures)
    return replace(node, worker=worker)


def _failed(node: Node, run: WorkerRun, now: float, why: str) -> Step:
    pause_s = min(AGAIN_S * 2.0 ** min(node.worker.failures, 10), AGAIN_LONGEST_S)
    node = _ended(node, run, now + pause_s, failed=True)
    return node, (LogLine("worker-failed", (("why", why), ("wait_s", pause_s))),)
