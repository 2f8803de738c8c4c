"""The end of waiting for a node with -n or -w, and the message that it leaves with (rule L5).

-n       leaves as soon as the token is seen with a live node. A holder that looks dead is waited
         out: its interval decides, and no other node can shorten that.
-w SECS  leaves when the time is over, unless the token is free: taking that is two round trips.
-n leaves a paused group, and a node that is drained: nobody knows for how long that stands.

A holder looks dead by the age of its last heartbeat on the server's clock. That is a hint: it
decides which nodes wait, never which may take the token.
"""

from __future__ import annotations

import math
from dataclasses import replace

from coordinator.protocol.messages.requests import NodeSeen, Take, View
from coordinator.protocol.node.next_request import take_at
from coordinator.protocol.node.state.node import Leaving, Node, held_by_other, holds, is_free
from coordinator.protocol.rules.planned import drain_of, may_take, said, takes_paused

#: Intervals after which a live holder's heartbeat is overdue; a live one is rarely older.
OVERDUE_BEATS = 2


def give_up_waiting(node: Node, now: float) -> Node:
    """Leave with the conflict code when the node was told not to wait, or to wait no longer."""
    policy = node.policy
    if node.run is not None or node.leaving is not None or holds(node):
        return node
    is_over = policy.wait_until is not None and now >= policy.wait_until
    gives_up = is_over and not _about_to_take(node)
    if policy.nonblock and held_by_other(node) and not _waits_for_silent(node):
        gives_up = True
    if policy.nonblock and node.view is not None and _is_forbidden(node, node.view):
        gives_up = True
    if not gives_up:
        return node
    return replace(node, leaving=Leaving("conflict", policy.conflict_code, _trouble(node)))


def looks_dead(holder: NodeSeen) -> bool:
    """Say whether a holder's heartbeat is overdue."""
    return holder.age_s > OVERDUE_BEATS * holder.heartbeat_s


def wait_that_suffices_s(node: Node, holder: NodeSeen) -> float:
    """Return the whole seconds for which a node must wait to take a dead holder's token."""
    return math.ceil((holder.liveness_s or node.timing.liveness_s) + 2 * node.timing.heartbeat_s)


def _about_to_take(node: Node) -> bool:
    """Say whether the next answers decide: the token is free, being taken, or not yet seen."""
    if isinstance(node.pending, Take):
        return True
    if node.view is None:
        return node.failures == 0 and node.session is None and node.namesake is None
    return is_free(node.view) and take_at(node) is not None


def _waits_for_silent(node: Node) -> bool:
    holder = None if node.view is None else node.view.holder
    return node.policy.outwaits_silent and holder is not None and looks_dead(holder)


def _is_forbidden(node: Node, view: View) -> bool:
    """Say whether a pause, or a drain of this node, forbids it to take the token."""
    return not may_take(view.planned, node.policy.node, of_tasks=node.task_state is not None)


def _trouble(node: Node) -> str:
    view = node.view
    if view is None:
        return "no answer of the database said in time whether the token is free"
    if node.namesake is not None and node.session is None:
        return f"another node named {node.policy.node} has not been silent for long enough yet"
    paused = takes_paused(view.planned)
    if paused is not None:
        return f"the group is paused ({said(paused)}): nobody takes the token"
    drain = drain_of(view.planned, node.policy.node)
    if drain is not None:
        return f"this node is to take nothing ({said(drain)})"
    if is_free(view):
        return _free(view)
    trouble = f"the token is held by {view.token.node} (term {view.token.term})"
    holder = view.holder
    if holder is None or not looks_dead(holder):
        return trouble
    enough_s = wait_that_suffices_s(node, holder)
    return (
        f"{trouble}, whose last heartbeat is {holder.age_s:.1f} s old; should it be dead, its token"
        f" is free {holder.liveness_s:g} s after it: a wait of {enough_s:g} s"
        f" (`-w {enough_s:g}`) suffices"
    )


def _free(view: View) -> str:
    if not view.settled:
        return "the token is free, but after a failover of the database nobody may take it yet"
    return "the token is free, and this node may not take it"
