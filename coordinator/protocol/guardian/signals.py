"""Routing of the guardian's signals: to the agent, or to programs that ask for them."""

from __future__ import annotations

import signal

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.run import Orders
from coordinator.protocol.guardian.state import Guard

#: Signals with a meaning for the node; a program gets them only if it asks (`forward`).
_NODES_OWN = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
PASSED_ON = (*_NODES_OWN, signal.SIGWINCH)


def told(signum: int, count: int) -> words.TellAgent:
    """Return the message of a signal to the agent; count: which of its kind it is."""
    return wire.to_agent(wire.Signalled(int(signum), count))


def pass_on(guard: Guard, signum: int, orders: Orders) -> None:
    """Pass a signal on to the programs that ask for it, and to the agent if it concerns the agent.

    USR1, USR2 or QUIT goes only to the programs that ask for it; HUP, to reload, goes to both.
    """
    live = [run for run in guard.runs if run.started and run.status is None]
    asking = [run for run in live if signum in run.forward or signum == signal.SIGWINCH]
    orders.extend(words.SignalProgram(run.number, signum) for run in asking)
    if asking and signum != signal.SIGHUP:
        return
    if signum == signal.SIGQUIT:
        orders.append(words.SignalAgent(signum))
    elif signum in _NODES_OWN:
        orders.append(told(signum, 1))
