"""The machine of one node: events in, commands out, time as an argument.

    Node + Event  --step-->  Node + Commands

A step applies the event (intake.py), then ends what time has ended (here), then decides what to do
next (next_request.py). Decisions depend on the state only, never on the event: whatever was lost,
late or duplicated, the next step starts from what is believed now.

The life of a node:

    no session --Join--> standby --Take--> active --StopProgram, Release--> standby
        ^                   |                |
            +--- trust ended, or session ended by another node: the program is killed first ---+

The program is started only through `may_start`. It keeps running only through an acknowledged
heartbeat that was sent less than a lease ago.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.node import worker
from coordinator.protocol.node.events import (
    Ask,
    Command,
    Event,
    Finish,
    LogLine,
    StopProgram,
)
from coordinator.protocol.node.gate import prepared
from coordinator.protocol.node.intake import absorb
from coordinator.protocol.node.next_request import next_request, wake_moments
from coordinator.protocol.node.planned import interval
from coordinator.protocol.node.planned.give_way import give_way
from coordinator.protocol.node.program_end import lose
from coordinator.protocol.node.side_runs import hooks, hung, one_offs
from coordinator.protocol.node.state.node import (
    Node,
    active,
    end_own_session,
    give_up,
    held_by_other,
    holds,
    may_start,
    program_left,
)
from coordinator.protocol.node.tasks.start_stop import start_or_stop
from coordinator.protocol.node.waiting import give_up_waiting
from coordinator.protocol.rules.trust import expired

Step = tuple[Node, tuple[Command, ...]]


def step(node: Node, event: Event) -> Step:
    """Apply one event and return the commands, in the order in which to perform them."""
    if node.finished:
        return node, ()
    now = event.now
    # Trust that ran out before the event was handled is over, whatever the event says.
    node, late = _expire(node, now)
    node, taken = absorb(node, event)
    node, over = _expire(node, now)
    node, started = _start_or_stop(node, now)
    node, withdrawn = one_offs.stop(node)
    node, readied = prepared.prepare(node, now)
    node, brought = start_or_stop(node, now)
    node, worked = worker.start_or_stop(node, now)
    node, asked = _ask(node, now)
    node, reported = _report(node, now)
    begun = (*started, *withdrawn, *readied, *brought, *worked)
    return node, (*late, *taken, *over, *begun, *asked, *reported)


def wake_at(node: Node, now: float) -> float:
    """Return the moment at which the node must be ticked even when nothing happens.

    Everything due by `now` has been decided by the step at `now`.
    """
    return min((moment for moment in wake_moments(node) if moment > now), default=float("inf"))


def _expire(node: Node, now: float) -> Step:
    """End the node's own session when its trust is over."""
    if node.session is None or not expired(node.trusted_until, now):
        return node, ()
    commands: list[Command] = [LogLine("trust-ended", (("session", node.session),))]
    unheard_since = node.trusted_until - node.timing.lease_s
    node = replace(end_own_session(node), unheard_since=unheard_since, view=None, beat_at=now)
    node, killed = lose(node, "trust ended", now)
    return node, (*commands, *killed)


def _start_or_stop(node: Node, now: float) -> Step:
    node = give_up_waiting(node, now)
    if node.run is not None and not node.run.stopping and node.leaving is not None:
        run = replace(node.run, stopping=node.leaving.reason)
        node = give_up(replace(node, run=run), run.term, why=run.stopping)
        return node, (StopProgram(run.number, run.stopping),)
    node, stopped = give_way(node, now)
    if node.leaving is not None:
        return hooks.abandon(node, node.leaving.reason)
    if may_start(node, now):
        assert node.view is not None
        preparing = hooks.prepare(node, node.view.token.term, now)
        if preparing is not None:
            return preparing
        node, run, command = prepared.begin(node, node.view.token.term, now)
        watch = hung.begun(run, node.policy.hung, now)
        run_count = max(node.run_count, run.number)
        node = replace(node, run=run, run_count=run_count, program_watch=watch, prepared=0)
        return node, (command,)
    if stopped:
        return node, stopped
    return hung.stop_or_check(node, now)


def _ask(node: Node, now: float) -> Step:
    if node.pending is not None or now < node.retry_at:
        return node, ()
    if node.leaving is not None and _may_finish(node, now):
        node = replace(node, finished=True)
        assert node.leaving is not None
        return node, (Finish(node.leaving.code, node.leaving.trouble),)
    node, request = next_request(node, now)
    if request is None:
        return node, ()
    return replace(interval.asked(node, request), pending=request), (Ask(request),)


def _may_finish(node: Node, now: float) -> bool:
    assert node.leaving is not None
    if program_left(node) or node.side_runs:
        return False
    nothing_left = node.session is None and node.previous is None and node.bury is None
    give_up_at = node.leaving.give_up_at
    return nothing_left or (give_up_at is not None and now >= give_up_at)


def _report(node: Node, now: float) -> Step:
    """Report a change of role, once, as one line."""
    role = _role(node, now)
    node, told = hooks.tell_change(node, role, now)
    if role == node.standing:
        return node, told
    node = replace(node, standing=role)
    term = node.run.term if node.run else (node.view.token.term if node.view else 0)
    holder = node.view.token.node if node.view and held_by_other(node) else None
    return node, (*told, LogLine(role, (("term", term), ("holder", holder))))


def _role(node: Node, now: float) -> str:
    if node.finished:
        return "left"
    if node.run is not None:
        return "active" if active(node, now) else "stopping"
    if node.session is None:
        return "candidate" if node.standing else ""
    if node.view is None:
        return node.standing  # one failed read is no change of role
    if node.task_state is not None:
        return _standing(node)
    if node.standing == "active" and holds(node) and node.view.token.term > node.given_up:
        return "active"  # the program has ended, and starts again under the same term
    return "standby"


def _standing(node: Node) -> str:
    """Return the node's standing in the group's record; the last one while it is not read."""
    assert node.task_state is not None
    record = node.task_state.record
    me = None if record is None else record.nodes.get(node.policy.node)
    return node.standing if me is None or me.session != node.session else str(me.standing)
