"""A simulated guardian: protocol/guardian/machine.py, fed and obeyed as its process does it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import machine as guardian_machine
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.gate_words import OpenGate
from tests.simulation.world import gates
from tests.simulation.world.processes import Process

if TYPE_CHECKING:
    from tests.simulation.world.agent import Agent
    from tests.simulation.world.host import Host

#: A message between guardian and agent takes this long.
CHANNEL_S = 0.0003
#: A fresh agent has to import; a spare is ready.
FRESH_READY_S = 0.4
SPARE_READY_S = 0.005


class Guardian(Process):
    """The guardian process of a host."""

    __slots__ = ("alarm", "host", "reads", "state")

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host_frozen = host.frozen
        self.host = host
        self.alarm = float("inf")
        self.reads: Agent | None = None  #: the process whose socket it has open
        self.state, orders = guardian_machine.begin(host.local())
        for order in orders:
            self._obey(order)

    def take_in(self, event: words.Event) -> None:
        """Feed the guard and obey it."""
        if not self.alive:
            return
        self.state, orders = guardian_machine.step(self.state, event, self.host.local())
        for order in orders:
            self._obey(order)
        moment = guardian_machine.due(self.state)
        if moment != self.alarm:
            self.alarm = moment
            if moment != float("inf"):
                self.host.at_local(moment, self.deliver, self._ring, moment)

    def _ring(self, moment: float) -> None:
        if moment == self.alarm:
            self.alarm = float("inf")
            self.take_in(words.Ticked())

    def read(self, agent: Agent, event: words.Event) -> None:
        """Read a message of an agent, unless that agent's socket was closed since."""
        if self.reads is agent:
            if isinstance(event, words.AgentLost):
                self.reads = None
            self.take_in(event)

    def _obey(self, order: words.Command) -> None:
        host = self.host
        match order:
            case words.TellAgent() | words.TellSpare():
                hearer = host.agent if isinstance(order, words.TellAgent) else host.spare
                if hearer is not None:
                    host.after(CHANNEL_S, hearer.deliver, hearer.hear, order.message)
            case words.LaunchProgram(start):
                host.deadlines[start.run] = start.trusted_until
                host.programs.fork(self, start)
            case words.WriteBoard(number, until, _):
                host.deadlines[number] = until
            case words.LetGo(number, until):
                host.programs.let_go(self, number, until)
            case OpenGate(number, term, _, until):
                gates.open_gate(host.programs, self, number, term, until)
            case words.SignalProgram(number, signum) if signum == signal.SIGTERM:
                host.programs.terminate(self, number)
            case words.KillProgram(number):
                host.programs.kill(number, by_agent=False)
            case words.StartAgent() | words.PromoteSpare():
                self._meet(order)
            case words.KillAgent():
                self.reads = None
                host.agent_killed()
            case words.Quit():
                host.quit()
            case _:
                pass  # another spare, the log

    def _meet(self, order: words.StartAgent | words.PromoteSpare) -> None:
        """Have another agent, and a spare that is a copy of it."""
        host = self.host
        match order:
            case words.StartAgent(session, term):
                # One that follows a dead one is told of its session; it waits for the programs.
                legacy = None if session is None else (session, term, True)
                knows, ready_s = set[int](), FRESH_READY_S
            case words.PromoteSpare(message):
                become = wire.for_spare(message)
                assert isinstance(become, wire.BecomeOrdered)
                legacy = (become.session, become.term, become.dying)
                knows = set() if host.spare is None else set(host.spare.watch.runs)
                ready_s = SPARE_READY_S
        self.reads = host.new_agent(legacy, ready_s, knows)
        host.new_spare(knows, ready_s)
