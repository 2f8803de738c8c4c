"""Facts for tests of explanations: two nodes of the group orders, intervals 1 s and 6 s."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from coordinator.app.admin.explain.facts import (
    GroupFacts,
    NodeFact,
    PlannedFact,
    TaskFacts,
    TaskOnNodeFact,
    TermFact,
    TokenFact,
)

NOW = datetime(2026, 11, 20, 14, 2, 4, tzinfo=UTC)


def node(name: str, **changed: Any) -> NodeFact:
    facts = NodeFact(
        node=name,
        state="ok",
        beat_age_s=0.3,
        heartbeat_s=1.0,
        liveness_s=6.0,
        lease_s=4.7,
        joined_age_s=3600.0,
        priority=1,
        where="",
        standing="member",
        caught_up=True,
        hosts_tasks=False,
        held_count=0,
    )
    return replace(facts, **changed)


def dead(name: str, age_s: float = 20.0, **changed: Any) -> NodeFact:
    return node(name, state="dead", beat_age_s=age_s, **changed)


def left(name: str, age_s: float, reason: str) -> NodeFact:
    return node(name, state="ended", beat_age_s=age_s, ended_age_s=age_s, end_reason=reason)


def token(holder: str | None = "node-1", **changed: Any) -> TokenFact:
    facts = TokenFact(
        term=3,
        holder=holder,
        held=True,
        holds=True,
        acquired_age_s=840.0,
        released_age_s=None,
    )
    return replace(facts, **changed)


def released(age_s: float, holder: str = "node-1") -> TokenFact:
    return token(holder, held=False, holds=False, released_age_s=age_s)


def term(number: int = 3, holder: str = "node-1", **changed: Any) -> TermFact:
    facts = TermFact(
        term=number,
        node=holder,
        how="takeover",
        reason="no heartbeat of node-2 for 6.12 s",
        previous="node-2",
        gap_s=6.41,
        age_s=840.0,
    )
    return replace(facts, **changed)


def gave_back(number: int, holder: str, age_s: float, why: str) -> TermFact:
    return term(number, holder, end_how="release", end_reason=why, ended_age_s=age_s)


def group(*nodes: NodeFact, **changed: Any) -> GroupFacts:
    facts = GroupFacts(
        group="orders",
        now=NOW,
        server_age_s=90_000.0,
        hosts_tasks=False,
        token=token(),
        nodes=nodes,
    )
    return replace(facts, **changed)


def planned(kind: str, **changed: Any) -> PlannedFact:
    facts = PlannedFact(
        kind=kind, node=None, age_s=600.0, by="", reason="", due_s=None, until_s=None
    )
    return replace(facts, **changed)


def task_group(*nodes: NodeFact, **changed: Any) -> GroupFacts:
    members = tuple(replace(each, hosts_tasks=True) for each in nodes)
    return replace(group(*members), **{"group": "night", "hosts_tasks": True, **changed})


def task(name: str = "report", **changed: Any) -> TaskFacts:
    facts = TaskFacts(
        task=name,
        state="waiting",
        node=None,
        last_node=None,
        term=0,
        since_s=60.0,
        responsible=None,
        why="",
        alert=False,
        preferred=None,
        pinned=False,
        end_reason="",
    )
    return replace(facts, **changed)


def on_node(name: str, **changed: Any) -> TaskOnNodeFact:
    facts = TaskOnNodeFact(
        node=name,
        state="NotOnThisNode",
        node_state="ok",
        standing="member",
        failed_count=0,
        told_age_s=None,
        last_error="",
    )
    return replace(facts, **changed)
