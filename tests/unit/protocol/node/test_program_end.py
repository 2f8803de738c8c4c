"""The end of the program: what follows from it for the node and its token."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.messages.group_record import Standing
from coordinator.protocol.messages.requests import Leave, Release
from coordinator.protocol.messages.task_requests import ReleaseTasks
from coordinator.protocol.node.events import (
    Finish,
    ProgramEnded,
    ProgramRefused,
    ResignAsked,
    StartProgram,
    StopAsked,
)
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.node import OnExit
from coordinator.protocol.rules.restarts import QUICK_ENDS_MAX
from tests.simulation.plans.script import asked, held, view
from tests.unit.protocol.node.machines import LEASE_S, find, holder, policy, reports
from tests.unit.protocol.node.task_script import run_of, started, task

# --- the end of the program ---------------------------------------------------------------------


def test_program_that_ends_is_started_again_under_the_same_term() -> None:
    script = holder()
    script.take_in(ProgramEnded(0.5, 1, 1, "itself"))
    again_at = wake_at(script.node, 0.5)
    assert again_at == pytest.approx(0.6)
    assert find(script.tick(again_at), StartProgram) == StartProgram(2, 1, LEASE_S)


def test_program_that_ends_quickly_again_and_again_releases() -> None:
    script = holder()
    now = 0.0
    for _ in range(QUICK_ENDS_MAX):
        run = script.node.run
        assert run is not None
        told = reports(script.take_in(ProgramEnded(now + 0.1, run.number, 1, "itself")))
        if isinstance(script.node.pending, Release):
            assert "crash-loop" in told
            break
        assert "crash-loop" not in told
        now = max(now + 1.0, script.node.restarts.start_at)
        script.fast_forward(trusted_until=now + LEASE_S, pending=None)
        script.tick(now)
    assert isinstance(script.pending, Release)
    why = "crash loop: 5 quick ends in a row, the last with exit code 1"
    assert script.pending.reason == why


def test_on_exit_release_gives_the_token_to_others() -> None:
    script = holder(policy(on_exit=OnExit.RELEASE))
    commands = script.take_in(ProgramEnded(0.5, 1, 1, "itself"))
    assert asked(commands) == Release(
        session=script.session, term=1, reason="the program ended (exit code 1)"
    )
    released = view(replace(held("x", term=1), session=None))
    assert asked(script.answer(0.6, released)) is None, "others first"


@pytest.mark.parametrize(("status", "code"), [(0, 0), (3, 3), (-9, 137)])
def test_on_exit_stop_ends_the_node_with_the_programs_code(status: int, code: int) -> None:
    script = holder(policy(on_exit=OnExit.STOP))
    session = script.session
    commands = script.take_in(ProgramEnded(0.5, 1, status, "itself"))
    reason = f"the program ended ({'signal 9' if status < 0 else f'exit code {status}'})"
    assert asked(commands) == Leave(session=session, reason=reason, ended_term=1)
    assert find(script.answer(0.6, view()), Finish) == Finish(code, "")


def test_file_that_cannot_be_executed_ends_the_node() -> None:
    script = holder()
    commands = script.take_in(ProgramRefused(0.5, 1, "no such file", 127))
    assert isinstance(asked(commands), Leave)
    assert find(script.answer(0.6, view()), Finish) == Finish(127, "no such file")


def test_start_that_came_too_late_releases_and_stays() -> None:
    """S2: the guardian looked last, and refused."""
    script = holder()
    commands = script.take_in(ProgramRefused(0.5, 1, "trust is over", 0))
    released = asked(commands)
    assert isinstance(released, Release)
    assert released.reason == "the program was not started"


def test_a_token_that_is_given_back_late_tells_since_when_nothing_ran() -> None:
    """An outage may lie between the program's end and the first heartbeat that is answered."""
    script = holder()
    script.take_in(ResignAsked(0.4, "told to"))
    script.take_in(ProgramEnded(0.5, 1, 0, "stopped"))
    script.fail(1.5)

    released = asked(script.tick(wake_at(script.node, 1.5)))
    while not isinstance(released, Release):
        released = asked(script.answer(2.5, script.own()))
    assert released.ended_s == pytest.approx(2.0)
    assert released.reason == "told to"


def test_a_node_that_leaves_late_tells_since_when_nothing_ran() -> None:
    script = holder()
    script.take_in(StopAsked(0.4, "SIGTERM"))
    script.take_in(ProgramEnded(0.5, 1, 0, "stopped"))
    script.fail(1.0)

    left = asked(script.tick(2.0))

    assert isinstance(left, Leave)
    assert (left.ended_term, left.ended_s) == (1, pytest.approx(1.5))


def test_a_program_that_cannot_be_started_now_is_not_tried_again_at_once() -> None:
    """G8: a machine without a process to spare takes no term after the other."""
    script = holder()
    script.take_in(ProgramRefused(0.5, 1, "its process cannot be made", 0))
    released = view(replace(held("x", term=1), session=None))
    assert asked(script.answer(0.6, released)) is None, "others first"


def test_a_task_that_is_given_back_late_reports_since_when_nothing_ran():
    """Its end may have waited for an agent that stood still."""
    script = started(task())
    script.database.change(standing=Standing.REHAB)
    script.go(4.0)

    script.happens(
        lambda _: ProgramEnded(script.now, run_of(script), -15, "stopped", at=script.now - 1.5)
    )
    script.go(4.3)

    releases = [request for request in script.database.asked if isinstance(request, ReleaseTasks)]
    assert [1.5 <= given.ended_s < 2.0 for one in releases for given in one.given] == [True]
