"""Deliveries to a webhook on a real database: in order, at least once, and one sender at a time."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from coordinator.app.webhook.sender import LONGEST_PAUSE_S, Sender, pause_s
from coordinator.errors import DatabaseRefusedError
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.store.admin.cleaning import retention
from coordinator.store.admin.connection import AdminConnection
from coordinator.store.webhook.deliveries import Deliveries, Place
from coordinator.web.webhook.post import NotDeliveredError
from tests.conftest import Database
from tests.support.nodes.processes import eventually
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.roles import Roles

pytestmark = pytest.mark.real

GROUP = "orders"
TELL = "INSERT INTO event (group_id, kind) VALUES (%s, %s) RETURNING id"
#: Longer than any test; a test that has to outwait a claim says so.
CLAIM_S = 300.0

Made = Callable[..., Deliveries]


@pytest.fixture
def holder(database: Database) -> Iterator[Any]:
    """A node that holds the token of its group."""
    with joined_nodes(database, "node-1") as (node,):
        node.win()
        yield node


@pytest.fixture
def made(database: Database) -> Iterator[Made]:
    """Make ports, each of one sender of a session."""
    with ExitStack() as opened:

        def make(session: str, *, conninfo: str = "", claim_s: float = CLAIM_S) -> Deliveries:
            port = Deliveries(
                Place(
                    conninfo=conninfo or database.conninfo,
                    schema=database.schema,
                    where="db",
                    group=GROUP,
                    session=session,
                    sender=str(uuid.uuid4()),
                    claim_s=claim_s,
                )
            )
            opened.callback(port.close)
            return port

        yield make


class Sent:
    """Events that were sent, and what is told of them; refuse: why the receiver takes none."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.refuse = ""

    def __call__(self, event: Any, sent_at: int) -> None:
        if self.refuse:
            raise NotDeliveredError(self.refuse)
        self.events.append({**event, "sent_at": sent_at})

    def kinds(self) -> list[str]:
        return [event["event"] for event in self.events]

    def sender(self, marks: Deliveries) -> Sender:
        return Sender(marks, self, lambda event, _: self.said.append(event), BoottimeClock())


def tell(database: Database, *kinds: str, token: str = GROUP) -> None:
    for kind in kinds:
        database.query(TELL, token, kind)


def begun(made: Made, holder: Any) -> tuple[Deliveries, Sent]:
    """Make a sender, and the mark from which on it sends."""
    marks, sent = made(holder.session), Sent()
    sent.sender(marks).turn()
    assert sent.events == []
    return marks, sent


def test_events_are_delivered_in_order_and_once(database, holder, made) -> None:
    marks, sent = begun(made, holder)
    tell(database, "first", "second")
    tell(database, "of a task", token=f"{GROUP}/report")
    tell(database, "of another group", token="orders2")

    assert sent.sender(marks).turn() == 0.0
    tell(database, "third")
    sent.sender(marks).turn()
    sent.sender(marks).turn()

    assert sent.kinds() == ["first", "second", "of a task", "third"]
    assert sent.events[2]["token"] == "orders/report"
    (stamp,) = database.query("SELECT extract(epoch FROM clock_timestamp())::bigint")
    assert abs(int(str(stamp[0])) - sent.events[0]["sent_at"]) < 60


def test_what_happened_before_the_first_sender_is_not_delivered(database, holder, made) -> None:
    tell(database, "long ago")

    _, sent = begun(made, holder)

    assert sent.kinds() == []


def test_an_event_whose_transaction_ends_late_is_delivered_after_larger_numbers(
    database, holder, made
) -> None:
    """Numbers are given before transactions end: a mark that is a number would lose the event."""
    marks, sent = begun(made, holder)
    with database.connect() as slow:
        slow.autocommit = False
        slow.execute(TELL, (GROUP, "slow"))
        tell(database, "fast")
        sent.sender(marks).turn()
        tell(database, "faster")
        sent.sender(marks).turn()
        assert sent.kinds() == ["fast", "faster"]

        slow.commit()

    sent.sender(marks).turn()
    sent.sender(marks).turn()
    assert sent.kinds() == ["fast", "faster", "slow"]


def test_more_events_than_one_claim_brings(database, holder, made) -> None:
    marks, sent = begun(made, holder)
    database.query(
        "INSERT INTO event (group_id, kind) SELECT %s, number::text FROM generate_series(1, 250) AS"
        " number",
        GROUP,
    )

    assert list(itertools.takewhile(lambda pause: pause == 0.0, iter(sent.sender(marks).turn, 1)))

    assert sent.kinds() == [str(number) for number in range(1, 251)]


def test_a_failed_delivery_holds_up_those_behind_it_and_is_sent_again(
    database, holder, made
) -> None:
    marks, sent = begun(made, holder)
    tell(database, "first", "second")
    sent.refuse = "answered 500"

    assert sent.sender(marks).turn() == pause_s(1)
    assert sent.sender(marks).turn() > 0  # it is not yet time
    ((failed, error),) = database.query("SELECT failed_count, error FROM webhook")
    assert (failed, error) == (1, "answered 500")
    sent.refuse = ""
    eventually(lambda: sent.sender(marks).turn() == 0.0, 30, "the pause is over")

    assert sent.kinds() == ["first", "second"]
    assert sent.said == ["webhook-late", "webhook-again"]
    ((failed, since),) = database.query("SELECT failed_count, failed_since FROM webhook")
    assert (failed, since) == (0, None)


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause_s(failed) for failed in (1, 2, 3, 9)] == [1.0, 2.0, 4.0, 256.0]
    assert pause_s(10) == pause_s(10**6) == LONGEST_PAUSE_S


def test_two_senders_never_send_at_the_same_time(database, holder, made) -> None:
    """The second waits for the claim of the first, and goes on behind its mark."""
    first, sent = begun(made, holder)
    second = made(holder.session)
    tell(database, "one", "two")
    claim = first.claim()
    assert [event["event"] for event in claim.events] == ["one", "two"]

    assert second.claim().state == "other"
    assert first.delivered(claim.events[0]["id"], more=True)
    assert second.claim().state == "other"
    first.leave()

    sent.sender(second).turn()
    assert sent.kinds() == ["two"]
    assert not first.delivered(claim.events[1]["id"], more=True)


def test_a_claim_whose_sender_has_died_is_over_in_time_and_counts_as_failed(
    database, holder, made
) -> None:
    """So a receiver at which senders die is told of, and is not asked again and again."""
    begun(made, holder)
    tell(database, "one")
    assert made(holder.session, claim_s=0.3).claim().state == "sending"
    after, sent = made(holder.session), Sent()

    assert after.claim().state == "other"
    claim = eventually(
        lambda: (found := after.claim()).state == "sending" and found, 30, "the claim is over"
    )

    assert claim.failed == 1  # type: ignore[attr-defined]
    sent.sender(after).turn()
    assert sent.said == ["webhook-again"]


def test_a_sender_whose_session_does_not_hold_sends_nothing(database, holder, made) -> None:
    begun(made, holder)
    tell(database, "one")
    sent = Sent()

    assert sent.sender(made(str(uuid.uuid4()))).turn() is None

    assert sent.events == []


def test_the_next_holder_goes_on_behind_the_mark(database, holder, made) -> None:
    marks, sent = begun(made, holder)
    tell(database, "one")
    sent.sender(marks).turn()
    with joined_nodes(database, "node-2") as (other,):
        holder.release(1)
        other.win()
        assert sent.sender(marks).turn() is None

        sent.sender(made(other.session)).turn()

    kinds = sent.kinds()
    assert kinds[0] == "one"
    assert {"joined", "released", "taken"} <= set(kinds[1:])
    numbers = [event["id"] for event in sent.events]
    assert numbers == sorted(set(numbers))


def test_the_observer_of_a_task_group_sends(database, holder, made) -> None:
    database.query(
        "UPDATE token_holder SET group_id = group_id || '/_observer' WHERE group_id = %s", GROUP
    )

    assert made(holder.session).claim().state == "idle"


def test_a_login_of_another_group_moves_no_mark(roles: Roles, holder, made) -> None:
    """ADR 6: a node's login writes for its own group alone, and reads no event of others."""
    foreign = made(holder.session, conninfo=roles.login("node", "billing"))

    with pytest.raises(DatabaseRefusedError, match="not admitted to group 'orders'"):
        foreign.claim()
    with pytest.raises(DatabaseRefusedError, match="not admitted"):
        foreign.delivered(1, more=False)
    with pytest.raises(DatabaseRefusedError, match="not admitted"):
        foreign.failed("x", 3600.0)


def test_a_login_of_the_group_sends(roles: Roles, holder, made) -> None:
    own = made(holder.session, conninfo=roles.login("node", GROUP))
    sent = Sent()
    sent.sender(own).turn()
    tell(roles.database, "one")

    sent.sender(own).turn()
    sent.refuse = "answered 500"
    tell(roles.database, "two")
    sent.sender(own).turn()
    own.leave()

    assert sent.kinds() == ["one"]
    assert sent.said == ["webhook-late"]


def test_a_deleted_group_has_no_mark(database, holder, made) -> None:
    begun(made, holder)
    holder.leave()
    admin = AdminConnection(database.conninfo, database.schema, "db", 5.0)
    try:
        assert retention.delete_group(admin, GROUP) is None
    finally:
        admin.close()

    assert database.query("SELECT count(*) FROM webhook") == [(0,)]
