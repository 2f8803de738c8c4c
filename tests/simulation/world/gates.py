"""Programs behind gates: they come to their gate after a while, and act when it is open.

Only in worlds that are made so (`gates`): the others stay as they are, draw by draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.protocol.guardian.gate_words import GateMissed, GateWaits, OpenOrdered
from coordinator.protocol.node.events import OpenGate, PrepareProgram, StartProgram
from coordinator.protocol.node.state.guardian_watch import start_order
from coordinator.protocol.rules.timing import MISSED_MAX

if TYPE_CHECKING:
    from tests.simulation.world.agent import Agent
    from tests.simulation.world.guardian import Guardian
    from tests.simulation.world.programs import Program, Programs

#: A program needs so long at most before it comes to its gate.
LOADING_MAX_S = 4.0
#: The line through the gate travels so long at most.
LINE_MAX_S = 0.002


# --- the agent ------------------------------------------------------------------------------------


def prepare(agent: Agent, command: PrepareProgram) -> None:
    """Order a program behind a closed gate."""
    stop_s = agent.node.timing.stop_timeout_s
    infinity = float("inf")
    agent.watch = agent.watch.after_start(command.run, infinity, stop_s, agent.host.local())
    order = start_order(StartProgram(command.run, 0, infinity), agent.node.timing, stop_s)
    agent.say(order._replace(gated=True))


def order_opening(agent: Agent, command: OpenGate) -> None:
    """Order the opening of a gate, and judge it: not on trust that is not fresh (T5)."""
    host, now = agent.host, agent.host.local()
    if now >= agent.acknowledged_at + MISSED_MAX * agent.node.timing.heartbeat_s:
        told = f"stale: at {host.world.now:.3f} {host.name} opened the gate of {command.run}"
        host.world.history.witnessed.append(told)
    agent.watch = agent.watch.after_opening(command.run, command.trusted_until, now)
    session, hung = agent.node.session or "", agent.node.policy.hung
    until = host.true(command.trusted_until)
    host.programs.entering[command.run] = (session, until, hung)
    agent.say(OpenOrdered(command.run, command.term, session, command.trusted_until))


# --- programs -------------------------------------------------------------------------------------


def load(programs: Programs, guardian: Guardian, program: Program) -> None:
    """Let a program come to its gate after a while."""
    takes_s = LOADING_MAX_S * programs.world.state_rng.random()
    programs.host.after(takes_s, _arrive, programs, guardian, program)


def _arrive(programs: Programs, guardian: Guardian, program: Program) -> None:
    if programs.alive.get(program.number) is not program:
        return
    program.at_gate = True
    if program.opened:
        _act(programs, program)
    elif guardian.alive:
        guardian.deliver(guardian.take_in, GateWaits(program.number, True))


def open_gate(programs: Programs, guardian: Guardian, number: int, term: int, until: float) -> None:
    """Open a gate as the guardian does: at once, after a last look at the clock (S2)."""
    program = programs.alive.get(number)
    if program is None:
        return
    if is_late(programs.host.local(), until):
        guardian.deliver(guardian.take_in, GateMissed(number))
        return
    if program.opened:
        told = f"gate: at {programs.world.now:.3f} {programs.host.name} opened {number} again"
        programs.world.history.witnessed.append(told)
    program.opened, program.term = True, term
    program.enter(*programs.entering.pop(number))
    if program.at_gate:
        programs.host.soon(LINE_MAX_S, _act, programs, program)


def is_late(now: float, until: float) -> bool:
    """Say whether trust is over."""
    return now >= until


def _act(programs: Programs, program: Program) -> None:
    if programs.alive.get(program.number) is program and program.ran is None:
        program.acting = True
        if not programs.host.frozen:
            programs.begin_stretch(program)
        if program.ordered.progress_s:
            programs.report(program)
