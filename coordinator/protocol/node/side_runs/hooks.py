"""The hooks of a node: before its program starts, after its end, and on every change (M9 to M11).

Each is a side run with a bound on its time. The program waits for beforeStart, and the token for
afterStop; nothing waits for onChange but the node's own end.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.requests import View
from coordinator.protocol.node.events import (
    Command,
    KillProgram,
    LogLine,
    ProgramEnded,
    ProgramRefused,
)
from coordinator.protocol.node.side_runs import runs
from coordinator.protocol.node.state.node import Node, give_up, holds
from coordinator.protocol.node.state.run import Run
from coordinator.protocol.node.state.side_runs import Change, Kind, SideRun

Step = tuple[Node, tuple[Command, ...]]


def prepare(node: Node, term: int, now: float) -> Step | None:
    """Order the hook that the program's start waits for; None: it may start now (M9)."""
    for_s = node.policy.hooks.before_start_s
    if for_s is None or node.prepared == term:
        return None
    return runs.start(node, Kind.BEFORE_START, term=term, about=0, for_s=for_s, now=now)


def clear_up(node: Node, run: Run, why: str, now: float) -> Step:
    """Order the hook after the end of a run, whatever ended that (M10)."""
    for_s = node.policy.hooks.after_stop_s
    if for_s is None:
        return node, ()
    env = (("COORD_REASON", why),)
    return runs.start(
        node, Kind.AFTER_STOP, term=run.term, about=run.number, for_s=for_s, now=now, env=env
    )


def abandon(node: Node, why: str, cool_until: float | None = None) -> Step:
    """End the preparation of a start that is not wanted any more, and give the term up."""
    side = runs.of_kind(node, Kind.BEFORE_START)
    if side is None or side.over:
        return node, ()
    sides = tuple(replace(it, over=True) if it is side else it for it in node.side_runs)
    node = give_up(replace(node, side_runs=sides), side.term, cool_until, why=why)
    return node, (KillProgram(side.number, why),)


def lost(node: Node) -> Step:
    """End the preparation of a start when an answer shows the token gone (L2)."""
    side = runs.of_kind(node, Kind.BEFORE_START)
    if side is None or node.view is None:
        return node, ()
    if holds(node) and node.view.token.term == side.term:
        return node, ()
    return abandon(node, "the database names another holding")


def ended(node: Node, side: SideRun, event: ProgramEnded | ProgramRefused) -> Step:
    """Note the end of a hook; a start whose preparation failed gives the token up (M9)."""
    node = runs.ended(node, side)
    failure = runs.failure(side, event)
    if side.kind is Kind.BEFORE_START and failure == "" and not side.over:
        return replace(node, prepared=side.term), ()
    if not failure or side.over:
        return node, ()
    line = LogLine("hook-failed", (("hook", side.kind.value), ("why", failure)))
    if side.kind is Kind.BEFORE_START:
        why = f"the hook beforeStart failed ({failure})"
        node = give_up(node, side.term, event.now + node.timing.liveness_s, why=why)
    return node, (line,)


def tell_change(node: Node, role: str, now: float) -> Step:
    """Order the hook onChange if role, holder or term are others than it was last told (M11).

    What changes while it runs is told after it, as it is then.
    """
    for_s, view = node.policy.hooks.on_change_s, node.view
    if for_s is None or view is None or not role or node.leaving is not None:
        return node, ()
    if runs.of_kind(node, Kind.ON_CHANGE):
        return node, ()
    held = view.token.session is not None
    change = Change(role, (view.token.node or "") if held else "", view.token.term)
    if change == node.told:
        return node, ()
    env = (
        ("COORD_ROLE", change.role),
        ("COORD_HOLDER", change.holder),
        ("COORD_HOLDER_ADDRESS", _address(view) if change.holder else ""),
    )
    node = replace(node, told=change)
    return runs.start(
        node, Kind.ON_CHANGE, term=change.term, about=0, for_s=for_s, now=now, env=env
    )


def _address(view: View) -> str:
    """Return the address of the holder; empty while its row is of another session."""
    holder = view.holder
    return holder.address if holder and holder.session == view.token.session else ""
