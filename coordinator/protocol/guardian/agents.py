"""Decisions of the guardian on agent and spare: start, promote, kill, retry (rules G5, G6, G8).

A process that is needed and cannot be made now, because processes or descriptors are exhausted, is
made later.
"""

from __future__ import annotations

import math

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import run as guardian_run
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.run import Orders
from coordinator.protocol.guardian.state import Guard

#: An agent that has not greeted within this many seconds never will; importing takes 1 or 2.
GREETING_MAX_S = 60.0
#: More agent deaths than this within DEATHS_WITHIN_S are no accident.
DEATHS_MAX = 5
DEATHS_WITHIN_S = 60.0
#: A spare that dies at once must not keep the machine busy with imports.
SPARE_EVERY_S = 5.0
#: Seconds to the next attempt while no process can be made for an agent; doubled each time.
AGENT_AGAIN_S = 1.0
#: Exit code of a node whose agents die one after the other.
AGENT_LOOP = 1


def keep(guard: Guard, now: float, orders: Orders) -> Guard:
    """Keep an agent that speaks, and a spare, as long as the node does not leave."""
    if not guard.agent and guard.leaving is None and now >= guard.agent_at:
        guard = start(guard, now, orders)
    if guard.agent and now >= guard.said_at + guard.silence_max_s:
        guard = kill(guard, f"was silent for {guard.silence_max_s:g} s", now, orders)
    wanted = guard.agent and not guard.spare and guard.leaving is None
    if wanted and now >= guard.spare_at + SPARE_EVERY_S:
        orders.append(words.StartSpare())
        orders.append(guardian_run.everything(guard))
        guard = guard._replace(spare=True, spare_at=now)
    return guard


def kill(guard: Guard, what: str, now: float, orders: Orders) -> Guard:
    """Kill the agent, and continue as after its death."""
    orders.append(words.KillAgent())
    return lose(guard, what, now, orders)


def lose(guard: Guard, what: str, now: float, orders: Orders) -> Guard:
    """Stop all programs and start or promote the next agent at once, in parallel (G5)."""
    guard = guard._replace(agent=False)
    if guard.leaving is not None:
        return guard
    guard = _with_death(guard, now, orders)
    deaths = guard.deaths
    if len(deaths) > DEATHS_MAX:
        orders.append(words.Report(f"agent {what}, {len(deaths)} times within a minute: leaving"))
        guard = guard._replace(leaving=AGENT_LOOP)
        # The spare gives the token back (G8); once the lease is over there is nothing to give.
        leave_by = min(guard.leave_by, now + guard.silence_max_s)
        return _promote(guard._replace(leave_by=leave_by), now, orders) if guard.spare else guard
    if not guard.spare:
        orders.append(words.Report(f"agent {what}: starting another"))
        return start(guard, now, orders)
    orders.append(words.Report(f"agent {what}: the spare takes over"))
    return _promote(guard, now, orders)


def _with_death(guard: Guard, now: float, orders: Orders) -> Guard:
    """Stop all programs, and count one more dead agent."""
    runs = tuple(guardian_run.inherit(run, now, orders) for run in guard.runs)
    deaths = (*(at for at in guard.deaths if at > now - DEATHS_WITHIN_S), now)
    return guard._replace(runs=runs, deaths=deaths)


def miss(guard: Guard, why: str, now: float, orders: Orders) -> Guard:
    """Try again later: programs that end may free processes; the same budget ends it (G8)."""
    guard = guard._replace(agent=False, spare=False)
    if guard.leaving is not None:
        return guard
    guard = _with_death(guard, now, orders)
    if len(guard.deaths) > DEATHS_MAX:
        orders.append(words.Report(f"no agent can be made: {why}: leaving"))
        return guard._replace(leaving=AGENT_LOOP)
    orders.append(words.Report(f"no agent can be made now: {why}: trying again"))
    pause_s = AGENT_AGAIN_S * 2.0 ** (len(guard.deaths) - 1)
    return guard._replace(agent_at=now + pause_s)


def _promote(guard: Guard, now: float, orders: Orders) -> Guard:
    become = wire.BecomeOrdered(guard.session, guard.term, bool(guard.runs))
    orders.append(words.PromoteSpare(wire.build(become)))
    orders.append(guardian_run.everything(guard))
    return guard._replace(agent=True, spare=True, said_at=now, spare_at=now)


def miss_promotion(guard: Guard, now: float, orders: Orders) -> Guard:
    """Start an agent in place of a spare that was gone; a node that leaves needs none."""
    if guard.agent and guard.leaving is None:
        return start(guard, now, orders)
    return guard._replace(agent=False, spare=False)


def start(guard: Guard, now: float, orders: Orders) -> Guard:
    """Start an agent from scratch; it brings a spare of its own."""
    orders.append(words.StartAgent(guard.session, guard.term))
    orders.append(guardian_run.everything(guard))
    if guard.session is not None and not guard.runs:
        # An agent that succeeds another first waits for the end of that one's programs.
        orders.append(guardian_run.inheritance_over(0, guard.ended_at or now))
    return guard._replace(
        agent=True,
        spare=True,
        said_at=now,
        spare_at=now,
        agent_at=math.inf,
        silence_max_s=GREETING_MAX_S,
    )
