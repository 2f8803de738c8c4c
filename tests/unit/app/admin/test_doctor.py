"""Findings of `coord doctor`: what each light means for a node that is to be started."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.app.admin.doctor.findings import Finding, Light
from coordinator.app.admin.doctor.peers import Own, judge_peers
from coordinator.app.admin.doctor.server import (
    ServerFacts,
    judge_admission,
    judge_clock,
    judge_news,
    judge_rights,
    judge_server,
)
from tests.unit.cli.test_fitting import node

SERVER = ServerFacts(
    version="16.4",
    in_recovery=False,
    fsync="on",
    full_page_writes="on",
    synchronous_commit="on",
    standby_names="",
    connections_left=50,
    connections_max=97,
    idle_session_ms=0,
    lent=False,
    encrypted=True,
    local=False,
    superuser=False,
    role="coord",
)
OWN = Own(
    node="node-1",
    group="orders",
    host="web-1",
    version="0.1.0",
    config_hash="a91f",
    liveness_s=6.0,
    heartbeat_s=1.0,
    priority=1,
    hosts_tasks=False,
)


def lights(findings: list[Finding]) -> set[Light]:
    return {finding.light for finding in findings}


def test_a_good_server_has_green_lights_only() -> None:
    assert lights(list(judge_server(SERVER, 1.0))) == {Light.GREEN}


@pytest.mark.parametrize(
    ("changed", "area", "light", "code"),
    [
        ({"in_recovery": True}, "server", Light.RED, 69),
        ({"fsync": "off"}, "settings", Light.RED, 78),
        ({"full_page_writes": "off"}, "settings", Light.RED, 78),
        ({"synchronous_commit": "off"}, "settings", Light.AMBER, 0),
        ({"connections_left": 1}, "connections", Light.RED, 69),
        ({"connections_left": 9}, "connections", Light.AMBER, 0),
        ({"idle_session_ms": 900}, "timeouts", Light.AMBER, 0),
        ({"lent": True}, "pooler", Light.AMBER, 0),
        ({"encrypted": False}, "tls", Light.AMBER, 0),
    ],
)
def test_what_is_wrong_with_a_server_has_a_light_and_a_remedy(
    changed: dict, area: str, light: Light, code: int
) -> None:
    """E6: what may lose acknowledged commits is refused."""
    found = list(judge_server(replace(SERVER, **changed), 1.0))

    (wrong,) = [each for each in found if each.light is not Light.GREEN]
    assert (wrong.area, wrong.light, wrong.code) == (area, light, code)
    assert wrong.remedy


def test_a_socket_of_this_machine_needs_no_encryption() -> None:
    found = list(judge_server(replace(SERVER, encrypted=False, local=True), 1.0))

    assert lights(found) == {Light.GREEN}


@pytest.mark.parametrize(
    ("error", "light"),
    [(0.0005, Light.GREEN), (-0.02, Light.AMBER), (0.11, Light.RED), (-0.2, Light.RED)],
)
def test_a_clock_is_judged_by_its_rate(error: float, light: Light) -> None:
    """T1: rates within 10 % of true."""
    assert judge_clock(error, 1.0).light is light


def test_a_pooler_that_keeps_notifications_is_amber() -> None:
    """O5"""
    assert judge_news(heard=True).light is Light.GREEN
    assert judge_news(heard=False).light is Light.AMBER


def test_missing_rights_are_counted_and_name_the_command_that_grants_them() -> None:
    found = judge_rights([f"INSERT on t{n}" for n in range(5)], "app", "svc")

    assert (found.light, found.code) == (Light.RED, 77)
    assert found.text == "svc lacks INSERT on t0, INSERT on t1, INSERT on t2 and 2 more"
    assert "coord db grants svc" in found.remedy
    assert judge_rights([], "app", "svc").light is Light.GREEN


def test_a_login_that_is_not_admitted_is_refused() -> None:
    refused = judge_admission(guarded=True, admitted=False, role="svc", group="orders")

    assert refused is not None
    assert (refused.light, refused.code) == (Light.RED, 77)
    assert judge_admission(guarded=False, admitted=False, role="svc", group="orders") is None


def test_a_live_namesake_elsewhere_is_refused_and_ones_own_node_is_not() -> None:
    """L4: the second node of a name leaves with 78."""
    elsewhere = list(judge_peers(OWN, [node("node-1", "web-9")], kind=False, tasks=0))
    own = replace(OWN, running=frozenset({4194304}))
    here = list(judge_peers(own, [node("node-1", "web-1")], kind=False, tasks=0))

    assert [(each.light, each.code) for each in elsewhere] == [(Light.RED, 78)]
    assert lights(here) == {Light.GREEN}


def test_a_dead_namesake_is_not_in_the_way() -> None:
    found = list(judge_peers(OWN, [node("node-1", "web-9", state="dead")], kind=False, tasks=0))

    assert lights(found) == {Light.GREEN}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"liveness_s": 9.0}, "livenessCheckInterval is 9 s there, 6 s here"),
        ({"heartbeat_s": 2.0}, "heartbeatFrequency is 2 s there, 1 s here"),
        ({"version": "0.2.0"}, "version is 0.2.0 there, 0.1.0 here"),
        ({"config_hash": "77c2"}, "stopTimeout, the program, its trigger or a policy differs"),
    ],
)
def test_differences_between_nodes_are_told(changed: dict, words: str) -> None:
    found = list(judge_peers(OWN, [node("node-2", "web-2", **changed)], kind=False, tasks=0))

    assert [each.text for each in found if each.light is Light.AMBER] == [f"node-2: {words}"]


def test_a_process_that_holds_tokens_has_no_version_to_compare() -> None:
    tokens = node("node-2.a1b2c3-17", "web-2", version=None, config_hash=None)

    found = list(judge_peers(OWN, [tokens], kind=False, tasks=0))

    assert lights(found) == {Light.GREEN}


@pytest.mark.parametrize(
    ("kind", "others", "tasks", "refused"),
    [
        (True, 1, 0, True),
        (True, 0, 3, True),
        (True, 0, 0, False),
        (False, 1, 0, False),
        (None, 0, 0, False),
    ],
)
def test_a_group_of_the_other_kind_refuses_this_node(
    kind: bool | None, others: int, tasks: int, refused: bool
) -> None:
    """P13"""
    peers = [node(f"node-{number + 2}", "web") for number in range(others)]

    found = list(judge_peers(OWN, peers, kind=kind, tasks=tasks))

    assert (Light.RED in lights(found)) is refused
