"""Hooks of a node: failures, time limits, and the node's own end (rules M9 to M11)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.messages.requests import Leave, Release
from coordinator.protocol.node.events import (
    Finish,
    KillProgram,
    LogLine,
    ProgramEnded,
    ProgramRefused,
    ResignAsked,
    StartProgram,
    StopAsked,
)
from coordinator.protocol.node.state.node import Policy, succeeding
from coordinator.protocol.node.state.run import INHERITED
from coordinator.protocol.node.state.side_runs import HookPolicy
from tests.simulation.plans.hook_transcripts import script_of, side
from tests.simulation.plans.script import Script, asked, held, kinds, seen, view
from tests.unit.protocol.node.machines import find


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (lambda run: ProgramEnded(0.5, run, 3, "itself"), "exit code 3"),
        (lambda run: ProgramEnded(5.1, run, -9, "trust", at=5.1), "no end within 5 s"),
        (lambda run: ProgramRefused(0.5, run, "x", 127), "not started, exit code 127"),
    ],
)
def test_a_preparation_that_fails_gives_the_token_up_with_the_reason(event, why):
    """M9"""
    script = script_of(before_start_s=5.0)
    (hook,) = script.node.side_runs
    for now in (1.0, 2.0, 3.0, 4.0, 5.0):
        script.tick(now)
        script.answer(now, script.own())
    happened = event(hook.number)

    commands = script.take_in(happened)

    released = asked(commands)
    assert isinstance(released, Release)
    assert released.reason == f"the hook beforeStart failed ({why})"
    assert LogLine("hook-failed", (("hook", "beforeStart"), ("why", why))) in commands
    assert script.node.cool_until == happened.now + 6.0


def test_a_preparation_that_was_not_let_finish_is_made_again():
    """M9: no process, or trust that ran short: its node may try again."""
    script = script_of(before_start_s=5.0)
    (hook,) = script.node.side_runs

    again = script.take_in(ProgramRefused(0.5, hook.number, "no process", 0))

    assert side(again, "beforeStart").run == hook.number + 1


def test_a_node_that_leaves_or_resigns_ends_its_preparation():
    for event in (StopAsked(0.5, "SIGTERM"), ResignAsked(0.5, "SIGUSR1")):
        script = script_of(before_start_s=5.0)
        (hook,) = script.node.side_runs

        killed = find(script.take_in(event), KillProgram)

        assert killed == KillProgram(hook.number, event.reason)
        assert KillProgram not in kinds(script.tick(0.6))
        ended = script.take_in(ProgramEnded(0.7, hook.number, -9, "killed"))
        assert StartProgram not in kinds(ended)
        assert isinstance(asked(ended), Leave | Release)


def test_a_node_leaves_after_it_has_cleared_up():
    """M10"""
    script = script_of(after_stop_s=5.0)
    script.take_in(StopAsked(0.5, "SIGTERM"))
    hook = side(script.take_in(ProgramEnded(0.6, 1, -15, "stopped")), "afterStop")
    script.tick(1.0)
    assert script.node.leaving is not None
    assert script.node.leaving.give_up_at is None, "it has not begun to wait for answers"
    if script.node.pending is not None:
        script.answer(1.0, script.own())

    leave = asked(script.take_in(ProgramEnded(3.0, hook.run, -9, "trust")))

    assert isinstance(leave, Leave)
    assert isinstance(find(script.answer(3.1, view()), Finish), Finish)


def test_a_dead_agents_program_is_cleared_up_after_by_its_successor():
    """M10, G5"""
    script = script_of(after_stop_s=5.0)
    script.node = succeeding(script.node, script.session, 1, 0.5, dying=True)

    ended = script.take_in(ProgramEnded(0.6, INHERITED, -9, "agent"))

    hook = side(ended, "afterStop")
    assert (hook.term, dict(hook.env)["COORD_REASON"]) == (1, "the agent died")


def test_without_hooks_nothing_but_the_program_runs():
    script = script_of()
    script.take_in(ResignAsked(0.5, "SIGUSR1"))

    ended = script.take_in(ProgramEnded(0.6, 1, -15, "stopped"))

    assert StartProgram not in kinds(ended)
    assert isinstance(asked(ended), Release)


@pytest.mark.parametrize(("session", "address"), [("s-a", "a.example"), ("s-later", "")])
def test_a_change_tells_the_address_of_the_session_that_holds(session, address):
    """M11: the row of a node that has joined again says nothing of the holding."""
    script = Script(Policy(node="n0", group="G", seed="s", hooks=HookPolicy(on_change_s=5.0)))
    script.tick(0.0)
    row = replace(seen(session), address="a.example")

    hook = side(script.answer(0.0, view(held("s-a", node="a", term=4), row)), "onChange")

    assert dict(hook.env)["COORD_HOLDER_ADDRESS"] == address


def test_a_change_to_nobody_has_no_address():
    """M11"""
    script = Script(Policy(node="n0", group="G", seed="s", hooks=HookPolicy(on_change_s=5.0)))
    script.tick(0.0)
    free = replace(held("s-a", node="a", term=4), session=None)
    row = replace(seen("s-a"), address="a.example")

    told = dict(side(script.answer(0.0, view(free, row)), "onChange").env)

    assert (told["COORD_HOLDER"], told["COORD_HOLDER_ADDRESS"]) == ("", "")
