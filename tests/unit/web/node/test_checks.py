"""Answers of a node over HTTP, by its state and the moment alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.messages.planned import Planned, PlannedChange, PlannedKind
from coordinator.protocol.node.events import PrimarySeen
from coordinator.protocol.node.state.node import Leaving, Node, Policy
from coordinator.protocol.node.state.run import Run
from coordinator.protocol.rules.timing import Timing
from coordinator.web.http1 import Reply
from coordinator.web.listening import split_address
from coordinator.web.node import checks
from coordinator.web.node.checks import Snapshot
from coordinator.web.node.routes import route
from coordinator.web.server import Server
from tests.simulation.plans.script import TIMING, Script, identity, view

STANDBY = Node(
    policy=Policy(node="a", group="orders", seed="s"),
    timing=Timing(liveness_s=6, heartbeat_s=1),
    session="s1",
    trusted_until=104.0,
    standing="standby",
)
HOLDER = replace(STANDBY, run=Run(1, 7, 99.0), standing="active")


def reply(path: str, snapshot: Snapshot, now: float) -> Reply:
    """Answer a path that needs no database."""
    found = route(path, snapshot.node.policy.group)
    if isinstance(found, Reply):
        return found
    assert callable(found), path
    return checks.reply(found, snapshot, now)


def status(path: str, node: Node, now: float = 100.0) -> int:
    return reply(path, Snapshot(node, 100.0, 100.0), now).status


@pytest.mark.parametrize("path", ["/active", "/leader", "/primary", "/active/"])
def test_only_the_holder_is_active(path):
    assert status(path, HOLDER) == 200
    assert status(path, STANDBY) == 503


def told(node: Node, now: float = 100.0) -> str:
    """Return what the agent-check of HAProxy is told."""
    return checks.agent_line(Snapshot(node, 100.0, 100.0), now)


def test_the_agent_check_says_up_while_trust_lasts_and_no_longer():
    """T4: the same snapshot, asked later."""
    assert told(HOLDER, now=103.9) == "up ready"
    assert told(HOLDER, now=104.0) == "down"
    assert told(STANDBY) == "down"


def test_a_node_that_takes_nothing_is_in_maintenance():
    drain = PlannedChange(id=1, kind=PlannedKind.DRAIN, node="a")
    others = replace(drain, node="b")
    seen = view()

    assert told(replace(STANDBY, policy=replace(STANDBY.policy, priority=0))) == "maint"
    assert told(replace(STANDBY, leaving=Leaving(reason="SIGTERM", code=0))) == "maint"
    assert told(replace(STANDBY, view=replace(seen, planned=Planned(changes=(drain,))))) == "maint"
    assert told(replace(STANDBY, view=replace(seen, planned=Planned(changes=(others,))))) == "down"


def test_active_ends_with_trust_and_not_with_a_flag():
    """T4: the same snapshot, asked later."""
    assert status("/active", HOLDER, now=103.9) == 200
    assert status("/active", HOLDER, now=104.0) == 503


def test_a_holder_that_is_stopping_is_not_active():
    stopping = replace(HOLDER, run=Run(1, 7, 99.0, "SIGTERM"))

    assert status("/active", stopping) == 503


def test_a_standby_is_one_that_lives_and_may_take():
    assert status("/standby", STANDBY) == 200
    assert status("/standby", HOLDER) == 503
    assert status("/standby", STANDBY, now=104.0) == 503
    watcher = replace(STANDBY, policy=replace(STANDBY.policy, priority=0))
    assert status("/standby", watcher) == 503


def test_a_loop_that_does_not_turn_is_not_alive():
    assert status("/livez", STANDBY, now=104.9) == 200
    assert status("/livez", STANDBY, now=105.1) == 503


def test_ready_needs_a_session_and_an_answer():
    assert status("/readyz", STANDBY) == 200
    assert status("/readyz", replace(STANDBY, session=None)) == 503
    assert status("/readyz", STANDBY, now=106.1) == 503


def test_healthz_always_answers_and_tells_the_term():
    answer = reply("/healthz", Snapshot(HOLDER, 0.0, 0.0), 103.0)

    assert (answer.status, answer.term) == (200, 7)
    assert answer.body["leaseRemainingSeconds"] == 1.0


def test_a_standby_has_no_lease_to_show():
    answer = reply("/standby", Snapshot(STANDBY, 0.0, 0.0), 103.0)

    assert answer.body["leaseRemainingSeconds"] is None


def test_healthz_tells_why_nobody_takes_after_a_failover():
    """E3: timeline, what is left of the wait, and why."""
    script = Script()
    script.hold(0.0)
    script.tick(1.0)
    script.answer(1.0, view(timeline=2, settled=False))

    body = reply("/healthz", Snapshot(script.node, 1.0, 1.0), 3.0).body

    assert body["database"] == {
        "timeline": 2,
        "settled": False,
        "waitSeconds": 4.0,
        "why": "failover",
        "leftBehindTimeline": None,
        "secondPrimaryTimeline": None,
    }


def test_healthz_tells_of_a_primary_that_was_left_behind():
    """E4: two primaries answer; the session on the earlier one is over."""
    script = Script()
    script.hold(0.0)
    script.take_in(PrimarySeen(0.5, identity(timeline=2)))
    script.tick(0.5)
    script.answer(0.6, script.own())

    body = reply("/healthz", Snapshot(script.node, 0.6, 0.6), 0.6).body

    assert body["database"]["leftBehindTimeline"] == 1


def test_healthz_tells_of_a_second_primary_while_it_is_seen():
    """E4: this node is on the later one."""
    script = Script()
    script.join(0.0, view(timeline=2))
    for now in range(1, 12):
        script.tick(float(now))
        if script.node.pending is not None:
            script.answer(float(now), view(timeline=2))
        script.take_in(PrimarySeen(float(now), identity(timeline=1)))

    def told(now: float) -> object:
        shown = Snapshot(script.node, now, now)
        return reply("/healthz", shown, now).body["database"]["secondPrimaryTimeline"]

    assert told(11.0) == 1
    assert told(11.0 + TIMING.liveness_s + 0.1) is None


def test_an_unknown_path_names_those_that_exist():
    answer = reply("/nope", Snapshot(HOLDER, 0.0, 0.0), 100.0)

    assert answer.status == 404
    assert "/active" in answer.body["error"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_the_server_answers_what_load_balancers_ask(method):
    import http.client

    snapshot = Snapshot(HOLDER, 0, 0)
    server = Server("127.0.0.1", 0, lambda request, _: reply(request.path, snapshot, 100.0))
    try:
        connection = http.client.HTTPConnection(*server.address, timeout=5)
        connection.request(method, "/active?x=1")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
    finally:
        server.close()

    assert answer.status == 200
    assert answer.headers["X-Coord-Term"] == "7"
    assert answer.headers["Cache-Control"] == "no-store"
    assert bool(body) == (method != "HEAD")


def test_an_address_without_a_host_is_the_loopback_interface():
    assert split_address(":8008") == ("127.0.0.1", 8008)
    assert split_address("[::1]:80") == ("::1", 80)
