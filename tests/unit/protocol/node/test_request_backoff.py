"""A kind of request that always fails is asked once a heartbeat, whatever else is answered (O7)."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.protocol.messages.requests import (
    Beat,
    Join,
    RaiseFloor,
    ReadRoster,
    Settle,
    Take,
    View,
)
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.node import Policy
from tests.simulation.plans.script import TIMING, Script, held, view

BEATS = 20
#: The tries before the pause is a whole heartbeat: after 0.02, 0.04, 0.08, 0.16, 0.32, 0.64 s.
QUICK_TRIES = 6


def shown() -> View:
    """Return what a database shows whose token is free, and whose roster is new."""
    token = replace(held("gone", term=3), session=None)
    return replace(view(token), group_version=7)


@settings(max_examples=40)
@given(st.sets(st.sampled_from([Take, ReadRoster, RaiseFloor, Settle, Beat]), min_size=1))
def test_what_always_fails_is_asked_once_a_heartbeat(failing: set[type]) -> None:
    script = Script(Policy(node="n0", group="G", seed="backoff"))
    script.fast_forward(remembered=9)
    asked = Counter[type]()
    now, refused = 0.0, 0
    while now < BEATS * TIMING.heartbeat_s:
        script.tick(now)
        for _ in range(20):  # what is answered at once is followed at once by the next
            if script.node.pending is None:
                break
            kind = type(script.pending)
            asked[kind] += 1
            if kind in failing:
                refused += 1
                script.fail(now)
            else:
                script.answer(now, shown(), done=kind is not Take)
        now = wake_at(script.node, now)

    assert refused > 0 or failing.isdisjoint(asked)
    for kind in failing:
        assert asked[kind] <= QUICK_TRIES + 1 + BEATS / 0.95, (kind, asked)


def test_one_answer_of_another_kind_clears_no_pause() -> None:
    """The heartbeat after each reconnect is answered; the take fails again."""
    script = Script()
    script.join(0.0)
    tries = []
    now = 0.0
    while len(tries) < 9:
        if isinstance(script.node.pending, Take):
            tries.append(now)
            script.fail(now)
        elif script.node.pending is not None:
            assert isinstance(script.pending, Beat | Join)
            script.answer(now, view())
        else:
            now = wake_at(script.node, now)
            script.tick(now)

    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert pauses[-1] >= 0.95 * TIMING.heartbeat_s
    assert pauses == sorted(pauses[:-2]) + pauses[-2:]
