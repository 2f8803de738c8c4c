"""Decisions of the guardian about a program that waits behind a gate (docs/protocol.md, Y5 to Y8).

    launching --LetGo--> running, gate closed --OpenGate--> running, as any other program

While its gate is closed a run has no deadline, because it does nothing that needs trust; its trust
board says that it has none. Opening gives it the deadline of the holding. From then on all rules of
a run hold for it, and its gate is not opened a second time.
"""

from __future__ import annotations

from coordinator.protocol.guardian import run as guardian_run
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import WriteBoard
from coordinator.protocol.guardian.gate_words import GateMissed, GateWaits, OpenGate, OpenOrdered
from coordinator.protocol.guardian.run import Orders
from coordinator.protocol.guardian.state import Guard, Run

#: Reason of a refusal to open.
TOO_LATE = "trust is over"


def open_gate(guard: Guard, order: OpenOrdered, now: float, orders: Orders) -> Guard:
    """Open the gate of a run, once, if trust leaves it room to stop (G3, S2).

    An order for a run that is dying changes nothing: the agent hears of its end.
    """
    run = guard.run(order.run)
    if run is None or not run.gated or run.phase not in ("launching", "running"):
        return guard
    opened = run._replace(gated=False, trusted_until=order.trusted_until)
    if guard.leaving is not None or now >= opened.let_go_by:
        return guard.changed(_miss(guard, order.run, now, orders))
    # The deadline stands before the program may act.
    orders.append(WriteBoard(run.number, order.trusted_until, now))
    orders.append(OpenGate(run.number, order.term, order.session, order.trusted_until))
    return guard.changed(opened)._replace(term=order.term)


def on_gate(guard: Guard, event: GateWaits | GateMissed, now: float, orders: Orders) -> Guard:
    """Tell the agent who waits; end a run whose gate could not be opened in time."""
    run = guard.run(event.run)
    if run is None:
        return guard
    match event:
        case GateWaits(number, waiting):
            if run.gated and not run.inherited:
                orders.append(wire.to_agent(wire.Waiting(number, waiting)))
            return guard
        case GateMissed():
            return guard.changed(_miss(guard, event.run, now, orders))


def _miss(guard: Guard, number: int, now: float, orders: Orders) -> Run:
    """Kill a run whose gate stays closed; the agent hears that it was refused."""
    run = guard.run(number)
    assert run is not None, "its caller found it"
    run = run._replace(refusal=run.refusal or (TOO_LATE, 0))
    return guardian_run.kill(run, "trust", now, orders)
