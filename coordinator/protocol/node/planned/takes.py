"""Restrictions of planned changes on a node that would take the token (rules A2 to A8)."""

from __future__ import annotations

from coordinator.protocol.messages.requests import View
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.rules import planned


def allowed(node: Node, view: View) -> bool:
    """Say whether this node may take the token: by its priority, no pause and no drain of it."""
    me = node.policy.node
    if planned.priority_of(view.planned, me, node.policy.priority) <= 0:
        return False
    return planned.may_take(view.planned, me, of_tasks=node.task_state is not None)


def start_after_s(node: Node, view: View) -> float:
    """Return for how long this node leaves a free token to others, in seconds."""
    return planned.start_after_s(
        view.planned,
        node.policy.node,
        view.token.node,
        place=node.place,
        heartbeat_s=node.timing.heartbeat_s,
    )
