"""Decisions about the program that a standby starts behind a gate (docs/protocol.md, Y5 to Y8).

A node has one program: prepared behind its gate, or running under a term. It prepares one as soon
as it has none, with or without a session, because what waits at a gate does nothing. Becoming
active takes the prepared run over as the node's run; a program that is not there then is started
without a gate.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.requests import TellReady
from coordinator.protocol.node.events import (
    Command,
    LogLine,
    OpenGate,
    PrepareProgram,
    ProgramEnded,
    ProgramRefused,
    ProgramWaits,
    StartProgram,
    StopProgram,
)
from coordinator.protocol.node.state.node import Leaving, Node
from coordinator.protocol.node.state.prepared import Prepared
from coordinator.protocol.node.state.run import Run
from coordinator.protocol.rules.restarts import ended as counted

Step = tuple[Node, tuple[Command, ...]]


def prepare(node: Node, now: float) -> Step:
    """Start the program behind a gate if there is none, and stop it when the node leaves."""
    prepared = node.preparation.run
    if prepared is not None:
        if node.leaving is None or prepared.stopping:
            return node, ()
        why = node.leaving.reason
        return _with(node, replace(prepared, stopping=why)), (StopProgram(prepared.number, why),)
    if prepare_at(node) > now:
        return node, ()
    number = node.run_count + 1
    node = replace(_with(node, Prepared(number, now)), run_count=number)
    return node, (PrepareProgram(number),)


def prepare_at(node: Node) -> float:
    """Return the moment at which a program is to be prepared; infinity: not as things are."""
    wanted = node.policy.prepares and node.run is None and node.leaving is None
    if not wanted or node.preparation.run is not None or node.cool_until == float("inf"):
        return float("inf")
    return node.preparation.restarts.start_at


def begin(node: Node, term: int, now: float) -> tuple[Node, Run, Command]:
    """Take the prepared run over under a term, or begin one without a gate; S1 holds."""
    prepared, until = node.preparation.run, node.trusted_until
    if prepared is None or prepared.stopping:
        run = Run(node.run_count + 1, term, now)
        return node, run, StartProgram(run.number, term, until)
    node = replace(node, preparation=replace(node.preparation, run=None))
    run = Run(prepared.number, term, now)
    return node, run, OpenGate(run.number, term, until)


def on_event(node: Node, event: ProgramRefused | ProgramEnded | ProgramWaits) -> Step | None:
    """Apply an event of the prepared run; None: it is of another run."""
    prepared = node.preparation.run
    if prepared is None or prepared.number != event.run:
        return None
    now = event.now
    match event:
        case ProgramWaits(_, _, waiting):
            if waiting == prepared.ready:
                return node, ()
            node = _with(node, replace(prepared, ready=waiting))
            return node, (LogLine("ready" if waiting else "not-ready", ()),)
        case ProgramRefused(_, _, why, code):
            node = _over(node, now, now)
            if code:
                node = replace(node, leaving=node.leaving or Leaving("refused", code, why))
            return node, (LogLine("program-refused", (("why", why),)),)
        case ProgramEnded(_, _, status, _):
            fields = (("status", status), ("ready", prepared.ready))
            node = _over(node, prepared.started_at, now)
            wait_s = round(max(0.0, node.preparation.restarts.start_at - now), 3)
            line = LogLine("prepared-ended", (*fields, ("wait_s", wait_s)))
            return node, () if prepared.stopping else (line,)


def tell_ready(node: Node, session: str) -> TellReady | None:
    """Tell the others of a change of readiness; while active, a node is not ranked."""
    ready = node.preparation.ready
    if not node.policy.prepares or node.view is None or node.run is not None:
        return None
    if node.preparation.told == (session, ready):
        return None
    return TellReady(session=session, ready=ready)


def deference_s(node: Node) -> float:
    """Return how long this node lets a standby that is ready go first, after a holder's silence.

    Two standbys notice a silence up to a heartbeat apart.
    """
    defers = node.ready_rival and not node.preparation.ready
    return node.timing.heartbeat_s if defers else 0.0


def told(node: Node, request: TellReady) -> Node:
    """Note what was told, also when it was not written: the next session tells it anew."""
    acknowledged = (request.session, request.ready)
    return replace(node, preparation=replace(node.preparation, told=acknowledged))


def _over(node: Node, started_at: float, now: float) -> Node:
    """Forget the prepared run, and count its end for the back-off."""
    restarts = counted(node.preparation.restarts, now - started_at, now)
    return replace(node, preparation=replace(node.preparation, run=None, restarts=restarts))


def _with(node: Node, prepared: Prepared) -> Node:
    return replace(node, preparation=replace(node.preparation, run=prepared))
