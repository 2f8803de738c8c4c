"""Giving a holding up because an administrator asked for it (docs/protocol.md, rules A1 to A4)."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.planned import PlannedChange
from coordinator.protocol.node.events import Command, StopProgram
from coordinator.protocol.node.side_runs import hooks
from coordinator.protocol.node.state.node import Node, give_up, holds
from coordinator.protocol.rules.planned import drain_of, handover, hindrance, said, work_paused

Step = tuple[Node, tuple[Command, ...]]


def resign(node: Node, now: float, reason: str) -> Step:
    """Give the token up by a signal, and leave it to others for one interval."""
    if node.task_state is not None:
        return node, ()
    return _give_way(node, reason, now + node.timing.liveness_s)


def give_way(node: Node, now: float) -> Step:
    """Give the token up when a planned change asks this node for it."""
    if node.view is None or node.leaving is not None or not holds(node):
        return node, ()
    why = _why(node, now)
    return _give_way(node, why) if why else (node, ())


def due_handover(node: Node) -> PlannedChange | None:
    """Return the switchover or resignation that this node, the holder, has to carry out."""
    view = node.view
    if view is None or node.task_state is not None or node.leaving is not None:
        return None
    if not holds(node) or view.token.term <= node.given_up:
        return None
    return handover(view.planned)


def hindered(node: Node, change: PlannedChange, now: float) -> str | None:
    """Return what is in the way of a handover; empty: nothing, None: the standbys are not known.

    Standbys that were read more than a heartbeat ago are not known any more.
    """
    state = node.planned
    if node.view is None or now > state.roster_at + node.timing.heartbeat_s:
        return None
    return hindrance(change, node.view.planned, node.policy.node, state.roster)


def _why(node: Node, now: float) -> str:
    """Return why the present holding has to end; empty: it need not."""
    assert node.view is not None
    planned = node.view.planned
    drain = drain_of(planned, node.policy.node)
    if drain is not None:
        return said(drain)
    if node.task_state is not None:
        return ""  # a pause of a task group is one of its tasks, which follow the record
    paused = work_paused(planned)
    if paused is not None:
        return said(paused)
    change = due_handover(node)
    return said(change) if change is not None and hindered(node, change, now) == "" else ""


def _give_way(node: Node, reason: str, cool_until: float | None = None) -> Step:
    """Stop the program; the token is released when nothing of it is left (L1)."""
    run, view = node.run, node.view
    if run is not None:
        if run.stopping:
            return node, ()
        run = replace(run, stopping=reason)
        node = give_up(replace(node, run=run), run.term, cool_until, why=reason)
        return node, (StopProgram(run.number, reason),)
    if view is None or not holds(node) or view.token.term <= node.given_up:
        return node, ()
    node, killed = hooks.abandon(node, reason, cool_until)
    return give_up(node, view.token.term, cool_until, why=reason), killed
