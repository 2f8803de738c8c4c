"""Runs that were found once, kept as they happened: each fails when its rule is broken.

Some rules are second belts: the simulation cannot break the promise by breaking them alone. They
are held by these transcripts, and the planted bugs of the same name fail here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from coordinator.protocol.messages.requests import (
    Beat,
    EndNamesake,
    Join,
    RaiseFloor,
    Release,
    Take,
    View,
)
from coordinator.protocol.node.events import ExtendTrust, Failed, KillProgram, StartProgram
from tests.simulation.plans.gate_transcripts import OF_GATES
from tests.simulation.plans.hook_transcripts import HOOKS
from tests.simulation.plans.hung_transcripts import HUNG
from tests.simulation.plans.one_off_transcripts import ONE_OFFS
from tests.simulation.plans.script import TIMING, Script, asked, held, identity, kinds, seen, view


def late_answer_revives_nothing() -> None:
    """T3: dead is dead.

    1. 0.0   n0 takes term 1 and starts the program; trust lasts until 4.73.
    2. 4.6   n0's renewal is sent, after failed ones.
    3. 4.73  trust is over. A standby may already be ending n0's session.
    4. 4.9   the renewal's answer says that it was done. It would carry trust on to 9.33.
    """
    script = Script()
    script.hold(0.0)
    assert script.node.run is not None
    script.tick(1.0)
    script.fail(2.0)
    script.fast_forward(beat_at=4.6, retry_at=4.6)
    old = script.session
    assert asked(script.tick(4.6)) == Beat(session=old)

    commands = script.answer(4.9, script.own())

    assert KillProgram in kinds(commands)
    assert ExtendTrust not in kinds(commands)
    assert script.node.session is None


def another_run_of_the_server_starts_the_wait_again() -> None:
    """O3: the same beat on another run of the server is not the same sight.

    1. 0.0   a standby joins and sees the holder's beat 7.
    2. 3.0   its read fails: the connection is gone.
    3. 3.1   over a new connection it sees beat 7 again, from a server that started since. It may
             have been restored to just this beat from a backup, for all the standby knows.
    4. 6.2   more than a whole interval after 1, less than one after 3: not yet.
    5. 9.2   a whole interval after 3: the holder is dead.
    """
    script = Script()
    shown = view(held("other-session", term=4), seen("other-session", 7, age_s=2.0))
    again = replace(shown, identity=identity(started_at=2))
    _look_until_a_connection_breaks(script, shown)
    script.tick(3.1)
    script.answer(3.1, again)
    script.tick(5.0)
    script.answer(5.0, again)

    assert not isinstance(asked(script.tick(6.2)), Take)
    script.answer(6.2, again)
    script.tick(8.0)
    script.answer(8.0, again)
    taken = asked(script.tick(9.2))
    assert isinstance(taken, Take)
    assert taken.seen_beat == 7


def a_lost_connection_does_not_start_the_wait_again() -> None:
    """O3: an idle limit below heartbeatFrequency must not hide a death for ever.

    As above, but the server that answers at 3.1 is the same run of the same one: it would show a
    newer beat. A whole interval after 1 the holder is dead.
    """
    script = Script()
    shown = view(held("other-session", term=4), seen("other-session", 7, age_s=2.0))
    _look_until_a_connection_breaks(script, shown)
    script.tick(3.1)
    script.answer(3.1, shown)
    script.tick(5.0)
    script.answer(5.0, shown)

    taken = asked(script.tick(6.0))

    assert isinstance(taken, Take)
    assert taken.seen_beat == 7


def _look_until_a_connection_breaks(script: Script, shown: View) -> None:
    script.join(0.0, shown)
    script.tick(1.0)
    script.answer(1.0, shown)
    script.tick(3.0)
    script.fail(3.0)


def nothing_starts_on_an_unsettled_identity() -> None:
    """E2: a node that the database calls the holder waits like everybody else.

    1. n0 holds term 1 on timeline 1; its program ends by itself and is to be started again.
    2. The primary dies. On timeline 2 the row still says n0, term 1; but what was lost may have
       released that term, and granted another one to a node that still runs.
    3. Whoever waited out that node's lease settles timeline 2. Only then n0 may start.
    """
    script = Script()
    script.join(0.0)
    mine = held(script.session, node="n0", term=1)
    unsettled = view(mine, seen(script.session, 3), settled=False, timeline=2, started_at=2)
    settled = view(mine, seen(script.session, 4), timeline=2, started_at=2)

    commands = script.answer(0.1, unsettled, term=1)
    assert StartProgram not in kinds(commands)
    assert StartProgram not in kinds(script.tick(0.5))

    script.tick(1.2)
    assert StartProgram in kinds(script.answer(1.2, settled))


def a_namesake_does_not_delay_the_floor() -> None:
    """N3: who remembers tells the database, also while it cannot join.

    1. n0 knows term 2000000003. Its session ends in an outage.
    2. The database is restored from a backup: the row says term 7, and n0's own row shows a
       session of long ago, which has to be waited out.
    3. Another node settles the restored timeline at the same moment as n0 may end its namesake,
       and takes the token. Its term must be above 2000000003, so n0 must have told by then.
    """
    script = Script()
    script.fast_forward(remembered=2_000_000_003)
    restored = view(held("b", term=7), seen("b", 1), settled=False, timeline=3)
    script.tick(0.0)
    assert isinstance(script.pending, Join)

    commands = script.answer(0.1, restored, done=False, namesake=seen("long-ago", 5))

    assert asked(commands) == RaiseFloor(term=2_000_000_003)
    raised = view(held("b", term=7, floor=2_000_000_003), seen("b", 1), settled=False, timeline=3)
    script.answer(0.2, raised)
    assert not script.node.pending
    now = 0.2
    while not script.node.pending and now < 0.1 + TIMING.liveness_s + 0.1:
        now += 0.1
        script.tick(now)
        if script.node.pending and not isinstance(script.pending, EndNamesake):
            script.answer(now, raised, done=False, namesake=seen("long-ago", 5))
    assert isinstance(script.pending, EndNamesake), "the wait for the namesake was not begun anew"


def a_broken_idle_connection_drops_no_request() -> None:
    """A request that has just set out is not forgotten because an older connection broke.

    1. The connection breaks while nothing is asked; the word of it is on its way to the loop.
    2. The loop sends a heartbeat, over a new connection.
    3. The word arrives. Forgetting the heartbeat would send a second one beside it, and drop the
       answer to the first.
    """
    script = Script()
    script.hold(0.0)
    beat = asked(script.tick(1.0))
    assert isinstance(beat, Beat)

    commands = script.take_in(Failed(1.01, None, "closed"))
    assert asked(commands) is None
    assert script.pending is beat

    assert ExtendTrust in kinds(script.answer(1.1, script.own()))


def a_used_up_name_is_not_asked_for_again() -> None:
    """L3: a join that happened unheard, and was ended since, must not block the node for ever.

    1. n0 asks to join as session s. It is done, but the answer is lost.
    2. Somebody ends s, silent as it is.
    3. n0 asks again for s, as it must while it does not know. The row says: s, ended.
    """
    script = Script()
    script.tick(0.0)
    first = script.pending
    assert isinstance(first, Join)
    script.fail(1.0)
    script.tick(1.1)
    assert script.pending == first

    again = asked(
        script.answer(1.2, view(), done=False, namesake=seen(first.session, 1, ended=True))
    )

    assert isinstance(again, Join)
    assert again.session != first.session


def a_released_term_is_not_started_by_an_old_answer() -> None:
    """N4: an answer that still shows what was given up starts nothing.

    1. n0's program of term 1 is refused by the guardian; n0 gives term 1 up.
    2. The database still shows n0 under term 1, with n0's session alive and trusted.
    """
    script = Script()
    script.hold(0.0)
    script.fast_forward(run=None, given_up=1)

    commands = script.tick(0.1)

    assert StartProgram not in kinds(commands)
    assert asked(commands) == Release(session=script.session, term=1, reason="given up")


#: By the name of the planted bug that fails it.
def who_beats_where_answers_are_dropped_is_alive() -> None:
    """O2, E4: one wait for the branch and for its holder, but a whole one for each.

    1. 0.0   a standby joins on timeline 3, which was promoted by mistake.
    2. 1.0   timeline 2 answers in its place; what it says is dropped, until 7.0.
    3. 1.0   its holder, who has never heard of timeline 3, beats on there until 5.0.
    4. 7.0   timeline 2 is used again. The holder is dead at 11.0, not before.
    """
    script = Script()
    later = view(held("other-session", term=4), seen("other-session", 7), timeline=3)
    script.join(0.0, later)
    for now in range(1, 11):
        script.tick(float(now))
        beat = 7 + min(now, 5)
        shown = view(held("other-session", term=4), seen("other-session", beat), timeline=2)
        while script.node.pending is not None:
            assert not isinstance(script.pending, Take), f"at {now} s, the holder beat at 5.0"
            script.answer(float(now), shown)


OF_PLANTED: dict[str, Callable[[], None]] = {
    "revive": late_answer_revives_nothing,
    "identity": another_run_of_the_server_starts_the_wait_again,
    "reconnect": a_lost_connection_does_not_start_the_wait_again,
    "dropped-sight": who_beats_where_answers_are_dropped_is_alive,
    "unsettled-start": nothing_starts_on_an_unsettled_identity,
    **HUNG,
    **HOOKS,
    **ONE_OFFS,
    **OF_GATES,
}
FOUND: tuple[Callable[[], None], ...] = (
    a_namesake_does_not_delay_the_floor,
    a_broken_idle_connection_drops_no_request,
    a_used_up_name_is_not_asked_for_again,
    a_released_term_is_not_started_by_an_old_answer,
)
