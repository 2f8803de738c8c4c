"""A node for one run of a command, as `coord token hold` is: its end has the command's code."""

from __future__ import annotations

import pytest

from coordinator.protocol.guardian.events import SessionTold
from coordinator.protocol.messages.requests import Leave
from coordinator.protocol.node.events import Finish, ProgramEnded, StartProgram, StopAsked
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.guardian_watch import GuardianWatch
from coordinator.protocol.node.state.node import Node, OnExit, succeeding
from tests.simulation.plans.script import TIMING, asked, view
from tests.unit.protocol.node.machines import find, holder, other, policy, standby

LOCK = policy(on_exit=OnExit.STOP, once=True, exits_as_program=True)


@pytest.mark.parametrize(("status", "code"), [(0, 0), (3, 3), (-15, 143), (-9, 137)])
def test_told_to_leave_it_ends_with_the_code_of_its_command(status: int, code: int) -> None:
    """The command may end in order after SIGTERM, or by it."""
    script = holder(LOCK)
    script.take_in(StopAsked(0.4, "SIGTERM"))

    left = asked(script.take_in(ProgramEnded(0.5, 1, status, "stopped")))

    assert isinstance(left, Leave)
    assert find(script.answer(0.6, view()), Finish) == Finish(code, "")


def test_a_signal_while_it_waits_ends_it_as_a_shell_tells_it() -> None:
    script = standby(other(), LOCK)

    left = asked(script.take_in(StopAsked(0.4, "SIGINT")))

    assert isinstance(left, Leave)
    assert find(script.answer(0.6, other()), Finish) == Finish(130, "")


def test_another_node_ends_with_zero_as_ever() -> None:
    script = holder()
    script.take_in(StopAsked(0.4, "SIGTERM"))
    script.take_in(ProgramEnded(0.5, 1, -15, "stopped"))

    assert find(script.answer(0.6, view()), Finish) == Finish(0, "")


def test_the_loss_of_the_token_has_a_code_of_its_own() -> None:
    """The killed command's own code does not count."""
    script = holder(LOCK)
    over_at = script.node.trusted_until
    script.tick(over_at)

    script.take_in(ProgramEnded(over_at + 0.1, 1, -9, "trust"))

    assert script.node.leaving is not None
    assert script.node.leaving.code == 76


@pytest.mark.parametrize("dying", [True, False])
def test_an_agent_that_follows_a_dead_holder_s_does_not_run_the_command_again(dying: bool) -> None:
    """The command was killed with the agent, or had ended just before."""
    node = succeeding(Node(policy=LOCK, timing=TIMING), "s-1", 4, 0.0, dying=dying)

    assert node.leaving is not None
    assert node.leaving.code == 76


def test_an_agent_that_follows_a_dead_waiter_s_waits_on() -> None:
    node = succeeding(Node(policy=LOCK, timing=TIMING), "s-1", 0, 0.0, dying=False)

    assert node.leaving is None


def test_the_guardian_knows_that_the_command_has_run_when_it_has_ended() -> None:
    script = holder(LOCK)
    script.take_in(ProgramEnded(0.5, 1, 0, "itself"))

    _, told = GuardianWatch(timing=TIMING, ping_at=0.0).after_step(script.node)

    assert told == SessionTold(script.node.session, 1)


def test_a_command_runs_only_once() -> None:
    script = holder(LOCK)
    commands = script.take_in(ProgramEnded(0.5, 1, 1, "itself"))
    for _ in range(5):
        commands += script.tick(wake_at(script.node, 0.5))

    assert not [each for each in commands if isinstance(each, StartProgram)]
