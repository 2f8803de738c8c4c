"""Judgement of this node beside the others of its group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coordinator.app.admin.doctor.findings import Finding, bad, good, weak
from coordinator.app.admin.status import NodeLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """This configuration, as a node would write it into its row.

    running: pids of this machine that live, by which a node of one's own is known.
    """

    node: str
    group: str
    host: str
    version: str
    config_hash: str
    liveness_s: float
    heartbeat_s: float
    priority: int
    hosts_tasks: bool
    running: frozenset[int] = frozenset()


def judge_peers(
    own: Own, nodes: Sequence[NodeLine], *, kind: bool | None, tasks: int
) -> Iterator[Finding]:
    """Yield what is to be said about the node's name, its kind and its settings.

    kind: the group spreads tasks; None: there is no such group yet.
    """
    live = [node for node in nodes if node.state in ("ok", "late")]
    yield _name(own, live)
    others = [node for node in live if node.node != own.node]
    refused = _kind(own, others, kind, tasks)
    if refused is not None:
        yield refused
    # A process that holds tokens for its own code has neither version nor program.
    configured = [node for node in others if node.version]
    differences = [text for node in configured for text in _differences(own, node)]
    for text in differences:
        yield weak("nodes", text, "give all nodes of a group the same settings and version")
    if configured and not differences:
        count = len(configured)
        yield good("nodes", f"{count} other live nodes have the same settings and version")
    if own.priority == 0 and not any(node.priority > 0 for node in others):
        text = "priority is 0 here, and no other live node may take the token"
        yield weak("nodes", text, "start a node with a higher priority")


def _name(own: Own, live: Sequence[NodeLine]) -> Finding:
    namesake = next((node for node in live if node.node == own.node), None)
    if namesake is None:
        return good("name", f"no other live node of {own.group} is called {own.node}")
    if namesake.host == own.host and namesake.pid in own.running:
        return good("name", f"{own.node} runs on this machine already (pid {namesake.pid})")
    text = f"{own.node} is live on {namesake.host}:{namesake.pid}: a second one is refused"
    return bad("name", text, "give this node another taskId")


def _kind(own: Own, others: Sequence[NodeLine], kind: bool | None, tasks: int) -> Finding | None:
    if kind is None or kind is own.hosts_tasks:
        return None
    if kind and others:
        text = f"the group {own.group} spreads tasks, and this configuration runs one program"
    elif kind and tasks:
        text = f"the group {own.group} has {tasks} tasks, and this configuration runs one program"
    elif others:
        text = f"the group {own.group} runs one program, and this configuration runs tasks"
    else:
        return None
    return bad("group", text, "choose another groupId, or --tasks as the others have it")


def _differences(own: Own, node: NodeLine) -> Iterator[str]:
    pairs = (
        ("livenessCheckInterval", f"{own.liveness_s:g} s", f"{node.liveness_s:g} s"),
        ("heartbeatFrequency", f"{own.heartbeat_s:g} s", f"{node.heartbeat_s:g} s"),
        ("version", own.version, node.version),
    )
    found = [
        f"{node.node}: {key} is {theirs} there, {ours} here"
        for key, ours, theirs in pairs
        if ours != theirs
    ]
    if not found and node.config_hash and node.config_hash != own.config_hash:
        found = [f"{node.node}: stopTimeout, the program, its trigger or a policy differs"]
    yield from found
