"""The machine of a process that holds tokens for its own code: events in, commands out.

    Holders + Event  --step-->  Holders + Commands

It has the machine of a node in it, which joins, beats, judges the database's identity and leaves.
What stands here takes and gives back tokens under that node's session, by one kind of request, the
exchange. docs/protocol.md, rules U.

The life of one wait:

    Wished --Exchange--> Grant --BodyEnded, Exchange--> GivenBack
       |                   |
     Refuse              Lose (the session is over): the body goes on until it ends by itself
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.holders import intake
from coordinator.protocol.holders.events import BodyEnded, Command, Event, Refuse, Why, Wished
from coordinator.protocol.holders.next_exchange import moments, next_exchange
from coordinator.protocol.holders.refusals import refusals
from coordinator.protocol.holders.state import Holders, with_bodies
from coordinator.protocol.holders.waits import Waits
from coordinator.protocol.messages.holder_requests import Exchange
from coordinator.protocol.node import machine as node_machine
from coordinator.protocol.node.events import Answered, Ask, Failed, Finish, Notified, Ticked
from coordinator.protocol.node.events import Command as NodeCommand
from coordinator.protocol.node.events import Event as NodeEvent
from coordinator.protocol.node.next_request import patience_s as node_patience_s
from coordinator.protocol.rules import epoch

Step = tuple[Holders, tuple[Command | NodeCommand, ...]]


def step(holders: Holders, event: Event) -> Step:
    """Apply one event and return the commands, in the order in which to perform them."""
    if holders.node.finished:
        return _after_the_end(holders, event)
    now = event.now
    holders, own = _own(holders, event)
    before = holders = with_bodies(holders, now)
    node_event: NodeEvent = (
        Ticked(now) if isinstance(event, Wished | BodyEnded | Notified) else event
    )
    node, done = node_machine.step(holders.node, node_event)
    holders = replace(holders, node=node)
    holders, over = intake.session_over(holders, before.node, now)
    holders, heard = _heard(holders, before, event)
    told = intake.extended(holders, before)
    holders, refused = refusals(holders, now)
    holders, asked = _ask(with_bodies(holders, now), now)
    finish = tuple(each for each in done if isinstance(each, Finish))
    kept = tuple(each for each in done if not isinstance(each, Finish))
    holders, ended = _finished(holders, finish)
    return holders, (*own, *kept, *over, *heard, *told, *refused, *asked, *ended)


def wake_at(holders: Holders, now: float) -> float:
    """Return the moment at which the process must be ticked even when nothing happens."""
    node = holders.node
    if node.finished:
        return float("inf")
    later = (moment for moment in moments(holders, now) if moment > now)
    return min(node_machine.wake_at(node, now), min(later, default=float("inf")))


def patience_s(holders: Holders, now: float) -> float:
    """Return the seconds after which the pending request is given up."""
    return node_patience_s(holders.node, now)


def _own(holders: Holders, event: Event) -> tuple[Holders, tuple[Command, ...]]:
    match event:
        case Wished():
            return intake.wished(holders, event)
        case BodyEnded():
            return intake.body_ended(holders, event)
        case Notified():
            return replace(holders, hinted=True), ()
        case _:
            return holders, ()


def _heard(holders: Holders, before: Holders, event: Event) -> tuple[Holders, tuple[Command, ...]]:
    """Apply what the database said, or did not say, to the holdings."""
    request = before.node.pending
    identity, known = before.node.epoch, holders.node.epoch
    if (
        identity is not None
        and known is not None
        and not epoch.same_run(identity.identity, known.identity)
    ):
        holders = intake.in_doubt(holders)
    match event:
        case Failed():
            return intake.in_doubt(holders), ()
        case Answered() if event.request is request and isinstance(request, Exchange):
            if holders.node.view is None:
                return intake.in_doubt(holders), ()  # a primary that was left behind (E4)
            return intake.exchanged(holders, event, request)
        case Answered() if event.request is request and holders.node.view is None:
            return intake.in_doubt(holders), ()
        case _:
            return holders, ()


def _ask(holders: Holders, now: float) -> Step:
    holders, request = next_exchange(holders, now)
    if request is None:
        return holders, ()
    return replace(holders, node=replace(holders.node, pending=request)), (Ask(request),)


def _finished(
    holders: Holders, finish: tuple[Finish, ...]
) -> tuple[Holders, tuple[Command | NodeCommand, ...]]:
    """Refuse every wait when the node is finished."""
    if not finish:
        return holders, ()
    text = finish[0].trouble or "the coordinator is closed"
    refused = tuple(Refuse(wish.number, Why.CLOSED, text) for wish in holders.wishes)
    return replace(holders, wishes=Waits()), (*refused, *finish)


def _after_the_end(holders: Holders, event: Event) -> Step:
    match event:
        case Wished(wish=wish):
            return holders, (Refuse(wish.number, Why.CLOSED, "the coordinator is closed"),)
        case _:
            return holders, ()
