"""Which of the guardian's signals go to the agent, and which to a program that asks for them."""

from __future__ import annotations

import signal

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian.run import Orders
from coordinator.protocol.guardian.state import Guard

#: What these mean to the node they mean to no program, unless it asks for them (`forward`).
_NODES_OWN = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
PASSED_ON = (*_NODES_OWN, signal.SIGWINCH)


def told(signum: int, count: int) -> words.TellAgent:
    """Tell the agent of a signal, and which of its kind it is."""
    return words.TellAgent({"say": "signal", "signum": int(signum), "count": count})


def pass_on(guard: Guard, signum: int, orders: Orders) -> None:
    """Pass a signal on to the programs that ask for it, and to the agent as far as it is for it.

    A program that asks for USR1, USR2 or QUIT has it for itself; HUP, to reload, is for both.
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
