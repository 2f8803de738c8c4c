"""Bugs planted in the rules of planned changes; the simulation must find each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from coordinator.protocol.group import placement
from coordinator.protocol.messages.planned import Planned, PlannedChange
from coordinator.protocol.messages.requests import NodeFacts, Release, View
from coordinator.protocol.node import next_request
from coordinator.protocol.node.planned import give_way, takes
from coordinator.protocol.node.planned import next_request as next_planned
from coordinator.protocol.node.state import node as node_state
from coordinator.protocol.node.state.node import Node
from tests.simulation.plans.planted import Patch
from tests.support.fakes import memory_planned
from tests.support.fakes.memory_store import MemoryDatabase


class PauseUnseen(MemoryDatabase):
    """Gives tokens away in a pause, and to nodes that are draining."""

    def may_take_now(self, facts: NodeFacts) -> bool:  # noqa: ARG002
        return True


def _may_always(node: Node, view: View) -> bool:
    return True


def _never_paused(planned: Planned) -> PlannedChange | None:
    return None


def _nobody_drains(planned: Planned) -> frozenset[str]:
    return frozenset()


def _no_drain(planned: Planned, node: str) -> PlannedChange | None:
    return None


_real_release = next_request._release


def _release_at_once(node: Node, now: float) -> Release | None:
    """Give the token up for an administrator while the program still ends."""
    if node.run is not None and node.run.stopping.startswith("switchover"):
        node = replace(node, run=None)
    return _real_release(node, now)


def _never_over(node: Node, change: PlannedChange) -> float:
    return float("inf")


def _nothing_due(node: Node) -> PlannedChange | None:
    return None


def _never_ended(*_: object, **__: object) -> None:
    """Let a taking end no switchover: its next holder gives way, and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedInPlans:
    """One bug: what is replaced, what administrators do in the worlds that show it.

    tasks: those worlds are task groups.
    """

    rule: str
    acts: tuple[str, ...]
    patches: tuple[Patch, ...] = ()
    database: type[MemoryDatabase] = MemoryDatabase
    tasks: bool = False


def _patch(of: Any, name: str, broken: Callable[..., Any]) -> Patch:
    return of, name, broken


PLANTED_IN_PLANS: dict[str, PlantedInPlans] = {
    "paused-take": PlantedInPlans(
        rule="A2, A3: nobody takes a token in a pause",
        acts=("pause takeovers", "pause work", "resume"),
        patches=(_patch(takes, "allowed", _may_always),),
        database=PauseUnseen,
    ),
    "paused-work": PlantedInPlans(
        rule="A2: the holder stops its program in a pause of work",
        acts=("pause work", "resume"),
        patches=(
            _patch(give_way, "work_paused", _never_paused),
            _patch(node_state, "work_paused", _never_paused),
        ),
    ),
    "early-release": PlantedInPlans(
        rule="A1: the token is given up when nothing of the program is left",
        acts=("switchover", "switchover to"),
        patches=(_patch(next_request, "_release", _release_at_once),),
    ),
    "drained-take": PlantedInPlans(
        rule="A7: a draining node takes nothing",
        acts=("drain", "drain", "undrain"),
        patches=(
            _patch(takes, "allowed", _may_always),
            _patch(give_way, "drain_of", _no_drain),
            _patch(node_state, "drain_of", _no_drain),
        ),
        database=PauseUnseen,
    ),
    "pause-for-ever": PlantedInPlans(
        rule="A4: what runs out ends",
        acts=("pause work", "pause takeovers"),
        patches=(_patch(next_planned, "_over_at", _never_over),),
    ),
    "never-carried-out": PlantedInPlans(
        rule="A5: a switchover is carried out, refused or runs out",
        acts=("switchover", "switchover to"),
        patches=(
            _patch(next_planned, "due_handover", _nothing_due),
            _patch(give_way, "due_handover", _nothing_due),
            _patch(next_planned, "_over_at", _never_over),
        ),
    ),
    "never-done": PlantedInPlans(
        rule="A5: the taking ends the switchover",
        acts=("switchover",),
        patches=(_patch(memory_planned, "end_by_take", _never_ended),),
    ),
    "drain-unplaced": PlantedInPlans(
        rule="A7: a draining node gives its tasks up",
        acts=("drain", "drain", "undrain"),
        patches=(_patch(placement, "draining", _nobody_drains),),
        tasks=True,
    ),
    "pause-unplaced": PlantedInPlans(
        rule="A2: nobody runs a task in a pause of work",
        acts=("pause work", "resume"),
        patches=(_patch(placement, "takes_paused", _never_paused),),
        tasks=True,
    ),
}
