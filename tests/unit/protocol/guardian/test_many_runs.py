"""The rules of coordinator/protocol/guardian/machine.py where several runs meet, one fact each."""

from __future__ import annotations

import signal

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.state import RUNS_MAX, Run
from tests.support.fakes.told_guard import HANDLE, Told, said


def test_second_start_of_a_run_is_refused_while_it_lives():
    told = Told().run()

    assert said(told.at(1.0, words.StartOrdered(1, 1, 10.0, 2.0))) == ["refused"]


def test_number_of_every_run_is_no_number_of_a_run():
    told = Told()

    assert said(told.at(1.0, words.StartOrdered(words.EVERY_RUN, 1, 10.0, 2.0))) == ["refused"]


def test_one_program_more_than_the_most_is_refused():
    runs = tuple(Run(number, 10.0, 2.0) for number in range(1, RUNS_MAX + 1))
    told = Told()
    told.guard = told.guard._replace(runs=runs)

    assert said(told.at(1.0, words.StartOrdered(RUNS_MAX + 1, 1, 10.0, 2.0))) == ["refused"]


def test_each_run_keeps_its_own_deadline():
    """Rule G1."""
    told = Told().run(number=1, until=10.0).run(number=2, until=20.0)

    first = told.at(8.0, words.Ticked())
    told.at(9.5, words.Pinged(1))
    second = told.at(10.0, words.Ticked())

    assert words.SignalProgram(1, signal.SIGTERM) in first
    assert words.KillProgram(1) in second
    assert told.guard.run(2).phase == "running"  # type: ignore[union-attr]


def test_one_extension_moves_every_run_that_trust_has_not_ended():
    """Rule G2: what was ordered to end is still trusted; what a dead agent left is not."""
    told = Told().run(number=1).run(number=2)
    told.at(0.5, words.AgentLost())
    told.run(now=0.6, number=3).run(now=0.6, number=4)
    told.at(1.0, words.StopOrdered(4, 5.0))

    boards = told.at(1.5, words.ExtendOrdered(words.EVERY_RUN, 15.0))

    assert boards == [words.WriteBoard(n, 15.0, 1.5) for n in (3, 4)]
    assert told.guard.run(1).trusted_until == 10.0  # type: ignore[union-attr]


def test_an_ordinary_stop_may_last_longer_than_the_lease_while_trust_is_extended():
    """Rules G1 and G2."""
    told = Told().run(until=10.0, stop_timeout_s=60.0, last_stop_s=2.0)
    told.at(0.5, words.StopOrdered(1, 60.0))

    told.at(9.0, words.ExtendOrdered(1, 19.0))
    told.at(18.0, words.ExtendOrdered(1, 90.0))
    before = told.at(60.4, words.Ticked())
    over = told.at(60.5, words.Ticked())
    gone = told.at(60.6, words.ProgramGone(1))

    assert before == []
    assert words.KillProgram(1) in over
    (ended,) = [c.message for c in gone if isinstance(c, words.TellAgent)]
    assert (ended["why"], ended["forced"]) == ("stopped", True)


def test_an_ordinary_stop_ends_with_trust():
    """Rules G1 and G2."""
    told = Told().run(until=10.0, stop_timeout_s=60.0, last_stop_s=2.0)
    told.at(0.5, words.StopOrdered(1, 60.0))

    assert told.at(9.9, words.Ticked()) == []
    assert words.KillProgram(1) in told.at(10.0, words.Ticked())
    gone = told.at(10.1, words.ProgramGone(1))
    (ended,) = [c.message for c in gone if isinstance(c, words.TellAgent)]
    assert "forced" not in ended


def test_stop_of_every_run_is_no_order():
    told = Told().run(number=1).run(number=2)

    assert told.at(1.0, words.StopOrdered(words.EVERY_RUN, 1.0)) == []


def test_an_order_to_kill_every_run_kills_what_a_dead_agent_left_too():
    """Rules T6 and G2: who orders it dies next, and nothing gets a SIGTERM and time for that."""
    told = Told().run(number=1)
    told.at(1.0, words.AgentLost())
    told.run(now=1.1, number=2)

    ordered = told.at(1.2, words.KillOrdered(words.EVERY_RUN))
    after = told.at(1.2, words.AgentLost())

    assert [c.run for c in ordered if isinstance(c, words.KillProgram)] == [1, 2]
    assert not [c for c in after if isinstance(c, words.SignalProgram)]


def test_end_of_all_inherited_runs_is_said_once_with_the_last():
    """Rules G4 and G5."""
    told = Told().run(number=1).run(number=2)
    told.at(1.0, words.AgentLost())
    told.run(now=1.1, number=3)

    first = told.at(1.2, words.ProgramEnded(1, -15, left=False))
    own = told.at(1.3, words.ProgramEnded(3, 0, left=False))
    last = told.at(1.4, words.ProgramGone(2))

    assert said(first) == []
    assert [c.message["run"] for c in own if isinstance(c, words.TellAgent)] == [3]
    ended = {"say": "ended", "run": words.EVERY_RUN, "status": -9, "why": "agent", "at": 1.4}
    assert words.TellAgent(ended) in last


def test_two_deaths_of_agents_are_one_inheritance():
    """Rule G5."""
    told = Told().run(number=1)
    told.at(1.0, words.AgentLost())
    told.run(now=1.1, number=2)
    told.at(1.2, words.AgentLost())

    assert said(told.at(1.3, words.ProgramGone(1))) == []
    assert said(told.at(1.4, words.ProgramGone(2))) == ["ended"]


def test_task_of_another_term_does_not_change_what_a_successor_is_told():
    told = Told().run(number=1)
    told.at(0.5, words.SessionTold("s", 3))
    told.at(0.6, words.StartOrdered(2, 70, 10.0, 2.0, task="reports"))

    orders = told.at(1.0, words.AgentLost())

    promoted = next(order for order in orders if isinstance(order, words.PromoteSpare))
    assert promoted.message["term"] == 3


def test_spare_hears_of_one_run_at_a_time():
    told = Told().run(number=1)
    told.at(0.5, words.StartOrdered(2, 1, 10.0, 2.0))

    begun = told.at(0.6, words.ProgramReady(2, 43, HANDLE))
    over = told.at(0.7, words.ProgramGone(2))

    assert words.TellSpare({"say": "running", "run": 2, "handle": HANDLE}) in begun
    assert words.TellSpare({"say": "idle", "run": 2}) in over


def test_fresh_spare_and_one_that_missed_something_hear_of_all_runs():
    told = Told().run(number=1).run(number=2)
    runs = ((1, HANDLE), (2, HANDLE))
    everything = wire.to_spare(wire.RunsTold(runs, None, 1))

    assert told.at(1.0, words.SpareMissed()) == [everything]
    told.at(1.0, words.SpareLost())
    assert told.at(5.0, words.Ticked()) == [words.StartSpare(), everything]
