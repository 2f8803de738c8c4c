"""News for a service manager: each fact once, and the watchdog only of acknowledged beats."""

from __future__ import annotations

from dataclasses import replace

from coordinator.app.node.service.news import ALIVE, READY, STOPPING, Told, news, reloading, status
from coordinator.protocol.node.events import StopAsked
from tests.unit.protocol.node.machines import other, standby


def test_a_node_is_ready_when_its_session_is_in_the_database():
    node = standby().node

    told, words = news(Told(), node)

    assert READY in words
    assert news(told, node)[1] == ()


def test_a_node_without_a_session_is_neither_ready_nor_alive():
    assert news(Told(), replace(standby().node, session=None))[1] == ()


def test_only_an_acknowledged_heartbeat_pats_the_watchdog():
    script = standby()
    told, _ = news(Told(), script.node)

    script.tick(1.0)
    told, asked = news(told, script.node)
    script.answer(1.1, other(beat=8))
    told, answered = news(told, script.node)

    assert (asked, answered) == ((), (ALIVE,))


def test_a_node_that_is_cut_off_goes_on_turning_and_pats_no_watchdog():
    script = standby()
    told, _ = news(Told(), script.node)

    said = []
    for moment in (1.0, 2.0, 3.0, 4.0):
        script.tick(moment)
        told, words = news(told, script.node)
        said += words

    assert said == []


def test_a_node_that_leaves_says_so_once():
    script = standby()
    told, _ = news(Told(), script.node)
    script.take_in(StopAsked(1.0, "SIGTERM"))

    told, words = news(told, script.node)

    assert words == (STOPPING,)
    assert STOPPING not in news(told, script.node)[1]


def test_a_status_is_one_line():
    assert status("orders: ACTIVE\nREADY=1") == "STATUS=orders: ACTIVE READY=1"


def test_a_reload_has_its_moment_in_microseconds():
    assert reloading(12.5) == "RELOADING=1\nMONOTONIC_USEC=12500000"
