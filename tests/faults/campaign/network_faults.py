"""Faults of networks: cables in namespaces, and a proxy in a node's path that stalls or is slow."""

from __future__ import annotations

import signal

from tests.faults.campaign.ground import Ground
from tests.faults.campaign.limits import HEARTBEAT_S, LIVENESS_S
from tests.support.networks.machines import Network
from tests.support.networks.stalling_proxy import StallingProxy

#: A heartbeat through such a path still is in time; a race of several questions is slower.
DELAY_S = 0.06


def _net(ground: Ground) -> Network:
    net = ground.parts["net"]
    assert isinstance(net, Network)
    return net


def _proxy(ground: Ground, name: str) -> StallingProxy:
    proxy = ground.parts[name]
    assert isinstance(proxy, StallingProxy)
    return proxy


def _while_away(ground: Ground, name: str, holder: str, term: int) -> None:
    ground.pass_time(LIVENESS_S)
    if name == holder:
        ground.wait_for_run(after=term)


def cut(ground: Ground) -> None:
    """Drop everything from and to a node; both ends believe that their connection lives."""
    holding, name = ground.holder(), ground.victim()
    _net(ground).cut(name)
    try:
        _while_away(ground, name, holding.node, holding.term)
    finally:
        _net(ground).heal(name)


def cut_answers(ground: Ground) -> None:
    """One way only: what a node asks is done, and it never hears of it."""
    holding, name = ground.holder(), ground.victim()
    _net(ground).cut_answers(name)
    try:
        _while_away(ground, name, holding.node, holding.term)
    finally:
        _net(ground).heal(name)


def half_open(ground: Ground) -> None:
    """A machine dies behind a cut cable: the server believes in its connections for long."""
    holding = ground.holder()
    net, node = _net(ground), ground.node(holding.node)
    net.cut(holding.node)
    try:
        node.send(signal.SIGKILL, "all")
        node.process.wait(5)
        ground.wait_for_run(after=holding.term)
    finally:
        net.heal(holding.node)


def flap(ground: Ground) -> None:
    """Cut and heal in turn, each for about a heartbeat."""
    down_s, up_s = ground.rng.uniform(0.2, 0.5), ground.rng.uniform(0.2, 0.5)
    _net(ground).flap(ground.victim(), 5, down_s, up_s)


def stall(ground: Ground) -> None:
    """Hold everything back for longer than a lease, and then deliver all of it."""
    holding, name = ground.holder(), ground.victim()
    _proxy(ground, name).stall()
    try:
        _while_away(ground, name, holding.node, holding.term)
    finally:
        _proxy(ground, name).resume()


def delay(ground: Ground) -> None:
    """A slow path for some heartbeats."""
    proxy = _proxy(ground, ground.victim())
    proxy.delay(to_server_s=DELAY_S, to_client_s=DELAY_S)
    try:
        ground.pass_time(4 * HEARTBEAT_S)
    finally:
        proxy.delay()


def reset(ground: Ground) -> None:
    """Reset every connection of a node (RST)."""
    name = ground.victim()
    back = ground.said_since(name, "answers again")
    _proxy(ground, name).reset()
    ground.wait(back, f"{name} is back")
