"""Detection of a program that lives and does nothing: rules M1 to M5, case by case."""

from __future__ import annotations

import pytest

from coordinator.protocol.messages.requests import Leave
from coordinator.protocol.node.events import (
    Finish,
    KillProgram,
    LogLine,
    ProgramEnded,
    ProgramProgressed,
    ProgramRefused,
    ResignAsked,
    StartProgram,
    StopProgram,
)
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.node import Policy
from coordinator.protocol.node.state.side_runs import HealthPolicy, HungPolicy
from tests.simulation.plans.hung_transcripts import script_of
from tests.simulation.plans.script import Script, asked, held, kinds, seen, view
from tests.unit.protocol.node.machines import find

#: A check each second, of half a second; two failures in a row mean that the program hangs.
CHECKS = HealthPolicy(interval_s=1.0, timeout_s=0.5, failures_max=2, delay_s=1.0)


def checking(now: float = 1.0) -> tuple[Script, StartProgram]:
    """Return a holder whose first health check has just been ordered."""
    script = script_of(health=CHECKS)
    check = find(script.tick(now), StartProgram)
    assert isinstance(check, StartProgram)
    return script, check


def next_check(script: Script, now: float) -> StartProgram:
    """Return the check that is ordered at this moment."""
    check = find(renewed(script, now), StartProgram)
    assert isinstance(check, StartProgram)
    assert check.side == "health"
    return check


def renewed(script: Script, now: float) -> tuple[object, ...]:
    """Let time pass up to a moment, with a heartbeat that is acknowledged then."""
    commands = script.tick(now)
    if script.node.pending is not None:
        commands += script.answer(now, script.own())
    return commands


# --- progress -----------------------------------------------------------------------------------


def test_the_machine_wakes_up_for_an_overdue_report_and_for_the_second_look() -> None:
    """M1"""
    script = script_of(progress_s=0.4)

    assert wake_at(script.node, 0.0) == 0.4
    assert StopProgram not in kinds(script.tick(0.4))
    assert wake_at(script.node, 0.4) == pytest.approx(0.5)
    assert StopProgram in kinds(script.tick(0.5))


def test_a_report_puts_the_moment_off() -> None:
    """M1"""
    script = script_of(progress_s=0.4)
    script.take_in(ProgramProgressed(0.3, 1))

    script.tick(0.6)

    assert script.node.program_watch is not None
    assert script.node.program_watch.overdue_at is None


def test_without_a_timeout_no_silence_is_too_long() -> None:
    script = script_of()
    for now in range(1, 40):
        assert StopProgram not in kinds(renewed(script, float(now)))


def test_a_hung_program_is_told_of_once_with_the_wait() -> None:
    """M4"""
    script = script_of(progress_s=0.4)
    script.tick(0.4)

    told = [it for it in script.tick(0.5) if isinstance(it, LogLine) and it.event == "hung"]

    assert told == [LogLine("hung", (("why", "no progress for 0.4 s"), ("wait_s", 6.0)))]
    assert StopProgram not in kinds(script.tick(0.6))


def test_a_program_that_was_told_to_end_is_not_hung() -> None:
    script = script_of(progress_s=0.4)
    script.take_in(ResignAsked(0.1, "SIGUSR1"))

    script.tick(0.4)

    assert StopProgram not in kinds(script.tick(0.6))
    assert script.node.hung_term == 0


def test_a_node_that_waited_for_one_run_leaves_with_76_and_says_why() -> None:
    """M4: `-n` and `-w` run the program once."""
    hung = HungPolicy(progress_s=0.4)
    script = Script(Policy(node="n0", group="G", seed="s", once=True, hung=hung))
    script.hold(0.0)
    script.tick(0.4)
    script.tick(0.5)

    leave = asked(script.take_in(ProgramEnded(0.7, 1, -15, "stopped")))

    assert isinstance(leave, Leave)
    finish = find(script.answer(0.8, view()), Finish)
    assert finish == Finish(76, "the program hung, and was stopped: no progress for 0.4 s")


# --- health checks ------------------------------------------------------------------------------


def test_one_check_at_a_time_each_an_interval_after_the_last_began() -> None:
    script, check = checking()
    assert (check.side, check.trusted_until) == ("health", 1.5)
    assert StartProgram not in kinds(renewed(script, 1.2))

    script.take_in(ProgramEnded(1.3, check.run, 0, "itself"))

    assert StartProgram not in kinds(script.tick(1.9))
    assert next_check(script, 2.0).run == check.run + 1


def test_failures_in_a_row_stop_the_program() -> None:
    """M3"""
    script, check = checking()
    script.take_in(ProgramEnded(1.1, check.run, 1, "itself"))
    check = next_check(script, 2.0)

    stopped = script.take_in(ProgramEnded(2.6, check.run, -9, "trust", at=2.6))

    assert find(stopped, StopProgram) == StopProgram(
        1, "2 health checks failed (no end within 0.5 s)"
    )


def test_a_success_in_between_starts_the_count_again() -> None:
    script, check = checking()
    for now, status in ((1.1, 1), (2.1, 0), (3.1, 1)):
        assert StopProgram not in kinds(
            script.take_in(ProgramEnded(now, check.run, status, "itself"))
        )
        check = next_check(script, now + 0.9)


@pytest.mark.parametrize(("code", "failures"), [(127, 1), (126, 1), (0, 0)])
def test_a_check_that_cannot_be_started_has_failed_if_its_file_is_the_cause(
    code: int, failures: int
) -> None:
    """M3: for want of trust or of a process nothing is known."""
    script, check = checking()

    script.take_in(ProgramRefused(1.1, check.run, "not found", code))

    assert script.node.program_watch is not None
    assert script.node.program_watch.failures == failures


@pytest.mark.parametrize("why", ["trust", "killed", "agent"])
def test_a_check_that_was_not_let_finish_says_nothing(why: str) -> None:
    """M3"""
    script, check = checking()

    script.take_in(ProgramEnded(1.2, check.run, -9, why, at=1.2))

    assert script.node.program_watch is not None
    assert script.node.program_watch.failures == 0


def test_a_check_of_the_last_run_says_nothing_about_the_next() -> None:
    """M2"""
    script, check = checking()
    killed = script.take_in(ProgramEnded(1.1, 1, 1, "itself"))
    assert KillProgram(check.run, "its program ended") in killed

    script.take_in(ProgramEnded(1.2, check.run, 1, "itself"))
    assert find(script.tick(1.3), StartProgram)

    assert script.node.program_watch is not None
    assert script.node.program_watch.failures == 0


def test_nothing_starts_and_nothing_is_released_beside_a_check_that_still_lives() -> None:
    """M5"""
    script, check = checking()
    script.take_in(ProgramEnded(1.1, 1, 1, "itself"))
    assert StartProgram not in kinds(renewed(script, 1.3))

    script.take_in(ResignAsked(1.35, "SIGUSR1"))
    script.fast_forward(given_up=1)
    assert script.node.pending is None

    assert asked(script.take_in(ProgramEnded(1.4, check.run, -9, "killed"))) is not None


def test_a_session_that_ends_takes_its_check_along() -> None:
    """M5, L3: the node joins again when program and check are dead."""
    script, check = checking()
    lost = view(held("other", term=2), seen("other"))
    script.tick(1.2)

    commands = script.answer(1.2, lost, done=False)

    assert {it.run for it in commands if isinstance(it, KillProgram)} == {1, check.run}
    assert asked(script.take_in(ProgramEnded(1.3, 1, -9, "killed"))) is None
    assert asked(script.take_in(ProgramEnded(1.4, check.run, -9, "killed"))) is not None
