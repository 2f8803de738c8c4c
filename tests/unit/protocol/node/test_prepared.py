"""The program of a standby: prepared behind a gate, opened under a term, started anew after it."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.requests import Answer, Candidate, ReadRoster, Take, TellReady
from coordinator.protocol.node.events import (
    Answered,
    Command,
    KillProgram,
    LogLine,
    OpenGate,
    PrepareProgram,
    ProgramEnded,
    ProgramRefused,
    ProgramWaits,
    StartProgram,
    StopAsked,
    StopProgram,
)
from coordinator.protocol.node.gate import prepared
from coordinator.protocol.node.next_request import take_at
from coordinator.protocol.node.state.node import Policy
from coordinator.protocol.rules.restarts import BACKOFF_FIRST_S
from tests.simulation.plans.script import TIMING, Script, asked, held, seen, view

POLICY = Policy(node="n0", group="G", seed="script", prepares=True)
HELD = view(held("other-session", term=4), seen("other-session", 7))


def of_kind(commands: tuple[Command, ...], kind: type) -> list:
    return [command for command in commands if isinstance(command, kind)]


def standby() -> tuple[Script, int]:
    """Return a standby with a prepared program, and the number of its run."""
    script = Script(POLICY)
    (prepare,) = of_kind(script.tick(0.0), PrepareProgram)
    script.answer(0.1, HELD)
    return script, prepare.run


def test_a_program_is_prepared_before_there_is_a_session_and_only_once():
    """Y5"""
    script = Script(POLICY)

    assert len(of_kind(script.tick(0.0), PrepareProgram)) == 1
    assert of_kind(script.tick(0.5), PrepareProgram) == []
    assert of_kind(Script().tick(0.0), PrepareProgram) == []


def test_becoming_active_opens_the_gate_of_the_prepared_run_under_the_term():
    """Y6: also while the program is still loading."""
    script = Script(POLICY)
    commands = script.hold(0.0, term=3)

    (opened,) = of_kind(commands, OpenGate)
    assert (opened.run, opened.term) == (1, 3)
    assert opened.trusted_until == script.node.trusted_until
    assert of_kind(commands, StartProgram) == []
    assert script.node.run is not None
    assert script.node.run.number == 1
    assert script.node.preparation.run is None


def test_after_a_loss_the_run_is_killed_and_another_one_prepared():
    """Y7"""
    script = Script(POLICY)
    script.hold(0.0)
    lost = script.tick(5.0)
    assert [command.run for command in of_kind(lost, KillProgram)] == [1]
    assert of_kind(lost, PrepareProgram) == []

    again = script.take_in(ProgramEnded(5.2, 1, -9, "killed"))

    assert [command.run for command in of_kind(again, PrepareProgram)] == [2]


def test_a_session_that_is_over_leaves_what_waits_alone():
    """Y5: it has done nothing that needs trust."""
    script, run = standby()
    script.take_in(ProgramWaits(0.2, run, True))

    commands = script.tick(0.1 + TIMING.lease_s)

    assert script.node.session is None
    assert of_kind(commands, KillProgram) == []
    assert script.node.preparation.ready


def test_a_program_that_dies_before_the_gate_is_started_again_later_each_time():
    """Y5"""
    script, run = standby()
    waits = []
    for moment in (1.0, 2.0, 3.0):
        commands = script.take_in(ProgramEnded(moment, run, 1, "itself"))
        assert of_kind(commands, PrepareProgram) == []
        (line,) = of_kind(commands, LogLine)
        waits.append(dict(line.fields)["wait_s"])
        (prepare,) = of_kind(script.tick(moment + waits[-1]), PrepareProgram)
        run = prepare.run

    assert waits == [BACKOFF_FIRST_S * factor for factor in (1, 2, 4)]
    assert script.node.leaving is None


def test_without_a_prepared_program_an_active_node_starts_it_without_a_gate():
    """Y6: nobody waits for the back-off of what died at its gate."""
    script = Script(POLICY)
    script.tick(0.0)
    script.take_in(ProgramEnded(0.0, 1, 1, "itself"))
    script.answer(0.01, view())
    assert isinstance(script.pending, Take)

    commands = script.answer(0.02, script.own(), term=1)

    assert len(of_kind(commands, StartProgram)) == 1
    assert of_kind(commands, OpenGate) == []


def test_a_program_that_cannot_be_executed_ends_the_node_as_ever():
    script, run = standby()

    script.take_in(ProgramRefused(1.0, run, "p: not found", 127))

    assert script.node.leaving is not None
    assert script.node.leaving.code == 127


def test_a_node_that_leaves_stops_what_waits():
    script, run = standby()

    commands = script.take_in(StopAsked(1.0, "SIGTERM"))

    assert [command.run for command in of_kind(commands, StopProgram)] == [run]
    assert of_kind(script.take_in(ProgramEnded(1.1, run, -15, "stopped")), PrepareProgram) == []


def test_readiness_is_told_once_for_each_change_and_anew_in_each_session():
    """Y8"""
    script, run = standby()
    assert script.pending == TellReady(session=script.session, ready=False)
    script.answer(0.2, HELD)

    assert asked(script.take_in(ProgramWaits(0.3, run, True))) == TellReady(
        session=script.session, ready=True
    )
    script.answer(0.4, HELD)
    assert prepared.tell_ready(script.node, script.session) is None
    assert prepared.tell_ready(script.node, "another") is not None
    assert asked(script.take_in(ProgramWaits(0.5, run, False))) == TellReady(
        session=script.session, ready=False
    )


def test_a_standby_that_is_not_ready_lets_one_that_is_go_first():
    """Y8: by a heartbeat, for standbys notice a silence up to a heartbeat apart."""
    script, _ = standby()
    script.answer(0.2, HELD)
    alone = take_at(script.node)
    script.fast_forward(pending=ReadRoster())
    rivals = (Candidate(node="n0", priority=1), Candidate(node="n1", priority=1, ready=True))
    answer = Answer(done=True, view=HELD, roster=rivals)
    script.take_in(Answered(0.3, script.pending, answer, 0.25))

    deferring = take_at(script.node)
    assert alone is not None
    assert deferring is not None
    assert deferring - alone >= TIMING.heartbeat_s
    ready = replace(
        script.node,
        preparation=replace(
            script.node.preparation, run=replace(script.node.preparation.run, ready=True)
        ),
    )
    assert take_at(ready) == alone + script.node.place * 0.010
