"""Runs whose state is still being read: nothing of them starts that the machine has given up."""

from __future__ import annotations

from coordinator.protocol.guardian.events import EVERY_RUN
from coordinator.protocol.node.events import ProgramRefused, StartProgram
from coordinator.protocol.node.state.state_loads import StateLoads
from coordinator.protocol.rules.saved_state import StateSeen, StateWanted, shows_holding
from coordinator.protocol.rules.timing import Timing

TIMING = Timing(liveness_s=30.0, heartbeat_s=1.0)
UNTIL = 100.0 + TIMING.lease_s
ORDER = StartProgram(1, 7, UNTIL)
WAITING = StateLoads(timing=TIMING).after_order(ORDER)


def test_a_state_that_is_there_starts_its_run_once():
    """Y4"""
    loads, order = WAITING.after_load(1, 100.5)

    assert order == ORDER
    assert loads.after_load(1, 100.6) == (loads, None)


def test_the_order_carries_the_trust_of_the_heartbeats_since():
    """Y4: a reading that took long starts under the newest deadline, as G2 extends it."""
    for number in (1, EVERY_RUN):
        loads = WAITING.after_extension(number, UNTIL + 9.0)
        assert loads.after_load(1, 109.0)[1] == StartProgram(1, 7, UNTIL + 9.0)
    assert WAITING.after_extension(2, UNTIL + 9.0).after_load(1, 100.5)[1] == ORDER
    assert WAITING.after_extension(1, UNTIL - 9.0).after_load(1, 100.5)[1] == ORDER


def test_trust_that_grew_old_while_a_state_was_read_starts_nothing():
    """T5"""
    still = 100.0 + 2 * TIMING.heartbeat_s

    assert WAITING.after_load(1, still - 0.001)[1] == ORDER
    loads, refused = WAITING.after_load(1, still)

    assert isinstance(refused, ProgramRefused)
    assert (refused.run, refused.code) == (1, 0)
    assert loads.runs == {}


def test_a_run_that_is_told_to_end_meanwhile_is_refused_and_its_state_comes_too_late():
    """Y4, L2"""
    loads, refused = WAITING.after_end(1, 101.0)

    assert refused == ProgramRefused(101.0, 1, "stopped before it was started", 0)
    assert loads.after_load(1, 101.5) == (loads, None)
    assert loads.after_failure(1, "no", 73, 101.5) == (loads, None)
    assert loads.after_end(1, 101.5) == (loads, None)


def test_a_failure_keeps_its_code():
    assert WAITING.after_failure(1, "no room", 73, 101.0)[1] == ProgramRefused(
        101.0, 1, "no room", 73
    )


def test_only_a_snapshot_that_shows_the_holding_counts():
    """Y4: one from before the take, or of another server, does not."""
    wanted = StateWanted(token="orders", term=7, session="s")

    def shown(term: int, session: str | None) -> bool:
        return shows_holding(StateSeen(term=term, session=session, content=b"x"), wanted)

    assert shown(7, "s")
    assert not any((shown(6, "r"), shown(7, "r"), shown(6, "s"), shown(7, None), shown(8, "s")))
