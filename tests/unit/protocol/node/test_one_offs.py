"""One-off commands on the active node: refusals, and how each end is told (rules M12 and M13)."""

from __future__ import annotations

import pytest

from coordinator.protocol.node.events import (
    Finish,
    OneOffAsked,
    ProgramEnded,
    ProgramRefused,
    ResignAsked,
    StartProgram,
    StopAsked,
    TellAsker,
)
from coordinator.protocol.node.side_runs.one_offs import ONE_OFFS_MAX
from coordinator.protocol.node.state.tasks import TaskState
from tests.simulation.plans.one_off_transcripts import ask, begun, holder, stopped, told
from tests.simulation.plans.script import Script, held, kinds, seen, view


def refusal(script: Script, now: float) -> TellAsker:
    """Ask for a one-off that is refused; return the answer."""
    commands = ask(script, now)
    assert StartProgram not in kinds(commands)
    (answer,) = told(commands)
    return answer


def test_a_standby_names_the_active_node():
    """M12"""
    script = Script()
    script.join(0.0, view(held("s", node="n7", term=4), seen("s", 1)))

    assert refusal(script, 0.1) == TellAsker(1, 3, "n7 is active, term 4")


def test_a_holder_between_two_runs_of_its_program_is_not_active():
    """M12: as /active has it."""
    script = holder()
    script.take_in(ProgramEnded(0.1, 1, 1, "itself"))

    answer = refusal(script, 0.15)

    assert answer.code == 3
    assert "does not run at this moment" in answer.why


def test_a_holder_that_gives_way_starts_none():
    """M12"""
    script = holder()
    script.take_in(ResignAsked(0.1, "SIGUSR1"))

    assert refusal(script, 0.2).code == 3


def test_a_group_of_tasks_has_no_active_node():
    """M12: its observer is none."""
    script = holder()
    script.fast_forward(task_state=TaskState(), run=None)

    answer = refusal(script, 0.1)

    assert answer.code == 78
    assert "spreads tasks" in answer.why


def test_the_number_of_one_offs_is_bounded():
    """M12"""
    script = holder()
    for number in range(1, ONE_OFFS_MAX + 1):
        begun(script, 0.1, number)

    (answer,) = told(ask(script, 0.1, ONE_OFFS_MAX + 1))

    assert answer.code == 75


@pytest.mark.parametrize(
    ("event", "code", "word"),
    [
        (lambda run: ProgramEnded(0.5, run, 0, "itself"), 0, ""),
        (lambda run: ProgramEnded(0.5, run, 7, "itself"), 7, ""),
        (lambda run: ProgramEnded(0.5, run, -9, "itself"), 137, ""),
        (lambda run: ProgramEnded(0.5, run, -15, "trust"), 76, "no heartbeat was acknowledged"),
        (lambda run: ProgramRefused(0.5, run, "trust is over", 0), 3, "trust is over"),
        (lambda run: ProgramRefused(0.5, run, "no interpreter", 127), 127, "no interpreter"),
    ],
)
def test_the_asker_is_told_how_its_command_ended(event, code, word):
    """M12"""
    script = holder()
    number = begun(script, 0.2).run

    (answer,) = told(script.take_in(event(number)))

    assert (answer.ask, answer.code) == (1, code)
    assert word in answer.why
    assert (answer.why == "") == (word == "")


def test_a_node_that_leaves_waits_for_its_one_offs():
    """M13"""
    script = holder()
    number = begun(script, 0.2).run
    assert number in stopped(script.take_in(StopAsked(0.3, "SIGTERM")))
    script.take_in(ProgramEnded(0.4, 1, -15, "stopped"))
    assert Finish not in kinds(script.tick(0.5))

    commands = script.take_in(ProgramEnded(0.6, number, -15, "stopped"))

    assert told(commands)[0].code == 76
    assert "SIGTERM" in told(commands)[0].why


def test_a_one_off_is_told_to_end_once():
    """M13"""
    script = holder()
    number = begun(script, 0.2).run
    assert number in stopped(script.take_in(ResignAsked(0.3, "SIGUSR1")))

    assert number not in stopped(script.take_in(OneOffAsked(0.4, 9, "a", "b")))
    assert number not in stopped(script.tick(0.5))
