"""Ends of a program's run, and the consequence of each for the node."""

from __future__ import annotations

import signal
from dataclasses import replace

from coordinator.protocol.node import worker
from coordinator.protocol.node.events import (
    Command,
    KillProgram,
    LogLine,
    ProgramEnded,
    ProgramProgressed,
    ProgramRefused,
    ProgramStopping,
)
from coordinator.protocol.node.gate import prepared
from coordinator.protocol.node.side_runs import hooks, hung, one_offs, runs
from coordinator.protocol.node.state.node import (
    LOST_CODE,
    Leaving,
    Node,
    OnExit,
    ProgramEnd,
    give_up,
    holds,
)
from coordinator.protocol.node.state.run import Run
from coordinator.protocol.node.state.side_runs import Kind, SideRun
from coordinator.protocol.node.tasks import intake as task_intake
from coordinator.protocol.rules.restarts import (
    CRASH_LOOP,
    QUICK_ENDS_MAX,
    RETIRED,
    Restarts,
    code_of,
    crash_loop,
    status_words,
)
from coordinator.protocol.rules.restarts import ended as counted

Step = tuple[Node, tuple[Command, ...]]

#: Heartbeats for which a program that could not be started is not tried again here.
REFUSED_BEATS = 2.0
#: Reasons for giving a token up, as the history has them. People of other groups read it, so it has
#: no text of the program's own.
NO_ACKNOWLEDGEMENT = "no heartbeat was acknowledged in time"
NOT_STARTED = "the program was not started"
#: The guardian's reasons for an end that nobody asked for.
ENDINGS = {"trust": NO_ACKNOWLEDGEMENT, "killed": "it was killed", "agent": "the agent had died"}


def on_program(node: Node, event: task_intake.ProgramEvent) -> Step:
    """Route an event of a run to its owner: a task, a side run, or the group's own program."""
    of_task = task_intake.on_program(node, event)
    if of_task is not None:
        return of_task
    of_worker = worker.on_program(node, event)
    if of_worker is not None:
        return of_worker
    if isinstance(event, ProgramRefused | ProgramEnded):
        of_prepared = prepared.on_event(node, event)
        if of_prepared is not None:
            return of_prepared
    side = next((it for it in node.side_runs if it.number == event.run), None)
    if side is not None:
        return _on_side_run(node, side, event)
    match event:
        case ProgramRefused():
            return refused(node, event)
        case ProgramStopping():
            return stopping(node, event)
        case ProgramEnded():
            return ended(node, event)
        case ProgramProgressed():
            return hung.progressed(node, event), ()


def _on_side_run(node: Node, side: SideRun, event: task_intake.ProgramEvent) -> Step:
    """Apply an event of a side run; only its end says something."""
    match event:
        case ProgramRefused() | ProgramEnded() if side.kind is Kind.HEALTH:
            return hung.checked(node, side, event), ()
        case ProgramRefused() | ProgramEnded() if side.kind is Kind.ONE_OFF:
            return one_offs.ended(node, side, event)
        case ProgramRefused() | ProgramEnded():
            return hooks.ended(node, side, event)
        case ProgramStopping() | ProgramProgressed():
            return node, ()


def lose(node: Node, reason: str, now: float) -> Step:
    """Kill everything that runs at once: another node may be about to start the program."""
    node, killed = task_intake.lose_all(node, reason, now)
    killed = (*killed, *worker.killed(node, reason), *runs.killed(node, reason))
    if node.run is None:
        return node, killed
    run = replace(node.run, stopping=node.run.stopping or reason, over=True)
    node = give_up(replace(node, run=run), run.term, why=reason)
    return node, (*killed, KillProgram(run.number, reason))


def check_token(node: Node, now: float) -> Step:
    """Lose the token when an answer shows it gone, or held under another term than believed."""
    node, killed = one_offs.lost(node)
    run = node.run
    if run is None:
        node, more = hooks.lost(node)
        return node, (*killed, *more)
    if run.over or node.view is None:
        return node, killed
    if holds(node) and node.view.token.term == run.term:
        return node, killed
    return lose(node, "the database names another holding", now)


def stopping(node: Node, event: ProgramStopping) -> Step:
    """Note that the guardian has begun to stop the run: trust in it is not extended any more."""
    run = node.run
    if run is None or run.number != event.run or run.over:
        return node, ()
    run = replace(run, stopping=run.stopping or "trust", over=True)
    return give_up(replace(node, run=run), run.term, why=NO_ACKNOWLEDGEMENT), ()


def refused(node: Node, event: ProgramRefused) -> Step:
    """Give the token up, because the program never started; leave when the file is the cause.

    Otherwise trust or a process was lacking, and other nodes may try first.
    """
    if node.run is None or node.run.number != event.run:
        return node, ()
    cool_until = max(node.cool_until, event.now + REFUSED_BEATS * node.timing.heartbeat_s)
    why = NOT_STARTED + (f" (exit code {event.code})" if event.code else "")
    node = give_up(replace(node, run=None), node.run.term, cool_until, why=why)
    if event.code:
        node = replace(node, leaving=node.leaving or Leaving("refused", event.code, event.why))
    return node, (LogLine("program-refused", (("why", event.why),)),)


def ended(node: Node, event: ProgramEnded) -> Step:
    """Decide the consequence of a run's end; everything of the run is dead."""
    run = node.run
    if run is None or run.number != event.run:
        return node, ()
    fields = (("status", event.status), ("why", run.stopping or event.why), ("term", run.term))
    line = LogLine("program-ended", (*fields, ("forced", event.forced)))
    seen_at = event.now if event.at is None else min(event.at, event.now)
    node = replace(node, run=None, ended=ProgramEnd(run.term, seen_at))
    checks = runs.checks_killed(node, "its program ended")
    why = run.stopping or ENDINGS.get(event.why, event.why)
    node, clearing = hooks.clear_up(node, run, why, event.now)
    checks = (*checks, *clearing)
    if run.stopping or event.why != "itself":
        node = _left_by(_given_up(node, run, why, event.now), run.stopping, event.status)
        return _lost(node, run), (line, *checks)
    after = _ended_itself(node, event, run.term, event.now - run.started_at)
    return after, (line, *checks, *_crash_loop(node, after, event))


def _given_up(node: Node, run: Run, why: str, now: float) -> Node:
    """Give the term up; after a hung program other nodes go first, counted from its end (M4)."""
    if node.hung_term != run.term:
        return give_up(node, run.term, why=why)
    cool_until = max(node.cool_until, now + node.timing.liveness_s)
    return give_up(node, run.term, cool_until, why=why)


def _lost(node: Node, run: Run) -> Node:
    if node.policy.once and node.leaving is None:
        trouble = "the token was lost while the program ran; it was stopped"
        if node.hung_term == run.term:
            trouble = f"the program hung, and was stopped: {run.stopping}"
        return replace(node, leaving=Leaving("lost", LOST_CODE, trouble))
    return node


def _left_by(node: Node, stopping: str, status: int) -> Node:
    """Leave with the program's exit code, if it ended because the node was told to leave."""
    leaving = node.leaving
    if not node.policy.exits_as_program or leaving is None or leaving.reason != stopping:
        return node
    return replace(node, leaving=replace(leaving, code=code_of(status)))


def code_of_signal(node: Node, reason: str) -> int:
    """Return the exit code of a node that a signal ends, unless its program's end replaces it."""
    if not node.policy.exits_as_program or reason not in signal.Signals.__members__:
        return 0
    return code_of(-signal.Signals[reason])


def _ended_itself(node: Node, event: ProgramEnded, term: int, ran_s: float) -> Node:
    now, status = event.now, status_words(event.status)
    ended_so = f"the program ended ({status})"
    match dict(node.policy.on_status).get(event.status, node.policy.on_exit):
        case OnExit.STOP:
            leaving = node.leaving or Leaving(ended_so, code_of(event.status))
            return give_up(replace(node, leaving=leaving), term, why=ended_so)
        case OnExit.RETIRE:
            return give_up(node, term, float("inf"), why=f"{ended_so}: {RETIRED}")
        case OnExit.RELEASE:
            cool_until = now + 2 * node.timing.heartbeat_s
            return give_up(node, term, cool_until, why=ended_so)
        case OnExit.RESTART:
            restarts = counted(node.restarts, ran_s, now)
            if not crash_loop(restarts):
                return replace(node, restarts=restarts)
            # It crashes here again and again: let another node try, and this one later.
            node = replace(node, restarts=Restarts(start_at=restarts.start_at))
            why = f"{CRASH_LOOP}: {restarts.quick_ends} quick ends in a row, the last with {status}"
            return give_up(node, term, now + node.timing.liveness_s, why=why)


def _crash_loop(before: Node, after: Node, event: ProgramEnded) -> tuple[LogLine, ...]:
    """Report why the token goes to another node although its program was to be restarted."""
    on_exit = dict(before.policy.on_status).get(event.status, before.policy.on_exit)
    if on_exit is not OnExit.RESTART or after.given_up == before.given_up:
        return ()
    wait_s = after.cool_until - event.now
    return (LogLine("crash-loop", (("count", QUICK_ENDS_MAX), ("wait_s", wait_s))),)
