"""Scripts of a guardian: orders to open a gate that it must not obey (rules Y6, Y7)."""

from __future__ import annotations

import math
from collections.abc import Callable

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian.gate_words import OpenGate, OpenOrdered
from tests.support.fakes.told_guard import HANDLE, Told, kinds

GATED = words.StartOrdered(run=1, term=0, trusted_until=math.inf, stop_timeout_s=2.0, gated=True)


def _waiting() -> Told:
    told = Told()
    told.at(0.0, words.Greeted(100.0, 2.0))
    told.at(0.0, GATED)
    told.at(0.1, words.ProgramReady(1, 9, HANDLE))
    told.at(0.2, words.ProgramStarted(1))
    return told


def a_late_order_opens_no_gate() -> None:
    """S2, Y6: the guardian looks at its clock before it opens.

    1. 0.2   the program of a standby waits at its gate.
    2. 1.0   its node takes the token, trusted until 10.0, and orders the gate to be opened.
    3. 9.0   the guardian, which was stopped meanwhile, reads the order. SIGTERM was due at 8.0.
    """
    assert OpenGate not in kinds(_waiting().at(9.0, OpenOrdered(1, 7, "s", 10.0)))


def a_second_holding_opens_no_gate_again() -> None:
    """Y7: a program acts under one term.

    1. 1.0   the gate is opened under term 7.
    2. 3.0   an order to open it under term 8 comes, of an agent that has lost count.
    """
    told = _waiting()
    assert OpenGate in kinds(told.at(1.0, OpenOrdered(1, 7, "s", 10.0)))

    assert OpenGate not in kinds(told.at(3.0, OpenOrdered(1, 8, "t", 13.0)))


OF_GATES: dict[str, Callable[[], None]] = {
    "gate-unchecked": a_late_order_opens_no_gate,
    "gate-twice": a_second_holding_opens_no_gate_again,
}
