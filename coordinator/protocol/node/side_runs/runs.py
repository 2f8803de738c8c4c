"""Starts and ends of side runs, whatever their purpose (rule M5).

They are runs of the guardian with a deadline of their own. Those under the token end with the
token's trust at the latest.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.node.events import (
    Command,
    ExtendTrust,
    KillProgram,
    ProgramEnded,
    ProgramRefused,
    StartProgram,
)
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.state.side_runs import Kind, SideRun
from coordinator.protocol.rules.restarts import status_words

Step = tuple[Node, tuple[Command, ...]]


def start(
    node: Node,
    kind: Kind,
    *,
    term: int,
    about: int,
    for_s: float,
    now: float,
    env: tuple[tuple[str, str], ...] = (),
    ask: int = 0,
) -> Step:
    """Order a side run that may take for_s seconds."""
    side = SideRun(
        kind=kind,
        number=node.run_count + 1,
        term=term,
        about=about,
        started_at=now,
        until=now + for_s,
        ask=ask,
    )
    node = replace(node, side_runs=(*node.side_runs, side), run_count=side.number)
    return node, (StartProgram(side.number, term, _deadline(node, side), side=kind.value, env=env),)


def ended(node: Node, side: SideRun) -> Node:
    """Forget a side run of which nothing is left."""
    return replace(node, side_runs=tuple(it for it in node.side_runs if it is not side))


def extended(node: Node) -> tuple[Command, ...]:
    """Move the deadlines of side runs with the token's trust, each up to its own end (M5)."""
    return tuple(
        ExtendTrust(side.number, _deadline(node, side))
        for side in node.side_runs
        if side.under_token
    )


def killed(node: Node, reason: str) -> tuple[Command, ...]:
    """Kill the side runs under the token at once."""
    return tuple(KillProgram(side.number, reason) for side in node.side_runs if side.under_token)


def checks_killed(node: Node, reason: str) -> tuple[Command, ...]:
    """Kill at once what belongs to the program that has ended; a one-off goes on (M13)."""
    return tuple(
        KillProgram(side.number, reason)
        for side in node.side_runs
        if side.under_token and side.kind is not Kind.ONE_OFF
    )


def of_kind(node: Node, kind: Kind) -> SideRun | None:
    """Return the side run of a kind that has not ended; only of one-offs there may be several."""
    return next((side for side in node.side_runs if side.kind is kind), None)


def failure(side: SideRun, event: ProgramEnded | ProgramRefused) -> str | None:
    """Return how a side run failed, "" if it succeeded; None if it was not let finish (M3)."""
    if isinstance(event, ProgramRefused):
        # The history is read by other groups, too: it has no text of the program's own.
        return f"not started, exit code {event.code}" if event.code else None
    if event.why == "itself":
        return status_words(event.status) if event.status else ""
    over_at = event.now if event.at is None else event.at
    return _no_end(side) if over_at >= side.until else None


def _no_end(side: SideRun) -> str:
    return f"no end within {side.until - side.started_at:g} s"


def _deadline(node: Node, side: SideRun) -> float:
    return min(side.until, node.trusted_until) if side.under_token else side.until
