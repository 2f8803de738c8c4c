"""Runs of a program that hangs, as they happen; each fails when its rule M is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from coordinator.protocol.messages.requests import Release, Take
from coordinator.protocol.node.events import (
    ExtendTrust,
    ProgramEnded,
    ProgramProgressed,
    StartProgram,
    StopProgram,
)
from coordinator.protocol.node.state.node import Policy
from coordinator.protocol.node.state.side_runs import HealthPolicy, HungPolicy
from tests.simulation.plans.script import TIMING, Script, asked, held, kinds, seen, view

CHECKS = HealthPolicy(interval_s=1.0, timeout_s=30.0, failures_max=1, delay_s=0.5)


def script_of(**hung: object) -> Script:
    """Return a node that holds the token, whose program runs and is watched."""
    policy = HungPolicy(**hung)  # type: ignore[arg-type]
    script = Script(Policy(node="n0", group="G", seed="script", hung=policy))
    script.hold(0.0)
    assert script.node.run is not None
    return script


def renewed_until(script: Script, now: float, until: float) -> float:
    """Let heartbeats be answered once a second."""
    while now < until:
        script.tick(now)
        if script.node.pending is not None:
            script.answer(now, script.own())
        now += 1.0
    return now - 1.0


def progress_of_an_old_run_says_nothing() -> None:
    """M2: a late report of the last run does not keep the next one alive.

    1. 0.0  run 1 starts, and ends by itself at 0.5; run 2 starts under the same term.
    2. 2.0  a report of run 1 is read, which was sent before its end.
    3. 4.2  run 2 has never reported anything; the second look is over.
    """
    script = script_of(progress_s=3.0)
    script.take_in(ProgramEnded(0.5, 1, 1, "itself"))
    assert StartProgram in kinds(script.tick(0.7))
    second = script.node.run
    assert second is not None
    renewed_until(script, 1.0, 1.0)
    script.take_in(ProgramProgressed(2.0, 1))
    renewed_until(script, 2.0, 3.0)
    script.tick(3.8)

    stopped = [it for it in script.tick(4.4) if isinstance(it, StopProgram)]

    assert stopped == [StopProgram(second.number, "no progress for 3 s")]


def reports_made_while_the_node_stood_still_count() -> None:
    """M1: the agent wakes up, and another event comes first.

    1. 0.5   the agent stands still; its program reports on, into the socket.
    2. 2.5   it wakes: an answer is handled before the socket is read.
    3. 2.51  the reports are read.
    """
    script = script_of(progress_s=1.0)
    script.take_in(ProgramProgressed(0.5, 1))

    woken = script.tick(2.5)
    script.take_in(ProgramProgressed(2.51, 1))

    assert StopProgram not in kinds(woken)
    assert StopProgram not in kinds(script.tick(3.2))
    assert script.node.hung_term == 0


def a_hung_programs_token_is_left_to_others() -> None:
    """M4: released with the reason, and not taken back for one interval.

    1. 1.5  the program is told to end, ignores that, and is dead at 3.0.
    2. 3.0  the token is released. It is still free at 5.0: this node waits.
    3. 9.0  one interval after the end nobody has taken it.
    """
    script = script_of(progress_s=1.0)
    script.tick(1.0)
    script.answer(1.0, script.own())
    assert StopProgram in kinds(script.tick(1.3))
    script.tick(2.0)
    script.answer(2.0, script.own())

    released = script.take_in(ProgramEnded(3.0, 1, -9, "stopped"))

    request = asked(released)
    assert isinstance(request, Release)
    assert request.reason == "no progress for 1 s"
    free = view(replace(held("x", node="n0"), session=None), seen(script.session, 5))
    taken = asked(script.answer(3.1, free))
    now = 3.1
    while not isinstance(taken, Take):
        now += 0.5
        taken = asked(script.tick(now))
        if script.node.pending is not None and not isinstance(taken, Take):
            taken = asked(script.answer(now, free))
        assert now < 3.0 + 2 * TIMING.liveness_s, "nobody else wants it"
    assert now >= 3.0 + TIMING.liveness_s


def a_check_ends_with_trust() -> None:
    """M5: a health check has 30 s, and is dead when its node's trust is over, all the same."""
    script = script_of(health=CHECKS)
    (check,) = (it for it in script.tick(0.5) if isinstance(it, StartProgram))
    assert check.side == "health"
    assert check.trusted_until == script.node.trusted_until

    script.tick(1.0)
    extended = [it for it in script.answer(1.0, script.own()) if isinstance(it, ExtendTrust)]

    assert {it.run for it in extended} == {1, check.run}
    assert {it.trusted_until for it in extended} == {script.node.trusted_until}


#: By the name of the planted bug that fails it.
HUNG: dict[str, Callable[[], None]] = {
    "old-progress": progress_of_an_old_run_says_nothing,
    "one-look": reports_made_while_the_node_stood_still_count,
    "hung-again": a_hung_programs_token_is_left_to_others,
    "patient-check": a_check_ends_with_trust,
}
