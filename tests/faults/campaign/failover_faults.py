"""Failovers: a primary dies or lives on, its standby is promoted, and a new standby is made."""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.campaign.ground import NAMES, Ground, boottime
from tests.faults.campaign.history import Span
from tests.support.servers.postgres import Server


@dataclass
class Twins:
    """The standby of a ground's server; after a failover a new one takes the other's place."""

    standby: Server
    sync: bool


def _twins(ground: Ground) -> Twins:
    twins = ground.parts["twins"]
    assert isinstance(twins, Twins)
    return twins


def _swap(ground: Ground) -> None:
    """Make the promoted server the group's, and a new standby in the old primary's place."""
    twins = _twins(ground)
    old, new = ground.server, twins.standby
    ground.server = new
    ground.forget_connection()
    old.remove()
    twins.standby = new.clone_standby(old.name, sync=twins.sync)


def promote_synchronous(ground: Ground) -> None:
    """The primary crashes; its synchronous standby has every commit that was acknowledged."""
    ground.note_grants()
    with ground.outage():
        ground.server.kill9()
        _twins(ground).standby.promote()
    _swap(ground)


def promote_without_last_takeover(ground: Ground) -> None:
    """A takeover is acknowledged, and lost: the standby had been cut off from its primary."""
    standby = _twins(ground).standby
    holding = ground.holder()
    ground.server.wait_for_standby(standby.name)
    behind_at = boottime()
    standby.unfollow()
    ground.node(holding.node).process.terminate()
    ground.wait_for_run(after=holding.term)
    ground.note_grants()
    with ground.outage():
        ground.server.kill9()
        standby.promote()
    ground.history.taken_back.append(Span(behind_at, boottime()))
    _swap(ground)


def promote_beside_old(ground: Ground) -> None:
    """Let both primaries acknowledge until the nodes have found the new one; end the old one."""
    old, new = ground.server, _twins(ground).standby
    old.wait_for_standby(new.name)
    behind_at = boottime()
    new.unfollow()
    ground.note_grants()
    new.promote()
    ground.server = new
    ground.forget_connection()
    ground.wait(lambda: len(ground.live()) == len(NAMES), "all beat at the new primary")
    ground.note_grants()
    ground.server = old
    ground.forget_connection()
    ground.note_grants()  # what the old one granted meanwhile counts as well
    old.kill9()
    ground.history.taken_back.append(Span(behind_at, boottime()))
    _swap(ground)
