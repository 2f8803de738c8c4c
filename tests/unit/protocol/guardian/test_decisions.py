"""The rules of coordinator/protocol/guardian/machine.py, one fact each."""

from __future__ import annotations

import math
import signal

import pytest

from coordinator.protocol.guardian import agents as guardian_agents
from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import machine as guardian_machine
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import Event
from coordinator.protocol.guardian.state import Guard
from tests.support.fakes.told_guard import HANDLE, Told, kinds, said


def test_term_is_sent_stop_timeout_before_the_end_of_trust():
    """Rule G1."""
    told = Told().run(until=10.0, stop_timeout_s=2.0)

    assert guardian_machine.due(told.guard) == 8.0
    assert told.at(7.999, words.Ticked()) == []
    assert told.at(8.0, words.Ticked()) == [
        words.TellAgent({"say": "stopping", "run": 1, "why": "trust"}),
        words.SignalProgram(1, signal.SIGTERM),
    ]


def test_everything_is_killed_when_trust_ends():
    """Rule G1."""
    told = Told().run(until=10.0, stop_timeout_s=2.0)
    told.at(8.0, words.Ticked())

    assert guardian_machine.due(told.guard) == 10.0
    assert words.KillProgram(1) in told.at(10.0, words.Ticked())


def test_extending_moves_both_moments():
    """Rule G2."""
    told = Told().run(until=10.0, stop_timeout_s=2.0)

    assert told.at(5.0, words.ExtendOrdered(1, 15.0)) == [words.WriteBoard(1, 15.0, 5.0)]
    assert guardian_machine.due(told.guard) == 13.0


def test_extension_that_waited_in_the_channel_counts_while_trust_lasts():
    told = Told().run(until=10.0, stop_timeout_s=2.0)

    assert words.SignalProgram(1, signal.SIGTERM) not in told.at(9.0, words.ExtendOrdered(1, 15.0))


def test_extension_after_the_end_of_trust_revives_nothing():
    told = Told().run(until=10.0, stop_timeout_s=2.0)

    assert words.KillProgram(1) in told.at(10.0, words.ExtendOrdered(1, 15.0))


def test_extension_of_a_stopping_program_changes_nothing():
    """Rule G2."""
    told = Told().run(until=10.0, stop_timeout_s=2.0)
    told.at(8.0, words.Ticked())

    assert told.at(8.1, words.ExtendOrdered(1, 15.0)) == []
    assert guardian_machine.due(told.guard) == 10.0


def test_extension_never_shortens_trust():
    told = Told().run(until=10.0, stop_timeout_s=2.0)
    told.at(1.0, words.ExtendOrdered(1, 9.0))

    assert guardian_machine.due(told.guard) == 8.0


@pytest.mark.parametrize("now", [8.0, 10.0, 11.0])
def test_nothing_is_launched_once_term_would_be_due(now: float):
    told = Told()

    orders = told.at(now, words.StartOrdered(1, 1, 10.0, 2.0))

    assert kinds(orders) == [words.TellAgent]
    assert said(orders) == ["refused"]


def test_nothing_is_let_go_when_forking_took_too_long():
    """Rule G3."""
    told = Told()
    told.at(0.0, words.StartOrdered(1, 1, 10.0, 2.0))

    orders = told.at(8.0, words.ProgramReady(1, 42, HANDLE))

    assert words.KillProgram(1) in orders
    assert words.LetGo not in kinds(orders)
    assert said(told.at(8.1, words.ProgramGone(1))) == ["refused"]


def test_spare_knows_what_to_kill_before_there_is_something_to_kill():
    told = Told()
    told.at(0.0, words.StartOrdered(1, 1, 10.0, 2.0))

    assert kinds(told.at(0.1, words.ProgramReady(1, 42, HANDLE))) == [
        words.TellSpare,
        words.WriteBoard,
        words.LetGo,
    ]


def test_ended_waits_for_the_last_process():
    """Rule G4."""
    told = Told().run(until=10.0, stop_timeout_s=2.0)

    assert told.at(1.0, words.ProgramEnded(1, 7, left=True)) == [
        words.SignalProgram(1, signal.SIGTERM)
    ]
    ended = {"say": "ended", "run": 1, "status": 7, "why": "itself", "at": 1.1}
    assert words.TellAgent(ended) in told.at(1.1, words.ProgramGone(1))


def test_an_agent_that_comes_later_hears_when_the_last_program_ended():
    """An end is dated when it was seen, not when somebody is there to hear of it."""
    told = Told().run()
    told.at(0.5, words.SessionTold("s", 3))
    told.at(1.0, words.ProgramEnded(1, 7, left=False))
    told.at(2.0, words.AgentLost())

    heard = told.at(4.0, words.PromotionFailed())

    ended = {"say": "ended", "run": words.EVERY_RUN, "status": 0, "why": "agent", "at": 1.0}
    assert words.TellAgent(ended) in heard


def test_an_end_under_an_earlier_term_dates_no_later_one():
    told = Told().run()
    told.at(1.0, words.ProgramEnded(1, 7, left=False))
    told.at(1.5, words.SessionTold("s", 4))
    told.at(2.0, words.AgentLost())

    heard = told.at(4.0, words.PromotionFailed())

    ended = {"say": "ended", "run": words.EVERY_RUN, "status": 0, "why": "agent", "at": 4.0}
    assert words.TellAgent(ended) in heard


def test_killing_goes_on_until_nothing_is_left():
    told = Told().run()
    told.at(1.0, words.KillOrdered(1))

    first = guardian_machine.due(told.guard)
    assert words.KillProgram(1) in told.at(first, words.Ticked())
    second = guardian_machine.due(told.guard)
    assert 1.0 < first < second < first + 0.1


def test_stop_never_lasts_longer_than_trust():
    told = Told().run(until=10.0, stop_timeout_s=2.0)

    told.at(7.0, words.StopOrdered(1, 60.0))

    assert guardian_machine.due(told.guard) == 10.0


def test_second_stop_may_only_shorten_the_first():
    told = Told().run(until=100.0)
    told.at(1.0, words.StopOrdered(1, 5.0))
    told.at(2.0, words.StopOrdered(1, 50.0))
    assert guardian_machine.due(told.guard) == 6.0

    told.at(3.0, words.StopOrdered(1, 1.0))
    assert guardian_machine.due(told.guard) == 4.0


def test_order_about_another_run_changes_nothing():
    told = Told().run()

    assert told.at(1.0, words.KillOrdered(2)) == []
    assert told.at(1.0, words.StopOrdered(0, 1.0)) == []


def test_dead_agent_stops_the_program_and_promotes_the_spare_at_once():
    """Rule G5."""
    told = Told().run()
    told.at(0.5, words.SessionTold("s", 3))

    orders = told.at(1.0, words.AgentLost())

    assert orders[0] == words.SignalProgram(1, signal.SIGTERM)
    become = wire.build(wire.BecomeOrdered("s", 3, dying=True))
    assert words.PromoteSpare(become) in orders
    everything = wire.build(wire.RunsTold(((1, HANDLE),), "s", 3))
    assert orders[-2] == words.TellSpare(everything)
    assert orders[-1] == words.Report("agent died: the spare takes over")  # rule G10


def test_without_a_spare_a_fresh_agent_is_started():
    told = Told()
    told.at(0.5, words.SessionTold("s", 3))
    told.at(1.0, words.SpareLost())

    assert words.StartAgent("s", 3) in told.at(1.0, words.AgentLost())


def test_failed_promotion_starts_a_fresh_agent_and_is_no_second_death():
    told = Told()
    told.at(1.0, words.AgentLost())

    assert words.StartAgent(None, 0) in told.at(1.0, words.PromotionFailed())
    assert len(told.guard.deaths) == 1


def dying(deaths: int) -> Told:
    """A node with a program, whose agents have died so many times within seconds."""
    told = Told().run()
    told.at(0.2, words.SessionTold("s", 3))
    told.at(0.2, words.Greeted(3.0, 1.0))
    for death in range(deaths):
        told.at(1.0 + death / 10, words.AgentLost())
    return told


def test_sixth_agent_to_die_within_a_minute_leaves_the_last_spare_to_give_the_token_back():
    """Rule G8."""
    told = dying(5)

    become = wire.build(wire.BecomeOrdered("s", 3, dying=True))
    assert words.PromoteSpare(become) in told.at(1.9, words.AgentLost())
    leave = {"say": "leave", "why": "the agents of this node keep dying", "code": 1}
    assert told.at(2.0, words.Greeted(3.0, 1.0)) == [words.TellAgent(leave)]
    told.at(2.1, words.ProgramEnded(1, 0, left=False))
    told.at(2.1, words.ProgramGone(1))
    told.at(2.2, words.ExitOrdered(1))
    assert words.TellSpare({"say": "quit"}) in told.at(2.3, words.AgentLost())
    assert told.at(2.4, words.SpareLost())[-1] == words.Quit(1)


def test_seventh_agent_to_die_gets_no_successor():
    """Rule G8."""
    told = dying(6)

    orders = told.at(2.0, words.AgentLost())

    assert not {words.PromoteSpare, words.StartAgent} & set(kinds(orders))
    assert words.TellSpare({"say": "quit"}) in told.at(2.1, words.ProgramEnded(1, 0, left=False))
    assert told.at(2.4, words.SpareLost())[-1] == words.Quit(1)


def test_last_spare_that_does_not_leave_is_killed_when_the_lease_is_over():
    """Rule G8."""
    told = dying(6)
    told.at(2.1, words.ProgramEnded(1, 0, left=False))
    told.at(2.1, words.ProgramGone(1))
    told.at(4.4, words.Pinged(1))

    assert words.KillAgent() in told.at(4.6, words.Pinged(2))


def test_without_a_spare_nobody_is_left_to_give_anything_back():
    told = Told()
    for second in range(5):
        told.at(float(second), words.AgentLost())
    told.at(5.0, words.SpareLost())

    assert words.Quit(1) in told.at(5.0, words.AgentLost())


def test_missed_promotion_of_the_last_spare_starts_nobody():
    """Rule G8."""
    told = dying(6)
    told.at(2.0, words.ProgramEnded(1, 0, left=False))
    told.at(2.0, words.ProgramGone(1))

    assert told.at(2.0, words.PromotionFailed())[-1] == words.Quit(1)


def test_six_deaths_in_more_than_a_minute_end_nothing():
    told = Told()
    for second in (0.0, 1.0, 2.0, 3.0, 4.0, 60.5):
        told.at(second, words.AgentLost())

    assert told.guard.leaving is None


def test_dead_spare_is_replaced_but_not_more_often_than_every_five_seconds():
    told = Told()
    assert words.StartSpare() not in told.at(1.0, words.SpareLost())
    assert guardian_machine.due(told.guard) == 5.0

    assert words.StartSpare() in told.at(5.0, words.Ticked())


def test_silent_agent_is_killed():
    """Rule G5."""
    told = Told()
    told.at(0.0, words.Greeted(3.0, 1.0))
    told.at(2.0, words.Pinged(1))
    assert guardian_machine.due(told.guard) == 5.0

    assert words.KillAgent() in told.at(5.0, words.Ticked())


def test_agent_is_killed_when_it_was_silent_while_trust_ran_out():
    told = Told().run(until=10.0)
    told.at(8.9, words.Pinged(1))
    told.at(8.95, words.Ticked())

    assert words.KillAgent() in told.at(10.0, words.Ticked())


def test_agent_that_spoke_is_not_killed_when_trust_runs_out():
    told = Told().run(until=10.0)
    told.at(8.0, words.Ticked())
    told.at(9.5, words.Pinged(1))

    assert words.KillAgent() not in told.at(10.0, words.Ticked())


def test_silence_proves_nothing_when_the_guardian_was_held_up():
    """Rule G6."""
    told = Told().run(until=10.0)
    told.at(0.0, words.Greeted(3.0, 2.0))

    orders = told.at(1000.0, words.Ticked())

    assert words.KillProgram(1) in orders
    assert words.KillAgent() not in orders
    told.at(1000.001, words.ProgramGone(1))
    assert words.KillAgent() in told.at(1003.0, words.Ticked())


def test_exit_waits_for_agent_program_and_spare():
    told = Told().run()
    assert words.Quit not in kinds(told.at(1.0, words.ExitOrdered(5)))
    assert words.SignalProgram(1, signal.SIGTERM) in told.at(1.1, words.AgentLost())
    assert words.TellSpare({"say": "quit"}) in told.at(1.2, words.ProgramGone(1))

    assert told.at(1.3, words.SpareLost()) == [words.Quit(5)]
    assert guardian_machine.due(told.guard) == math.inf


def test_agent_that_does_not_exit_and_spare_that_does_not_quit_are_killed():
    told = Told()
    told.at(1.0, words.ExitOrdered(5))

    assert words.KillAgent() in told.at(guardian_machine.due(told.guard), words.Ticked())
    assert kinds(told.at(guardian_machine.due(told.guard), words.Ticked())) == [
        words.KillSpare,
        words.Quit,
    ]


def test_second_interrupt_kills_program_and_after_a_second_the_agent():
    told = Told().run()
    assert said(told.at(1.0, words.SignalArrived(signal.SIGINT))) == ["signal"]

    assert words.KillProgram(1) in told.at(2.0, words.SignalArrived(signal.SIGINT))
    told.at(2.1, words.ProgramGone(1))
    assert words.KillAgent() in told.at(3.0, words.Ticked())
    assert told.at(3.1, words.SpareLost()) == [words.Quit(130)]


def test_second_term_is_only_told():
    told = Told().run()
    told.at(1.0, words.SignalArrived(signal.SIGTERM))

    orders = told.at(2.0, words.SignalArrived(signal.SIGTERM))

    assert orders == [words.TellAgent({"say": "signal", "signum": 15, "nth": 2})]


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT])
def test_a_signal_of_the_node_reaches_no_program_that_does_not_ask_for_it(signum: signal.Signals):
    told = Told().run(forward=tuple({signal.SIGHUP, signal.SIGUSR1} - {signum}))

    orders = told.at(1.0, words.SignalArrived(signum))

    assert not [order for order in orders if isinstance(order, words.SignalProgram)]
    assert said(orders) == ["signal"] or orders == [words.SignalAgent(signal.SIGQUIT)]


def test_a_hangup_that_a_program_asks_for_is_for_both():
    told = Told().run(number=1).run(number=2, forward=(signal.SIGHUP,))

    orders = told.at(1.0, words.SignalArrived(signal.SIGHUP))

    assert said(orders) == ["signal"]
    assert words.SignalProgram(2, signal.SIGHUP) in orders
    assert words.SignalProgram(1, signal.SIGHUP) not in orders


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT])
def test_another_signal_that_a_program_asks_for_is_its_own(signum: signal.Signals):
    told = Told().run(forward=(signum,))

    assert told.at(1.0, words.SignalArrived(signum)) == [words.SignalProgram(1, signum)]


def test_new_agent_is_told_of_a_signal_that_the_old_one_took_with_it():
    told = Told()
    told.at(1.0, words.SignalArrived(signal.SIGTERM))
    told.at(1.1, words.AgentLost())

    assert said(told.at(1.2, words.Greeted(3.0, 1.0))) == ["signal"]


def test_nothing_moves_after_the_end():
    told = Told()
    told.guard = Guard(quitted=True)

    assert told.at(1.0, words.AgentLost()) == []


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ({"say": "ping", "n": 3}, words.Pinged(3)),
        ({"say": "extend", "run": 1, "trusted_until": 2}, words.ExtendOrdered(1, 2.0)),
        ({"say": "stop", "run": 1, "grace_s": 2, "reason": "x"}, words.StopOrdered(1, 2.0)),
        ({"say": "kill", "run": 1}, words.KillOrdered(1)),
        ({"say": "exit", "code": 75}, words.ExitOrdered(75)),
        ({"say": "session", "session": None, "term": 0}, words.SessionTold(None, 0)),
        ({"say": "good morning"}, None),
        ({"say": "echo", "n": 3}, None),
    ],
)
def test_messages_are_understood(message: dict[str, object], event: Event | None):
    understood = wire.from_agent(message)

    assert understood == event
    assert type(understood) is type(event)


def test_a_kill_that_finds_new_processes_goes_on_at_once():
    """Rule G4: each pause would be the chance of a program that forks on to be ahead again."""
    told = Told().run(until=10.0)
    told.at(1.0, words.KillOrdered(1))
    for _ in range(6):
        told.at(guardian_machine.due(told.guard), words.Ticked())
    now = told.guard.runs[0].kill_again_at - 0.001
    assert told.at(now, words.Ticked()) == [], "the pauses have grown"

    assert told.at(now, words.ProgramGrows(1)) == [words.KillProgram(1)]

    assert told.guard.runs[0].kill_again_at - now < 0.01, "and begin anew"


def test_a_kill_that_took_longer_than_the_bound_is_told():
    told = Told().run(until=10.0)
    told.at(1.0, words.KillOrdered(1))

    (late,) = [o for o in told.at(1.5, words.ProgramGone(1)) if isinstance(o, words.Report)]

    assert "took 0.5 s" in late.text


def test_an_agent_that_cannot_be_made_is_tried_again_later():
    """Rule G8."""
    told = Told().run(until=100.0)
    told.at(1.0, words.SpareLost())
    assert words.StartAgent in kinds(told.at(1.0, words.AgentLost()))

    orders = told.at(1.0, words.AgentNotMade("no process"))

    assert words.StartAgent not in kinds(orders)
    assert told.guard.runs[0].phase == "stopping"
    assert words.StartAgent not in kinds(told.at(1.0, words.Ticked()))
    at = told.guard.agent_at
    assert guardian_machine.due(told.guard) <= at
    assert words.StartAgent in kinds(told.at(at, words.Ticked()))


def test_agents_that_can_never_be_made_end_the_node():
    """Rule G8: the same budget as for agents that die."""
    told = Told()
    for _ in range(guardian_agents.DEATHS_MAX + 1):
        assert told.guard.leaving is None
        told.at(told.guard.said_at, words.AgentNotMade("no process"))
        told.at(guardian_machine.due(told.guard), words.Ticked())

    assert words.Quit(guardian_agents.AGENT_LOOP) in told.orders
