"""Decisions of the guardian about one run of a program: let it go, stop it, kill it.

Rules G1 to G4 of machine.py. The functions append their commands to `orders`.
"""

from __future__ import annotations

import signal

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import Command, ProgramEvent
from coordinator.protocol.guardian.state import RUNS_MAX, Guard, Run, Why

#: Seconds after SIGKILL to the next check; doubled each time up to the longest.
KILL_AGAIN_S = 0.002
KILL_AGAIN_LONGEST_S = 0.25
#: The operator is told after this many rounds, about half a second.
KILLS_UNHEARD = 8
#: Longest time of a kill (T1); if it takes longer, the operator is told.
KILL_MAX_S = 0.2

Orders = list[Command]


def reports_last(orders: Orders) -> tuple[Command, ...]:
    """Return the commands with mere reports to the operator last (G10)."""
    return tuple(sorted(orders, key=lambda order: isinstance(order, words.Report)))


def start(guard: Guard, order: words.StartOrdered, now: float, orders: Orders) -> Guard:
    """Launch the program unless a rule forbids it (G3)."""
    run = Run(
        order.run,
        order.trusted_until,
        order.stop_timeout_s,
        start_by=order.start_by,
        forward=order.forward,
        last_stop_s=order.last_stop_s,
        gated=order.gated,
    )
    if order.run == words.EVERY_RUN:
        why = f"no run has the number {order.run}"
    elif guard.run(order.run) is not None:
        why = f"run {order.run} has not ended"
    elif len(guard.runs) >= RUNS_MAX:
        why = f"{RUNS_MAX} programs run already"
    elif guard.leaving is not None:
        why = "the node is leaving"
    elif now >= run.let_go_by:
        why = "trust is over"
    else:
        orders.append(words.LaunchProgram(order))
        # A successor gets the term of the group's own program.
        term = guard.term if order.task or order.gated else order.term
        return guard._replace(runs=(*guard.runs, run), term=term)
    orders.append(wire.to_agent(wire.Refused(order.run, why, 0)))
    return guard


def extend(run: Run, trusted_until: float, now: float, orders: Orders) -> Run:
    """Extend trust in the run, unless it is too late for that (G2)."""
    if run.gated or not run.extends or now >= run.trusted_until:
        return run
    run = run._replace(trusted_until=max(run.trusted_until, trusted_until))
    orders.append(words.WriteBoard(run.number, run.trusted_until, now))
    return run


def retimed(run: Run, room_s: float) -> Run:
    """Return the run with the time that the end of trust gives it to end (G1, I6)."""
    return run._replace(last_stop_s=max(0.0, min(run.stop_timeout_s, room_s)))


def stop(run: Run, grace_s: float, why: Why, now: float, orders: Orders) -> Run:
    """Tell the program to end, and set the moment of its SIGKILL; never later than before.

    Trust may run out before that moment, unless it is extended (G2).
    """
    kill_at = now + grace_s
    match run.phase:
        case "launching":
            return kill(run, why, now, orders)
        case "running":
            orders.append(words.SignalProgram(run.number, signal.SIGTERM))
            return run._replace(phase="stopping", kill_at=kill_at, why=why)
        case "stopping":
            return run._replace(kill_at=min(run.kill_at, kill_at))
        case "killing":
            return run


def kill(run: Run, why: Why, now: float, orders: Orders) -> Run:
    """SIGKILL everything of the run; `kill_again_at` repeats it until nothing is left."""
    if run.phase == "launching" and run.refusal is None:
        run = run._replace(refusal=("stopped before it was started", 0))
    if run.phase in ("launching", "running"):
        run = run._replace(why=why)
    pause_s = min(KILL_AGAIN_S * 2.0 ** min(run.kills, 10), KILL_AGAIN_LONGEST_S)
    orders.append(words.KillProgram(run.number))
    if run.kills == KILLS_UNHEARD and not run.survivors:
        orders.append(words.Report(f"program {run.pid} survives SIGKILL; is it stuck on a disk?"))
    run = run._replace(phase="killing", kills=run.kills + 1, killed_at=min(run.killed_at, now))
    return run._replace(kill_again_at=now + pause_s)


def due(run: Run) -> float:
    """Return the moment at which `keep_trust` next has something to do."""
    match run.phase:
        case "launching":
            return run.let_go_by
        case "running":
            return run.stop_at
        case "stopping":
            return min(run.kill_at, run.trusted_until)
        case "killing":
            return run.kill_again_at


def keep_trust(run: Run, now: float, orders: Orders) -> Run:
    """Carry out what is due (G1)."""
    if now < due(run):
        return run
    if run.phase == "running" and now < run.trusted_until:
        orders.append(wire.to_agent(wire.Stopping(run.number, "trust")))
        return stop(run, run.stop_timeout_s, "trust", now, orders)
    if run.phase == "launching":
        run = run._replace(refusal=("trust ended before the program was started", 0))
    if run.phase == "stopping" and now >= run.kill_at:
        run = run._replace(forced=True)
    return kill(run, "trust", now, orders)


def inherit(run: Run, now: float, orders: Orders) -> Run:
    """Stop a run of a dead agent; its successor gets no answer for each single run (G5).

    One behind a closed gate has nothing to finish, and must not hold the successor up.
    """
    if run.gated:
        return kill(run, "agent", now, orders)._replace(inherited=True)
    return stop(run, run.stop_timeout_s, "agent", now, orders)._replace(inherited=True)


def on_program(guard: Guard, event: ProgramEvent, now: float, orders: Orders) -> Guard:
    """Apply an event of a program; an event of a run that is over changes nothing."""
    run = guard.run(event.run)
    if run is None:
        return guard
    match event:
        case words.ProgramReady(_, pid, handle):
            return _let_go(guard, run._replace(pid=pid, handle=handle), now, orders)
        case words.ProgramStarted(number):
            if not run.inherited:
                orders.append(wire.to_agent(wire.Started(number, run.pid, run.handle or {})))
            return guard.changed(run._replace(started=True))
        case words.ProgramRefused(_, why, code):
            run = run._replace(refusal=run.refusal or (why, code))
            return guard.changed(kill(run, "itself", now, orders))
        case words.ProgramEnded(_, status, left):
            run = run._replace(status=status)
            if not left:
                return _finish(guard, run, now, orders)
            # Processes that the first one left behind get the same time to end as it had.
            return guard.changed(stop(run, run.stop_timeout_s, "itself", now, orders))
        case words.ProgramGone():
            return _finish(guard, run, now, orders)
        case words.ProgramGrows():
            # A pause would let it fork on: the next round at once, and the pauses start anew.
            return guard.changed(run._replace(kills=1, kill_again_at=now))
        case words.ProgramSurvives(_, survivors):
            return guard.changed(_note_survivors(run, survivors, orders))


def _note_survivors(run: Run, survivors: tuple[tuple[int, str], ...], orders: Orders) -> Run:
    """Name each process that cannot be killed, once and at once (G4)."""
    for pid, name in survivors:
        if pid not in run.survivors:
            text = (
                f"process {pid} ({name}) of program {run.pid} belongs to another user and cannot be"
                f" killed: the token is not released while it lives; end it: kill -9 {pid}"
            )
            orders.append(words.Report(text))
    return run._replace(survivors=run.survivors | {pid for pid, _ in survivors})


def everything(guard: Guard) -> words.TellSpare:
    """List what the spare must know to end all programs if guardian and agent die together.

    Sent to a spare that knows nothing. Later it gets each change alone, so that the start or end
    of one run does not cost more because of the others. RUNS_MAX bounds the list; what is longer
    than a packet is sent in a memfd.
    """
    runs = tuple((run.number, run.handle) for run in guard.runs if run.handle is not None)
    return wire.to_spare(wire.RunsTold(runs, guard.session, guard.term))


def _let_go(guard: Guard, run: Run, now: float, orders: Orders) -> Guard:
    # The spare must know what to kill before there is something to kill.
    orders.append(wire.to_spare(wire.RunTold(run.number, run.handle or {})))
    if run.phase != "launching" or now >= run.let_go_by:
        return guard.changed(run)
    if not run.gated:
        orders.append(words.WriteBoard(run.number, run.trusted_until, now))
    orders.append(words.LetGo(run.number, min(run.trusted_until, run.start_by)))
    return guard.changed(run._replace(phase="running"))


def _finish(guard: Guard, run: Run, now: float, orders: Orders) -> Guard:
    """Report how the run ended, now that no process of it exists (G4)."""
    guard = guard.without(run)._replace(ended_at=now)
    took_s = now - run.killed_at
    if took_s > KILL_MAX_S:
        text = f"the kill of program {run.pid} took {took_s:.1f} s, longer than {KILL_MAX_S:g} s"
        orders.append(words.Report(text))
    if run.handle is not None:
        orders.append(wire.to_spare(wire.RunOver(run.number)))
    refusal = run.refusal
    if run.inherited:
        if not any(other.inherited for other in guard.runs):
            orders.append(inheritance_over(run.status, now))
        return guard
    if refusal is None and not run.started:
        refusal = ("its process ended before it was started", 0)
    if refusal is not None:
        orders.append(wire.to_agent(wire.Refused(run.number, *refusal)))
    else:
        orders.append(_ended(run.number, run.status, run.why, now, forced=run.forced))
    return guard


def inheritance_over(status: int | None, now: float) -> words.TellAgent:
    """Return the message that nothing runs any more of what the agent's predecessors left."""
    return _ended(words.EVERY_RUN, status, "agent", now)


def _ended(
    number: int, status: int | None, why: Why, now: float, *, forced: bool = False
) -> words.TellAgent:
    """Return the message of an end, with its moment: an agent that still starts gets it late."""
    how = int(-signal.SIGKILL) if status is None else status
    return wire.to_agent(wire.Ended(number, how, why, now, forced))
