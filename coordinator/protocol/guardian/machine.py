"""Decisions of the guardian: when to stop, kill and restart, and what to report.

The guardian owns the programs, each as a run with a number of its own. It knows nothing of tokens:
it knows until when each run is trusted, and that nothing else may keep it alive. No run waits for
another: each has its own deadline, its own stop and its own end.

    launching --LetGo--> running --SIGTERM--> stopping --SIGKILL--> killing --> gone
        \\                                                             /
         `-- refused: trust over, not executable, stopped before -----'

Each start is answered by exactly one of
  - `refused`: it never ran,
  - `started`, later `ended`: it ran, and now no process of it exists.
The successor of a dead agent gets one answer for all that the dead agent had started: one `ended`
with the number EVERY_RUN, when the last process is gone.

Rules, each for every single run
  G1  SIGTERM is sent at trusted_until - last_stop_s, SIGKILL to everything at trusted_until.
  G2  Extending moves both, while trust lasts. A program that was told to end for another reason
      gets its whole stop_timeout_s, as long as trust is extended. One extension of EVERY_RUN
      extends all runs; an order to kill EVERY_RUN kills all.
  G3  Nothing is let go once SIGTERM would be due.
  G4  `ended` and `refused` are sent once, when no process of the run exists. A process that
      cannot be killed is named at once, and the run has not ended while it lives.
  G5  An agent's death or silence stops all programs; the spare takes over at the same time.
  G6  When the guardian itself was held up, the agent's silence proves nothing.
  G8  Agents that die one after the other end the node; the last spare only gives the token back.
  G10 In each step, commands that kill, signal or promote come before those that only report.
"""

from __future__ import annotations

import math
import signal
from itertools import repeat

from coordinator.errors import IllegalTransitionError
from coordinator.protocol.guardian import agents as guardian_agents
from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import gate as guardian_gate
from coordinator.protocol.guardian import gate_words, timing_words, wire
from coordinator.protocol.guardian import run as guardian_run
from coordinator.protocol.guardian import signals as guardian_signals
from coordinator.protocol.guardian.events import Command, Event, RunOrder
from coordinator.protocol.guardian.run import Orders
from coordinator.protocol.guardian.state import Guard, Run

#: An agent that is silent for this long while trust runs out will not come back in time.
SILENT_AT_TRUST_END_S = 1.0
#: A step this late after its deadline means that the guardian itself was stopped or suspended.
LATE_S = 0.5
#: Seconds for which an agent that sent `exit` may take to end its process.
EXIT_MAX_S = 5.0
#: Seconds that the agent has after a second SIGINT to give the token back.
INTERRUPT_MAX_S = 1.0
#: Seconds that a spare has to end after the order to quit.
QUIT_MAX_S = 0.5
#: Exit code of a node that was ended by a second SIGINT.
INTERRUPTED = 130

_STOPPING_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def begin(now: float) -> tuple[Guard, tuple[Command, ...]]:
    """Return the first state and its commands."""
    orders: Orders = []
    return guardian_agents.start(Guard(), now, orders), tuple(orders)


def step(guard: Guard, event: Event, now: float) -> tuple[Guard, tuple[Command, ...]]:
    """Return the next state and its commands, in the order in which to perform them.

    The event comes before the deadlines: an extension that waited in the channel while the
    guardian was busy counts, as long as trust itself has not run out (G2).
    """
    if guard.quitted:
        return guard, ()
    orders: Orders = []
    if now - due(guard) > LATE_S or isinstance(event, words.AgentEvent):
        guard = guard._replace(said_at=now)
    guard = _meet(guard, event, now, orders)
    guard = _keep_trust(guard, now, orders)
    guard = guardian_agents.keep(guard, now, orders)
    guard = _keep_leaving(guard, now, orders)
    return guard, guardian_run.reports_last(orders)


def due(guard: Guard) -> float:
    """Return the moment at which `Ticked` must come if nothing else does; may be infinity."""
    if guard.quitted:
        return math.inf
    moments = [guard.leave_by if guard.agent else math.inf, guard.quit_by]
    moments.extend(map(guardian_run.due, guard.runs))
    if not guard.agent and guard.leaving is None:
        moments.append(guard.agent_at)
    if guard.agent:
        moments.append(guard.said_at + guard.silence_max_s)
        if not guard.spare and guard.leaving is None:
            moments.append(guard.spare_at + guardian_agents.SPARE_EVERY_S)
    return min(moments)


# --- events -------------------------------------------------------------------------------------


def _meet(guard: Guard, event: Event, now: float, orders: Orders) -> Guard:
    match event:
        case words.Ticked():
            return guard
        case words.SignalArrived(signum):
            return _on_signal(guard, signum, now, orders)
        case words.AgentLost():
            return guardian_agents.lose(guard, "died", now, orders) if guard.agent else guard
        case words.SpareLost():
            return guard._replace(spare=False)
        case words.SpareMissed():
            orders.append(guardian_run.everything(guard))
            return guard
        case words.PromotionFailed():
            return guardian_agents.miss_promotion(guard, now, orders)
        case words.ProgramReady() | words.ProgramStarted() | words.ProgramRefused():
            return guardian_run.on_program(guard, event, now, orders)
        case words.ProgramEnded() | words.ProgramGone():
            return guardian_run.on_program(guard, event, now, orders)
        case words.ProgramSurvives() | words.ProgramGrows():
            return guardian_run.on_program(guard, event, now, orders)
        case gate_words.GateWaits() | gate_words.GateMissed():
            return guardian_gate.on_gate(guard, event, now, orders)
        case words.AgentNotMade(why):
            return guardian_agents.miss(guard, why, now, orders)
        case _:
            # The last message of a channel that was closed meanwhile may come from a dead agent.
            return _on_agent(guard, event, now, orders) if guard.agent else guard


def _on_agent(guard: Guard, event: Event, now: float, orders: Orders) -> Guard:
    match event:
        case words.Greeted(silence_max_s):
            if guard.signals:
                # The signal came while there was no agent, or the agent that got it has died.
                orders.append(guardian_signals.told(guard.signum, guard.signals))
            elif guard.leaving is not None:
                why = "the agents of this node keep dying"
                orders.append(wire.to_agent(wire.LeaveOrdered(why, guard.leaving)))
            return guard._replace(silence_max_s=silence_max_s)
        case words.Pinged(n):
            orders.append(wire.to_agent(wire.Echoed(n)))
            return guard
        case words.SessionTold(session, term):
            if (session, term) != (guard.session, guard.term):
                guard = guard._replace(session=session, term=term, ended_at=None)
            orders.append(wire.to_spare(event))
            return guard
        case words.ExitOrdered(code):
            leave_by = min(guard.leave_by, now + EXIT_MAX_S)
            leaving = code if guard.leaving is None else guard.leaving
            return guard._replace(leaving=leaving, leave_by=leave_by)
        case words.StartOrdered() | gate_words.OpenOrdered():
            return _let_act(guard, event, now, orders)
        case timing_words.Retimed(silence_max_s, room_s):
            runs = tuple(guardian_run.retimed(run, room_s) for run in guard.runs)
            return guard._replace(silence_max_s=silence_max_s, runs=runs)
        case words.ExtendOrdered(words.EVERY_RUN) | words.KillOrdered(words.EVERY_RUN):
            return _on_every_run(guard, event, now, orders)
        case words.ExtendOrdered() | words.StopOrdered() | words.KillOrdered():
            return _on_run_order(guard, event, now, orders)
        case _:
            raise IllegalTransitionError(guard, event)


def _let_act(
    guard: Guard, event: words.StartOrdered | gate_words.OpenOrdered, now: float, orders: Orders
) -> Guard:
    if isinstance(event, gate_words.OpenOrdered):
        return guardian_gate.open_gate(guard, event, now, orders)
    return guardian_run.start(guard, event, now, orders)


def _on_every_run(
    guard: Guard, event: words.ExtendOrdered | words.KillOrdered, now: float, orders: Orders
) -> Guard:
    if isinstance(event, words.ExtendOrdered):
        extend, until = guardian_run.extend, event.trusted_until
        return guard._replace(runs=tuple(extend(run, until, now, orders) for run in guard.runs))
    kill = guardian_run.kill
    return guard._replace(runs=tuple(kill(run, "killed", now, orders) for run in guard.runs))


def _on_run_order(guard: Guard, event: RunOrder, now: float, orders: Orders) -> Guard:
    """Obey an order about one run; ignore an order that comes after the run's end."""
    run = guard.run(event.run)
    if run is None:
        return guard
    match event:
        case words.ExtendOrdered(_, trusted_until):
            changed = guardian_run.extend(run, trusted_until, now, orders)
        case words.StopOrdered(_, grace_s):
            changed = guardian_run.stop(run, grace_s, "stopped", now, orders)
        case words.KillOrdered():
            changed = guardian_run.kill(run, "killed", now, orders)
    return guard.changed(changed)


def _on_signal(guard: Guard, signum: int, now: float, orders: Orders) -> Guard:
    if signum in _STOPPING_SIGNALS:
        guard = guard._replace(signals=guard.signals + 1, signum=signum)
        orders.append(guardian_signals.told(signum, guard.signals))
        if signum == signal.SIGINT and guard.signals > 1:
            runs = tuple(guardian_run.kill(run, "killed", now, orders) for run in guard.runs)
            leave_by = min(guard.leave_by, now + INTERRUPT_MAX_S)
            return guard._replace(runs=runs, leaving=INTERRUPTED, leave_by=leave_by)
    elif signum in guardian_signals.PASSED_ON:
        guardian_signals.pass_on(guard, signum, orders)
    else:
        raise IllegalTransitionError(guard, signum)
    return guard


def _keep_trust(guard: Guard, now: float, orders: Orders) -> Guard:
    before = guard.runs
    guard = guard._replace(runs=tuple(guardian_run.keep_trust(run, now, orders) for run in before))
    silent = guard.agent and now - guard.said_at > SILENT_AT_TRUST_END_S
    if silent and any(map(_ran_out, before, guard.runs, repeat(now))):
        return guardian_agents.kill(guard, "was silent while trust ran out", now, orders)
    return guard


def _ran_out(before: Run, after: Run, now: float) -> bool:
    """Say whether this step killed the run because trust in it ran out."""
    killed = before.phase != "killing" and after.phase == "killing"
    return killed and now >= before.trusted_until


# --- leaving ------------------------------------------------------------------------------------


def _keep_leaving(guard: Guard, now: float, orders: Orders) -> Guard:
    """End the node in order: agent, programs, spare, guardian."""
    code = guard.leaving
    if code is None:
        return guard
    if guard.agent and now >= guard.leave_by:
        orders.append(words.KillAgent())
        guard = guard._replace(agent=False)
    if guard.agent:
        return guard
    if guard.runs:
        stop = guardian_run.stop
        runs = tuple(stop(run, run.stop_timeout_s, "agent", now, orders) for run in guard.runs)
        return guard._replace(runs=runs)
    if guard.spare and guard.quit_by == math.inf:
        orders.append(wire.to_spare(wire.QuitOrdered()))
        return guard._replace(quit_by=now + QUIT_MAX_S)
    if guard.spare and now < guard.quit_by:
        return guard
    if guard.spare:
        orders.append(words.KillSpare())
    orders.append(words.Quit(code))
    return guard._replace(quitted=True)
