"""Gates: closed they give no trust, they open once, and then all rules of a run hold."""

from __future__ import annotations

import math
import signal

import pytest

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import machine as guardian_machine
from coordinator.protocol.guardian.gate_words import GateMissed, GateWaits, OpenGate, OpenOrdered
from tests.support.fakes.told_guard import HANDLE, Told, kinds

GATED = words.StartOrdered(
    run=1, term=0, trusted_until=math.inf, stop_timeout_s=2.0, argv=("p",), gated=True
)
OPEN = OpenOrdered(1, 7, "s", 10.0)


def messages(commands: list[words.Command]) -> list[words.Message]:
    """Return what the agent is told."""
    return [command.message for command in commands if isinstance(command, words.TellAgent)]


def waiting(at: float = 1.0) -> Told:
    """Return a guardian whose program waits at its gate."""
    told = Told()
    told.at(0.0, words.Greeted(100.0, 2.0))
    told.at(0.0, GATED)
    told.at(0.1, words.ProgramReady(1, 9, HANDLE))
    told.at(0.2, words.ProgramStarted(1))
    told.at(at, GateWaits(1, True))
    return told


def test_a_program_behind_a_closed_gate_has_no_deadline_and_no_trust():
    """Y5: a heartbeat of another holding does not extend it, and writes nothing on its board."""
    told = Told()
    told.at(0.0, words.Greeted(100.0, 2.0))
    first = told.at(0.0, GATED)
    ready = told.at(0.1, words.ProgramReady(1, 9, HANDLE))

    assert kinds(first) == [words.LaunchProgram]
    assert words.LetGo(1, math.inf) in ready
    assert words.WriteBoard not in kinds(ready)
    assert told.at(0.2, words.ExtendOrdered(words.EVERY_RUN, 9.0)) == []
    told.at(0.3, words.Pinged(1))
    assert told.guard.runs[0].trusted_until == math.inf


def test_the_agent_hears_who_waits():
    """Y8"""
    told = waiting()

    assert messages(told.at(2.0, GateWaits(1, False))) == [
        {"say": "waiting", "run": 1, "waiting": False}
    ]


def test_opening_gives_the_deadline_before_the_program_may_act():
    """Y6"""
    told = waiting()

    assert told.at(2.0, OPEN) == [words.WriteBoard(1, 10.0, 2.0), OpenGate(1, 7, "s", 10.0)]
    assert guardian_machine.due(told.guard) == 8.0
    assert words.SignalProgram(1, signal.SIGTERM) in told.at(8.0, words.Ticked())
    assert words.KillProgram(1) in told.at(10.0, words.Ticked())


def test_a_gate_is_opened_once():
    """Y7: a second holding needs a second program."""
    told = waiting()
    told.at(2.0, OPEN)

    assert told.at(3.0, OpenOrdered(1, 8, "t", 15.0)) == []
    assert told.guard.runs[0].trusted_until == 10.0


@pytest.mark.parametrize("now", [8.0, 9.0, 11.0])
def test_a_gate_is_not_opened_once_sigterm_would_be_due(now: float):
    """Y6, G3, S2: the program is killed, and the agent hears a refusal."""
    told = waiting()

    commands = told.at(now, OPEN)

    assert OpenGate not in kinds(commands)
    assert words.KillProgram(1) in commands
    gone = messages(told.at(now + 0.1, words.ProgramGone(1)))
    assert [(each["say"], each["why"]) for each in gone if each["say"] == "refused"] == [
        ("refused", "trust is over")
    ]


def test_a_gate_that_could_not_be_opened_in_time_ends_its_program():
    """Y6: the last look at the clock is right before the line is written."""
    told = waiting()
    told.at(2.0, OPEN)

    assert words.KillProgram(1) in told.at(2.1, GateMissed(1))
    gone = messages(told.at(2.2, words.ProgramGone(1)))
    assert "refused" in [each["say"] for each in gone]


def test_a_gate_may_be_opened_before_its_program_is_let_go():
    """Y6: the exec is permitted with the deadline of the holding then."""
    told = Told()
    told.at(0.0, words.Greeted(100.0, 2.0))
    told.at(0.0, GATED)
    told.at(0.1, OPEN)

    assert words.LetGo(1, 10.0) in told.at(0.2, words.ProgramReady(1, 9, HANDLE))


def test_the_death_of_the_agent_kills_what_waits_at_once():
    """Y5, G5: there is nothing to finish, and the successor must not wait for it."""
    told = waiting()

    commands = told.at(2.0, words.AgentLost())

    assert words.KillProgram(1) in commands
    assert words.SignalProgram not in kinds(commands)


def test_a_stop_of_what_waits_is_a_stop_like_any():
    told = waiting()

    assert words.SignalProgram(1, signal.SIGTERM) in told.at(2.0, words.StopOrdered(1, 2.0))
    assert told.at(2.5, OPEN) == []
    assert words.KillProgram(1) in told.at(4.0, words.Ticked())


def test_an_end_before_the_gate_is_told_like_any():
    """Y5"""
    told = waiting()

    ended = messages(told.at(2.0, words.ProgramEnded(1, 3, False)))

    assert [(each["say"], each["status"]) for each in ended if each["say"] == "ended"] == [
        ("ended", 3)
    ]
