"""Answers of a node over HTTP: pure functions of its state and the moment.

`/active` is answered from the local deadline at the moment of the question, never from a row or a
flag: a load balancer must not send work to a node whose trust has run out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from coordinator.protocol.node import branches
from coordinator.protocol.node.state.node import Node, active, held_by_other
from coordinator.protocol.rules import epoch
from coordinator.protocol.rules.planned import drain_of
from coordinator.protocol.rules.trust import expired
from coordinator.web.http1 import Reply

#: A loop that has not turned for this long is stuck, however slow its heartbeat is.
STUCK_MIN_S = 5.0
OK, UNAVAILABLE = 200, 503


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A node as it was after its last step.

    Units: turned_at and answered_at are moments of the node's own clock.
    """

    node: Node
    turned_at: float
    answered_at: float


class Database(TypedDict):
    """Branch of the database that the node is on.

    waitSeconds, why: rest of the wait after a failover (E3), and its cause; None: no wait.
    leftBehindTimeline: of a primary that answers although a later one takes writes (E4).
    secondPrimaryTimeline: of an earlier one that takes writes beside the node's own (E4).
    """

    timeline: int
    settled: bool
    waitSeconds: float | None
    why: str | None
    leftBehindTimeline: int | None
    secondPrimaryTimeline: int | None


class State(TypedDict):
    """State of a node as it knows itself; a check adds its parts, true or false.

    database: None: the node has not seen one yet.
    """

    group: str
    node: str
    role: str
    term: int
    holder: str | None
    leaseRemainingSeconds: float | None
    programReady: bool | None
    database: Database | None


def reply(check: Check, snapshot: Snapshot, now: float) -> Reply:
    """Answer one check."""
    node = snapshot.node
    parts = check(snapshot, now)
    good = all(parts.values())
    body = {**_describe(node, now), **parts}
    return Reply(OK if good else UNAVAILABLE, body, term_of(node))


def term_of(node: Node) -> int:
    """Return the term of the node's run, else that of the token as the node saw it last."""
    return node.run.term if node.run else (node.view.token.term if node.view else 0)


def _describe(node: Node, now: float) -> State:
    holder = node.view.token.node if node.view and not _free(node) else None
    return {
        "group": node.policy.group,
        "node": node.policy.node,
        "role": "active" if active(node, now) else (node.standing or "candidate"),
        "term": term_of(node),
        "holder": holder,
        "leaseRemainingSeconds": lease_left_s(node, now),
        "programReady": node.preparation.ready if node.policy.prepares else None,
        "database": _database(node, now),
    }


def _database(node: Node, now: float) -> Database | None:
    known = node.epoch
    if known is None:
        return None
    waiting = epoch.waits(known)
    left_behind = None if node.refused is None else node.refused.timeline
    return {
        "timeline": known.identity.timeline,
        "settled": known.settled,
        "waitSeconds": round(max(0.0, epoch.settle_at(known) - now), 3) if waiting else None,
        "why": known.why if waiting else None,
        "leftBehindTimeline": left_behind,
        "secondPrimaryTimeline": branches.second_primary(node, now),
    }


def lease_left_s(node: Node, now: float) -> float | None:
    """Return the rest of the holder's lease in seconds; None for a standby, which has no lease."""
    return None if node.run is None else round(max(0.0, node.trusted_until - now), 3)


def _free(node: Node) -> bool:
    return not held_by_other(node) and node.run is None


def _is_active(snapshot: Snapshot, now: float) -> dict[str, bool]:
    return {"active": active(snapshot.node, now)}


def agent_line(snapshot: Snapshot, now: float) -> str:
    """Return what the agent-check of HAProxy is told; "ready" ends the maintenance of before.

    A standby is down for clients; a node that is drained or leaving takes nothing: maintenance.
    """
    node = snapshot.node
    if active(node, now):
        return "up ready"
    drained = node.view is not None and drain_of(node.view.planned, node.policy.node)
    if drained or node.leaving is not None or node.policy.priority <= 0:
        return "maint"
    return "down"


def _is_standby(snapshot: Snapshot, now: float) -> dict[str, bool]:
    node = snapshot.node
    lives = node.session is not None and not expired(node.trusted_until, now)
    return {
        "eligible": node.policy.priority > 0 and node.leaving is None,
        "alive": lives,
        "standby": not active(node, now),
    }


def _is_alive(snapshot: Snapshot, now: float) -> dict[str, bool]:
    limit_s = max(3 * snapshot.node.timing.heartbeat_s, STUCK_MIN_S)
    return {"turning": now - snapshot.turned_at <= limit_s}


def _is_ready(snapshot: Snapshot, now: float) -> dict[str, bool]:
    node = snapshot.node
    return {
        "registered": node.session is not None,
        "databaseAnswers": now - snapshot.answered_at <= node.timing.liveness_s,
    }


def _always(snapshot: Snapshot, now: float) -> dict[str, bool]:  # noqa: ARG001
    return {}


Check = Callable[[Snapshot, float], dict[str, bool]]

#: Each path, and its check: 200 if all the returned values are true, else 503.
CHECKS: dict[str, Check] = {
    "/active": _is_active,
    "/leader": _is_active,
    "/primary": _is_active,
    "/standby": _is_standby,
    "/livez": _is_alive,
    "/readyz": _is_ready,
    "/healthz": _always,
    "/": _always,
}
