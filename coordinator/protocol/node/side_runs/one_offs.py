"""One-off commands on the active node, for a process of its machine (rules M12 and M13).

A one-off is a side run under the token, without a bound on its own time. It begins only beside the
program, and ends with the holding.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.errors import ConditionFalseError, ConfigError, TokenHeldError, TokenLostError
from coordinator.protocol.node.events import (
    Command,
    KillProgram,
    LogLine,
    OneOffAsked,
    ProgramEnded,
    ProgramRefused,
    StopProgram,
    TellAsker,
)
from coordinator.protocol.node.side_runs import runs
from coordinator.protocol.node.state.node import Node, held_by_other, holds
from coordinator.protocol.node.state.run import INHERITED
from coordinator.protocol.node.state.side_runs import Kind, SideRun
from coordinator.protocol.rules.epoch import may_act
from coordinator.protocol.rules.restarts import code_of
from coordinator.protocol.rules.trust import fresh

Step = tuple[Node, tuple[Command, ...]]

#: One-offs at the same time on one node: each is a run of the guardian, which has room for more.
ONE_OFFS_MAX = 16
#: Variable by which the command's process finds who asked for it.
ADDRESS_VARIABLE = "COORD_ONE_OFF"
#: Reason of the end that its asker wanted.
WITHDRAWN = "its asker is gone, or ended it"
LOST = "the database names another holding"


def asked(node: Node, event: OneOffAsked) -> Step:
    """Order a one-off beside the program, or say why it is not run here (M12)."""
    in_the_way = _in_the_way(node, event)
    if in_the_way is not None:
        return node, (in_the_way,)
    assert node.run is not None
    term, env = node.run.term, ((ADDRESS_VARIABLE, event.address),)
    line = LogLine("one-off", (("asker", event.asker), ("term", term)))
    node, started = runs.start(
        node,
        Kind.ONE_OFF,
        term=term,
        about=node.run.number,
        for_s=float("inf"),
        now=event.now,
        env=env,
        ask=event.ask,
    )
    return node, (line, *started)


def withdrawn(node: Node, ask: int) -> Step:
    """Tell a one-off to end whose asker is gone, or wants that (M13)."""
    side = next((it for it in _all(node) if it.ask == ask), None)
    if side is None or side.stopping:
        return node, ()
    return _told_to_end(node, side, WITHDRAWN)


def stop(node: Node) -> Step:
    """Tell the one-offs to end whose holding this node gives up, for whatever reason (M13)."""
    commands: tuple[Command, ...] = ()
    for side in _all(node):
        if node.leaving is not None and not side.stopping:
            node, told = _told_to_end(node, side, f"its node leaves ({node.leaving.reason})")
            commands += told
        elif side.term <= node.given_up and not side.stopping:
            node, told = _told_to_end(node, side, f"the token is given up ({node.given_up_why})")
            commands += told
    return node, commands


def lost(node: Node) -> Step:
    """Kill the one-offs of a holding that an answer does not show any more (L2)."""
    if node.view is None:
        return node, ()
    term = node.view.token.term if holds(node) else 0
    over = tuple(side for side in _all(node) if side.term != term and not side.over)
    sides = tuple(
        replace(side, over=True, stopping=side.stopping or LOST) if side in over else side
        for side in node.side_runs
    )
    return replace(node, side_runs=sides), tuple(KillProgram(side.number, LOST) for side in over)


def ended(node: Node, side: SideRun, event: ProgramEnded | ProgramRefused) -> Step:
    """Tell the asker how its command ended, now that nothing of it is left."""
    node = runs.ended(node, side)
    if isinstance(event, ProgramRefused):
        code = event.code or ConditionFalseError.exit_code
        return node, (TellAsker(side.ask, code, f"not started: {event.why}"),)
    if side.stopping == WITHDRAWN or (event.why == "itself" and not side.stopping):
        return node, (TellAsker(side.ask, code_of(event.status)),)
    why = side.stopping or "no heartbeat was acknowledged in time"
    return node, (TellAsker(side.ask, TokenLostError.exit_code, f"the command was stopped: {why}"),)


def _in_the_way(node: Node, event: OneOffAsked) -> TellAsker | None:
    """Return the refusal of a one-off; None when this node is active and may start something."""
    if node.task_state is not None:
        why = "its group spreads tasks over its nodes, so none of them is the active one"
        return TellAsker(event.ask, ConfigError.exit_code, why)
    if not _is_active(node, event.now):
        return TellAsker(event.ask, ConditionFalseError.exit_code, _who_is(node))
    if len(_all(node)) >= ONE_OFFS_MAX:
        why = f"{ONE_OFFS_MAX} such commands run there already"
        return TellAsker(event.ask, TokenHeldError.exit_code, why)
    return None


def _is_active(node: Node, now: float) -> bool:
    """Say whether the program runs here, and trust is fresh on a settled identity (S1, T5)."""
    run, timing = node.run, node.timing
    return (
        run is not None
        and not (run.stopping or run.over or run.number == INHERITED)
        and run.term > node.given_up
        and node.leaving is None
        and node.view is not None
        and holds(node)
        and node.view.token.term == run.term
        and may_act(node.view)
        and fresh(node.trusted_until, now, timing.lease_s, timing.heartbeat_s)
    )


def _who_is(node: Node) -> str:
    if node.run is not None:
        return "its program is being stopped, or no heartbeat was acknowledged lately"
    if node.view is not None and holds(node):
        return "it holds the token, but its program does not run at this moment"
    if node.view is not None and held_by_other(node):
        return f"{node.view.token.node} is active, term {node.view.token.term}"
    return "nobody is active, as far as it knows"


def _told_to_end(node: Node, side: SideRun, why: str) -> Step:
    """Stop a one-off like a program: SIGTERM, stopTimeout while trust lasts, SIGKILL."""
    sides = tuple(replace(it, stopping=why) if it is side else it for it in node.side_runs)
    return replace(node, side_runs=sides), (StopProgram(side.number, why),)


def _all(node: Node) -> tuple[SideRun, ...]:
    return tuple(side for side in node.side_runs if side.kind is Kind.ONE_OFF)
