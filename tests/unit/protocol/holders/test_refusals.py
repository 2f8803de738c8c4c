"""Waits that end without a token, while the database says nothing at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.holders.events import Why, Wish
from coordinator.protocol.holders.next_exchange import moments
from coordinator.protocol.holders.refusals import ANSWER_MAX_S, refusals
from coordinator.protocol.holders.state import Holders, first_state
from coordinator.protocol.holders.waits import waits
from coordinator.protocol.messages.holder_requests import Exchange, Want
from coordinator.protocol.node.state.node import Policy
from coordinator.protocol.rules.timing import Timing

UNTIL = 10.0


def asking(*wanted: str, tried: bool = False) -> Holders:
    """Return a process whose exchange, for these tokens, has had no answer yet."""
    policy = Policy(node="a", group="g", seed="s", priority=0)
    holders = first_state(policy, Timing(liveness_s=30.0, heartbeat_s=1.0))
    wants = tuple(Want(token=name, least_term=1, silent=None, watched_s=0.0) for name in wanted)
    request = Exchange(session="s", branch="1", gives=(), wants=wants, looks=(), own=False)
    return replace(
        holders,
        node=replace(holders.node, session="s", pending=request),
        wishes=waits(Wish(number=1, token="g/x", until=UNTIL)),
        tried=frozenset({1} if tried else ()),
    )


@pytest.mark.parametrize("wanted", [("g/x",), ()])
@pytest.mark.parametrize("tried", [True, False])
def test_u2_a_wait_does_not_last_as_long_as_a_request_is_patient(wanted, tried):
    """U2: a request is patient for a whole lease, and its caller for the time that it has named."""
    holders = asking(*wanted, tried=tried)

    assert refusals(holders, UNTIL - 0.1)[1] == ()
    assert UNTIL + ANSWER_MAX_S in moments(holders, UNTIL)
    left, refused = refusals(holders, UNTIL + ANSWER_MAX_S)

    assert [one.why for one in refused] == [Why.HELD if tried else Why.UNREACHABLE]
    assert not left.wishes


def test_u2_a_wait_hears_of_an_answer_that_is_just_late():
    assert refusals(asking("g/x"), UNTIL + 0.9 * ANSWER_MAX_S)[1] == ()
