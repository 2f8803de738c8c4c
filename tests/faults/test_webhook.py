"""The webhook of real nodes: each event at least once, in order, and no takeover waits for it."""

from __future__ import annotations

import signal
from typing import Any

from tests.support.nodes.processes import Bed, eventually
from tests.support.nodes.record import overlaps
from tests.support.servers.receiver import OK, Receiver, receiver

AFTER = "SELECT id FROM event WHERE id > %s ORDER BY id"
#: Far above what a delivery takes on this machine.
DELIVERED_S = 30.0


def start(nodes: Bed, name: str, to: Receiver, timeout_s: float) -> None:
    written = f'[hooks]\nwebhook = "{to.url}"\nwebhookTimeout = {timeout_s}\n'
    nodes.start(name, config=written, command=nodes.recorder())


def numbers(to: Receiver) -> list[int]:
    """Return the numbers of the events that were sent, each at its first time."""
    return list(dict.fromkeys(delivery.event["id"] for delivery in to.deliveries))


def marked(database: Any) -> bool:
    """Say whether a sender has begun: its mark is there."""
    return bool(database.query("SELECT group_id FROM webhook"))


def test_a_webhook_that_hangs_holds_up_no_takeover_and_gets_every_event_later(nodes, database):
    """ADR 42: the sender runs beside the node, and its mark is in the database."""
    with receiver(lambda _: to.ended.wait() and None) as to:
        hang = to.answer
        start(nodes, "node-1", to, 1.0)
        first = nodes.wait_for_run()
        eventually(lambda: marked(database), DELIVERED_S, nodes.story)
        ((last,),) = database.query("SELECT read_id FROM webhook")
        start(nodes, "node-2", to, 1.0)
        nodes.wait_for_standbys(1)
        eventually(lambda: to.connections, DELIVERED_S, nodes.story)

        nodes.nodes["node-1"].send(signal.SIGKILL, "all")

        second = nodes.wait_for_run(after=first.term)
        assert second.node == "node-2"
        late = "SELECT failed_count FROM webhook WHERE error IS NOT NULL"
        eventually(lambda: database.query(late), DELIVERED_S, nodes.story)
        assert to.answer is hang
        to.answer = lambda connection: connection.sendall(OK)
        wanted = [number for (number,) in database.query(AFTER, last)]
        eventually(lambda: set(wanted) <= set(numbers(to)), DELIVERED_S, nodes.story)
        assert numbers(to)[: len(wanted)] == wanted

    assert overlaps(nodes.runs()) == []
    kinds = {delivery.event["event"] for delivery in to.deliveries}
    assert {"joined", "taken"} <= kinds
