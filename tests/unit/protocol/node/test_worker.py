"""The worker of a node: started under a session, extended with it, dead before it is over (Q2)."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.requests import Join, Leave
from coordinator.protocol.node.events import (
    ExtendTrust,
    Finish,
    KillProgram,
    LogLine,
    Notified,
    ProgramEnded,
    ProgramRefused,
    StartProgram,
    StopAsked,
    StopProgram,
)
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.worker import WORKER
from tests.simulation.plans.script import Script, asked
from tests.unit.protocol.node.machines import find, other, policy, standby

OPERATES = policy(operates=True)


def working(*, open_work: bool = False) -> tuple[Script, StartProgram]:
    """Return a standby whose worker was just started."""
    script = Script(OPERATES)
    script.tick(0.0)
    commands = script.answer(0.01, other(operations=open_work))
    return script, find(commands, StartProgram)


def starts(commands) -> list[StartProgram]:
    return [each for each in commands if isinstance(each, StartProgram)]


def test_a_worker_is_started_once_in_each_session_to_tell_what_the_node_offers():
    script, start = working()

    assert (start.side, start.trusted_until) == (WORKER, script.node.trusted_until)
    script.take_in(ProgramEnded(1.0, start.run, 0, "itself"))
    script.tick(1.1)
    assert starts(script.answer(1.2, other(8))) == []


def test_a_node_that_offers_nothing_has_no_worker():
    script = standby(other(operations=True))

    assert script.node.worker.run is None


def test_open_work_starts_a_worker_again_after_a_notification():
    script, start = working()
    script.take_in(ProgramEnded(0.5, start.run, 0, "itself"))

    script.take_in(Notified(0.6))
    commands = script.answer(0.7, other(8, operations=True))

    (again,) = starts(commands)
    assert again.run > start.run


def test_without_a_notification_it_is_looked_at_again_later():
    script, start = working(open_work=True)
    assert starts(script.take_in(ProgramEnded(0.5, start.run, 0, "itself"))) == []
    assert script.node.worker.next_at == 20.5


def test_a_heartbeat_moves_the_worker_s_deadline_with_the_session():
    script, start = working()
    script.tick(1.0)

    commands = script.answer(1.1, other(8))

    assert ExtendTrust(start.run, script.node.trusted_until) in commands


def test_the_end_of_trust_kills_the_worker_and_no_session_is_joined_before_it_is_dead():
    """Q2, Q3: only then is the session over for others."""
    script, start = working()
    script.fail(1.1) if script.node.pending else None
    now = script.node.trusted_until

    commands = script.tick(now)

    assert KillProgram(start.run, "trust ended") in commands
    assert script.node.session is None
    while now < 30.0 and wake_at(script.node, now) < 30.0:
        now = max(now, wake_at(script.node, now))
        assert not isinstance(asked(script.tick(now)), Join)
    (later,) = [asked(script.take_in(ProgramEnded(31.0, start.run, -9, "trust")))]
    assert isinstance(later, Join)


def test_a_leaving_node_waits_for_its_worker_before_it_leaves():
    """L1 holds for the worker, too: claims are given back by a session that is over."""
    script, start = working()

    commands = script.take_in(StopAsked(0.2, "SIGTERM"))

    assert StopProgram(start.run, "SIGTERM") in commands
    assert not any(isinstance(each, Finish) for each in commands)
    assert not isinstance(script.node.pending, Leave)
    commands = script.take_in(ProgramEnded(0.3, start.run, 0, "itself"))
    assert isinstance(asked(commands), Leave)


def test_a_worker_that_fails_is_started_again_after_a_pause_that_grows():
    script, start = working(open_work=True)
    pauses = []
    now = 0.1
    for _ in range(3):
        commands = script.take_in(ProgramEnded(now, start.run, 1, "itself"))
        pauses.append(find(commands, LogLine).fields[1][1])
        script.fast_forward(trusted_until=now + 100.0)
        script.take_in(Notified(now + 0.01))
        assert script.node.worker.next_at == now + pauses[-1]  # a push does not shorten it
        if script.node.pending is not None:
            script.answer(now + 0.02, other(9, operations=True))
        now += pauses[-1]
        script.fast_forward(trusted_until=now + 4.7)
        found = starts(script.tick(now))
        start = found[0]
    assert pauses == [1.0, 2.0, 4.0]


def test_a_worker_that_was_refused_a_place_is_no_failure():
    script, start = working()

    assert script.take_in(ProgramRefused(0.2, start.run, "trust is over", 0)) == ()
    assert (script.node.worker.run, script.node.worker.failures) == (None, 0)


def test_nothing_starts_on_an_identity_that_is_not_settled():
    """E2, S1"""
    script = Script(OPERATES)
    script.tick(0.0)

    assert starts(script.answer(0.01, replace(other(operations=True), settled=False))) == []
