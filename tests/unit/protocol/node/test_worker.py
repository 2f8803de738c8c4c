"""The worker of a node: started under a session, extended with it, dead in time (Q2, J1, J3)."""

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
    ProgramProgressed,
    ProgramRefused,
    StartProgram,
    StopAsked,
    StopProgram,
)
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.worker import WORKER
from coordinator.protocol.node.worker import moments
from coordinator.protocol.operations.hung import SECOND_LOOK_S, SIGNS_S
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


def trusted(script: Script, now: float) -> Script:
    """Have the node trusted far beyond `now`: what is told here does not hang on the lease."""
    script.fast_forward(trusted_until=now + 100.0)
    return script


def kills(commands) -> list[KillProgram]:
    return [each for each in commands if isinstance(each, KillProgram)]


def test_a_worker_without_a_sign_of_life_is_killed_after_its_time_and_no_sooner():
    """J1"""
    script, start = working(open_work=True)
    ordered = script.node.worker.run.signs.at
    trusted(script, ordered + SIGNS_S)

    assert kills(script.tick(ordered + SIGNS_S - 0.01)) == []
    assert kills(script.tick(ordered + SIGNS_S)) == []  # a second look follows
    commands = script.tick(ordered + SIGNS_S + SECOND_LOOK_S)

    assert kills(commands) == [KillProgram(start.run, f"no sign of life for {SIGNS_S:g} s")]
    assert kills(script.tick(ordered + SIGNS_S + 9.0)) == []


def test_the_node_wakes_for_the_watch_of_its_worker():
    """J1"""
    script, _ = working(open_work=True)
    due = script.node.worker.run.signs.at + SIGNS_S

    assert due in set(moments(script.node))


def test_a_sign_that_lay_unread_while_the_node_stood_still_counts():
    """J1"""
    script, start = working(open_work=True)
    late = script.node.worker.run.signs.at + SIGNS_S + 9.0
    trusted(script, late)
    script.tick(late)

    script.take_in(ProgramProgressed(late + 0.1, start.run))

    assert kills(script.tick(late + 1.0)) == []
    assert script.node.worker.run.signs.moment == late + 0.1 + SIGNS_S


def test_a_sign_of_an_earlier_worker_proves_nothing():
    script, start = working(open_work=True)
    before = script.node.worker.run.signs

    script.take_in(ProgramProgressed(1.0, start.run - 1))

    assert script.node.worker.run.signs == before


def test_a_hung_worker_is_replaced_only_when_nothing_of_it_is_left():
    """J3"""
    script, start = working(open_work=True)
    now = script.node.worker.run.signs.at + SIGNS_S + SECOND_LOOK_S
    trusted(script, now)
    script.tick(now - SECOND_LOOK_S)
    script.tick(now)
    assert starts(script.tick(now + 5.0)) == []

    commands = script.take_in(ProgramEnded(now + 6.0, start.run, -9, "ordered"))

    line = find(commands, LogLine)
    assert dict(line.fields) == {"why": f"no sign of life for {SIGNS_S:g} s", "wait_s": 1.0}
    assert script.node.worker.run is None
    assert script.node.worker.next_at == now + 7.0


def test_a_worker_that_is_to_end_is_not_watched():
    """The guardian's own limit ends it."""
    script, _ = working()
    script.take_in(StopAsked(0.2, "SIGTERM"))
    trusted(script, 99.0)

    assert kills(script.tick(0.2 + 2 * SIGNS_S)) == []
